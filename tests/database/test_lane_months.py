"""Migration 0005 on a database in use: what counted at 0004 counts afterwards, for the API of before too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from loader.ledger import Batch
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch
from loader.sources import Files
from loader.withdraw import find_by_name, withdraw
from local.postgres import PostgresServer
from tests.database.in_use import as_role, migrate_on, migrate_to
from tests.loader.batches import (
    FIRST_DAY,
    Row,
    add_places,
    assert_answers_are_what_was_published,
    data_version,
    discard,
    fold,
    fold_a_step,
    make_rows,
    write_csv,
)
from tests.postgres import Database, clone
from tests.totals import day_totals

Pair = tuple[str, str]
Span = tuple[date, date]
# What the API asks that was built for 0004, and goes on running while this release is deployed.
OLD_STATEMENT = b"""
WITH orig AS (
    SELECT code AS port_code FROM ports WHERE code = %(orig_code)s
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = %(orig_code)s AND NOT EXISTS (SELECT FROM ports WHERE code = %(orig_code)s)
),

dest AS (
    SELECT code AS port_code FROM ports WHERE code = %(dest_code)s
    UNION ALL
    SELECT port_code FROM region_ports
    WHERE region_slug = %(dest_code)s AND NOT EXISTS (SELECT FROM ports WHERE code = %(dest_code)s)
),

totals AS (
    SELECT base.day, base.price_sum, base.price_count
    FROM orig, dest, lane_day_totals AS base
    WHERE
        base.orig_code = orig.port_code AND base.dest_code = dest.port_code
        AND base.day BETWEEN %(date_from)s AND %(date_to)s
    UNION ALL
    SELECT delta.day, delta.price_sum, delta.price_count
    FROM orig, dest, lane_day_deltas AS delta, batches
    WHERE
        delta.orig_code = orig.port_code AND delta.dest_code = dest.port_code
        AND delta.day BETWEEN %(date_from)s AND %(date_to)s
        AND batches.batch_no = delta.batch_no AND batches.state = 'published'
)

SELECT day, sum(price_sum)::bigint AS price_sum, sum(price_count)::bigint AS price_count
FROM totals GROUP BY day ORDER BY day DESC;
"""
# How the loader of 0004 filled the tables.
OPEN = """
INSERT INTO batches (key, content_hash, source, chunk_rows) VALUES (%s, sha256(%s::bytea), '', %s)
RETURNING batch_no
"""
TOTAL = """
INSERT INTO lane_day_deltas (batch_no, chunk_no, orig_code, dest_code, day, price_sum, price_count)
SELECT batch_no, chunk_no, orig_code, dest_code, day, sum(price), count(*)
FROM prices WHERE batch_no = %s GROUP BY batch_no, chunk_no, orig_code, dest_code, day
"""
FOLD = """
WITH taken AS (DELETE FROM lane_day_deltas WHERE batch_no = %s AND orig_code <= %s RETURNING *)
INSERT INTO lane_day_totals AS base (orig_code, dest_code, day, price_sum, price_count)
SELECT orig_code, dest_code, day, sum(price_sum), sum(price_count) FROM taken GROUP BY 1, 2, 3
ON CONFLICT (orig_code, dest_code, day) DO UPDATE SET
price_sum = base.price_sum + excluded.price_sum, price_count = base.price_count + excluded.price_count
"""
PUBLISH = [
    "UPDATE data_version SET version = version + 1, changed_at = clock_timestamp()",
    "UPDATE batches SET state = 'published', row_count = 120, chunk_count = 6, ended_at = clock_timestamp()"
    " WHERE batch_no = %s",
]
CHUNK_ROWS = 20
KEYS = ("folded", "half folded", "not folded", "loading", "rejected", "withdrawn")
PUBLISHED = KEYS[:3]


def rows_of(key: str) -> list[Row]:
    """Over two years, on lanes and days that the batches share."""
    rows = make_rows(120, seed=KEYS.index(key))
    return [row._replace(day=row.day + timedelta(31 * (number % 24))) for number, row in enumerate(rows)]


@dataclass
class Old:
    """A database that 0004 left with a batch of each kind in it, and what it answered then."""

    database: Database
    numbers: dict[str, int]
    answers: list[list[tuple]]


def fill(connection: psycopg.Connection, key: str) -> int:
    ((number,),) = connection.execute(OPEN.encode(), [key, key, CHUNK_ROWS]).fetchall()
    with connection.cursor() as cursor:
        values = [(number, n // CHUNK_ROWS, *row) for n, row in enumerate(rows_of(key))]
        columns = "batch_no, chunk_no, orig_code, dest_code, day, price"
        cursor.executemany(f"INSERT INTO prices ({columns}) VALUES (%s, %s, %s, %s, %s, %s)".encode(), values)
        cursor.executemany(
            "INSERT INTO chunks (batch_no, chunk_no, content_hash, row_count, error_count)"
            " VALUES (%s, %s, sha256(''), %s, 0)",
            [(number, chunk_no, CHUNK_ROWS) for chunk_no in range(6)],
        )
    connection.execute(TOTAL.encode(), [number])
    if key in PUBLISHED:
        for statement in PUBLISH:
            connection.execute(statement.encode(), [number] if "%s" in statement else None)
    if key == "rejected":
        connection.execute("DELETE FROM prices WHERE batch_no = %s", [number])
        connection.execute("DELETE FROM lane_day_deltas WHERE batch_no = %s", [number])
    if key in KEYS[4:]:
        connection.execute("UPDATE batches SET state = %s WHERE batch_no = %s", [key, number])
    return number


def answers(target: Database) -> list[list[tuple]]:
    """By the API, as its role: every pair of some places, over all years and a part of a month."""
    return asked(target, lambda connection, pair, span: day_totals(connection, pair, *span))


def old_answers(target: Database) -> list[list[tuple]]:
    """The same by the statement of the release before."""
    names = ("orig_code", "dest_code", "date_from", "date_to")

    def ask(connection: psycopg.Connection, pair: Pair, span: Span) -> list[tuple]:
        rows = connection.execute(OLD_STATEMENT, dict(zip(names, (*pair, *span), strict=True)))
        return [
            row for row in rows if row[2]
        ]  # of a day that was taken back, it may say that it has no price

    return asked(target, ask)


def asked(
    target: Database, ask: Callable[[psycopg.Connection, Pair, Span], list[tuple]]
) -> list[list[tuple]]:
    places = ("world", "asia", "europe", "CNSGH", "SEGVX", "nowhere")
    spans = [(FIRST_DAY, FIRST_DAY + timedelta(999)), (FIRST_DAY + timedelta(20), FIRST_DAY + timedelta(50))]
    with target.connect("rates_api") as connection:
        return [ask(connection, (orig, dest), span) for orig in places for dest in places for span in spans]


@pytest.fixture(scope="module")
def migrated(server: PostgresServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> Old:
    """Asked for its answers at 0004, and then migrated: each test has a copy of it."""
    assert template, "the server has its roles"
    database = clone(server, "template0")
    migrate_to(database, "0004", tmp_path_factory.mktemp("in-use"))
    add_places(database)
    with database.connect() as connection:
        numbers = {key: fill(connection, key) for key in KEYS}
        connection.execute(FOLD.encode(), [numbers["folded"], "ZZZZZ"])
        connection.execute(FOLD.encode(), [numbers["half folded"], "DEHAM"])
    old = Old(database, numbers, old_answers(database))
    migrate_on(database, "0004")
    return old


@pytest.fixture
def new(migrated: Old, server: PostgresServer) -> Iterator[Old]:
    """Migrated; the test's own process is the loader."""
    database = clone(server, migrated.database.name)
    with as_role(database, "rates_loader"):
        yield replace(migrated, database=database)
    database.drop()


def assert_old_and_new_answer_the_same(target: Database) -> None:
    assert old_answers(target) == answers(target)


def test_every_answer_is_the_same_as_before_by_the_old_statement_and_the_new(new: Old) -> None:
    assert sum(len(days) for days in new.answers) > 1000
    assert old_answers(new.database) == new.answers
    assert answers(new.database) == new.answers
    assert_answers_are_what_was_published(new.database, *map(rows_of, PUBLISHED))
    assert data_version(new.database) == 3
    assert fold_a_step(new.database, 40) == 40
    assert_old_and_new_answer_the_same(new.database)
    assert fold(new.database) > 40
    assert old_answers(new.database) == new.answers
    assert answers(new.database) == new.answers


def test_the_days_of_a_month_that_was_half_folded_are_on_both_sides_once(new: Old) -> None:
    deltas = new.database.rows("SELECT DISTINCT posting_no FROM lane_month_deltas ORDER BY 1")
    assert deltas == [(new.numbers[key],) for key in ("half folded", "not folded", "loading", "withdrawn")]
    ((most,),) = new.database.rows("SELECT max(cardinality(days)) FROM lane_month_totals")
    assert most > 1
    assert new.database.rows("SELECT posting_no FROM postings ORDER BY 1") == [
        (new.numbers["half folded"],),
        (new.numbers["not folded"],),
    ]


@pytest.mark.parametrize("key", PUBLISHED)
@pytest.mark.parametrize("fold_first", [False, True])
def test_a_batch_of_before_can_be_withdrawn(key: str, fold_first: bool, new: Old) -> None:
    """And neither statement ever tells of a part of it."""
    if fold_first:
        fold(new.database)
    left = [rows_of(other) for other in PUBLISHED if other != key]
    with new.database.connect("rates_loader") as connection:
        assert withdraw(connection, key).state == "withdrawn"
    assert_answers_are_what_was_published(new.database, *left)
    assert_old_and_new_answer_the_same(new.database)
    while fold_a_step(new.database, 60):
        assert_old_and_new_answer_the_same(new.database)
    assert discard(new.database) == 6
    assert_answers_are_what_was_published(new.database, *left)
    assert_old_and_new_answer_the_same(new.database)


def test_a_batch_that_was_loading_is_published_by_the_new_loader(new: Old) -> None:
    with new.database.connect("rates_loader") as connection:
        batch = find_by_name(connection, "loading")
        assert isinstance(batch, Batch)
        assert end_batch(connection, batch, chunk_count=6, places=Places()).state == "published"
    assert_answers_are_what_was_published(new.database, *map(rows_of, KEYS[:4]))
    assert_old_and_new_answer_the_same(new.database)


def test_a_batch_that_the_old_loader_publishes_after_the_migration_counts(new: Old) -> None:
    """All of its chunks were in; it knows nothing of postings."""
    with new.database.connect("rates_loader") as connection, connection.transaction():
        for statement in PUBLISH:
            parameters = [new.numbers["loading"]] if "%s" in statement else None
            connection.execute(statement.encode(), parameters)
    assert_answers_are_what_was_published(new.database, *map(rows_of, KEYS[:4]))
    assert_old_and_new_answer_the_same(new.database)
    fold(new.database)
    assert_answers_are_what_was_published(new.database, *map(rows_of, KEYS[:4]))


def test_what_comes_after_it_adds_to_what_was_there(new: Old, tmp_path: Path) -> None:
    more = rows_of("folded")[:50]
    path = write_csv(tmp_path / "more.csv", more)
    assert load(Files([path]), Options(chunk_rows=20)).state == "published"
    assert_answers_are_what_was_published(new.database, *map(rows_of, PUBLISHED), more)
    assert_old_and_new_answer_the_same(new.database)
    fold(new.database)
    assert_answers_are_what_was_published(new.database, *map(rows_of, PUBLISHED), more)
    assert_old_and_new_answer_the_same(new.database)
