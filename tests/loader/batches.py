"""What the tests of the loader load, how they run it as a process, and what must be true afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest

from loader.__main__ import main
from loader.chunks import COLUMNS
from loader.compact import ROWS_MAX, fold_all
from loader.discard import discard_all
from loader.load import Options, Result, load
from loader.sources import Files
from local.postgres import PostgresServer
from tests.postgres import Database, clone
from tests.waiting import wait_until

TIMEOUT_S = 60
ELSEWHERE = ("PG", "DATABASE_URL", "RATES_DB_AUTH")  # what points at another database
# Two regions below one, and ports in each.
REGIONS = [("world", "World", None), ("asia", "Asia", "world"), ("europe", "Europe", "world")]
PORTS = [
    ("CNSGH", "Shanghai", "asia"),
    ("CNNGB", "Ningbo", "asia"),
    ("SGSIN", "Singapore", "asia"),
    ("NLRTM", "Rotterdam", "europe"),
    ("DEHAM", "Hamburg", "europe"),
    ("SEGVX", "Gävle", "europe"),
]
CODES = [code for code, _, _ in PORTS]
FIRST_DAY = date(2021, 1, 1)
TABLES = (
    "regions", "ports", "region_ports", "batches", "chunks", "batch_errors", "fault_kinds", "batch_events",
    "data_version", "prices", "lane_month_totals", "lane_month_deltas", "postings", "discards",
)  # fmt: skip
PUBLISHED = b"""
SELECT orig_code, dest_code, day, price FROM prices JOIN batches USING (batch_no) WHERE state = 'published'
"""
# So many chunks after the one that a test waits for, a load that is to be cut short is held up.
HELD_AFTER = 10
HOLD_CHUNK = b"""
CREATE OR REPLACE FUNCTION hold_chunk() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END'
"""
# What readers are told must be what the prices of published batches add up to.
DIFFERENCES = """
WITH told AS (
    SELECT orig_code, dest_code, (month + (of_day.day - 1))::date AS day,
        sum(of_day.price_sum)::bigint, sum(of_day.price_count)::bigint
    FROM (
        SELECT orig_code, dest_code, month, days, price_sums, price_counts FROM lane_month_totals
        UNION ALL
        SELECT orig_code, dest_code, month, days, price_sums, price_counts
        FROM lane_month_deltas JOIN postings USING (posting_no)
    ) AS both_kinds, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
    GROUP BY orig_code, dest_code, month + (of_day.day - 1)
    HAVING (sum(of_day.price_sum), sum(of_day.price_count)) <> (0, 0)
),
counted AS (
    SELECT orig_code, dest_code, day, sum(price)::bigint, count(*)
    FROM prices JOIN batches USING (batch_no) WHERE state = 'published' GROUP BY orig_code, dest_code, day
)
(TABLE told EXCEPT ALL TABLE counted) UNION ALL (TABLE counted EXCEPT ALL TABLE told)
"""
# Days of a month from its first to its last one, ascending, and a sum and a count beside each.
MISSHAPEN = """
SELECT * FROM (
    SELECT month, days, price_sums, price_counts FROM lane_month_totals
    UNION ALL
    SELECT month, days, price_sums, price_counts FROM lane_month_deltas
) AS both_kinds
WHERE days = '{}' OR days <> (SELECT array_agg(DISTINCT day ORDER BY day) FROM unnest(days) AS day)
    OR cardinality(days) <> cardinality(price_sums) OR cardinality(days) <> cardinality(price_counts)
    OR month <> date_trunc('month', month + (days[cardinality(days)] - 1)) OR days[1] < 1
"""


class Row(NamedTuple):
    """A good row, in the order of the header that `write_csv` gives it."""

    orig_code: str
    dest_code: str
    day: date
    price: int


def make_rows(count: int, seed: int = 1) -> list[Row]:
    """Good rows over all lanes and some weeks: the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311
    return [
        Row(
            chance.choice(CODES),
            chance.choice(CODES),
            FIRST_DAY + timedelta(chance.randrange(30)),
            chance.randrange(1, 5000),
        )
        for _ in range(count)
    ]


def write_csv(path: Path, rows: Iterable[Sequence[object]], header: str = ",".join(COLUMNS)) -> Path:
    """Rows as they are, good or bad, below a header."""
    lines = [header, *(",".join(str(value) for value in row) for row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def add_places(database: Database) -> None:
    with database.connect() as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.executemany("INSERT INTO regions VALUES (%s, %s, %s)", REGIONS)
        cursor.executemany("INSERT INTO ports VALUES (%s, %s, %s)", PORTS)
        # In the same transaction, which then raises it no more: this is where a test begins.
        cursor.execute("UPDATE data_version SET version = 0")


@contextmanager
def one_database(server: PostgresServer, template: str) -> Generator[Database]:
    """A database with places in it for all the tests of a module, whose own process is its loader."""
    database = clone(server, template)
    add_places(database)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.environment("rates_loader").items():
            patch.setenv(name, value)
        yield database
    database.drop()


def assert_answers_are_what_was_published(database: Database, *batches: Iterable[Row]) -> None:
    """The published prices are exactly the rows of these batches, and the totals are what they add up to."""
    with database.connect() as connection:
        published = connection.execute(PUBLISHED).fetchall()
        assert sorted(published) == sorted(tuple(row) for rows in batches for row in rows)
        assert_totals_are(connection)


def assert_totals_are_what_was_published(database: Database) -> None:
    with database.connect() as connection:
        assert_totals_are(connection)


def assert_totals_are(connection: psycopg.Connection) -> None:
    for query in (DIFFERENCES, MISSHAPEN):
        assert connection.execute(query.encode()).fetchall() == []


def assert_nothing_is_left_but_the_ledger(database: Database) -> None:
    """Nothing counts, the data version is as in the beginning; thrown away, no price and no total is left."""
    assert database.rows("SELECT count(*) FROM postings") == [(0,)]
    discard(database)
    with database.connect() as connection:
        for table in ("prices", "lane_month_deltas", "lane_month_totals", "postings", "discards"):
            assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall() == [(0,)], table
    assert data_version(database) == 0


def data_version(database: Database) -> int:
    return database.rows("SELECT version FROM data_version")[0][0]


def contents(database: Database) -> dict[str, list[tuple]]:
    """Every row of every table, and where the numbering of batches stands."""
    questions = {table: f"SELECT {table}::text FROM {table}" for table in TABLES}
    questions["batch_no"] = "SELECT last_value, is_called FROM batches_batch_no_seq"
    with database.connect() as connection:
        return {name: sorted(connection.execute(asked.encode())) for name, asked in questions.items()}


# --- the loader in this process, which `as_loader` makes it -------------------------------------------------


def load_rows(folder: Path, rows: Iterable[Row], key: str = "k", **options: Any) -> Result:
    """Publishes rows under a key."""
    result = load(Files([write_csv(folder / f"{key}.csv", rows)]), Options(key=key, **options))
    assert result.state == "published"
    return result


def fold(database: Database, rows_max: int = ROWS_MAX) -> int:
    """Folds all that counts; returns how many deltas that were."""
    with database.connect("rates_loader") as connection:
        connection.execute("SET lock_timeout = '60s'")  # folding never waits for long
        return fold_all(connection, rows_max=rows_max)


def fold_a_step(database: Database, rows_max: int) -> int:
    """A worker that is stopped after its first step."""
    with database.connect("rates_loader") as connection:
        return fold_all(connection, stop=iter([False, True]).__next__, rows_max=rows_max)


def discard(database: Database) -> int:
    """Throws away what counts no more; returns how many chunks that were."""
    with database.connect("rates_loader") as connection:
        return discard_all(connection)


# --- the loader as a process -------------------------------------------------------------------------------


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "loader", *(os.fspath(argument) for argument in arguments)]


def environment(database: Database | None = None, role: str = "rates_loader", **more: str) -> dict[str, str]:
    """This process's environment, naming this database or none."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(ELSEWHERE)}
    return mine | (database.environment(role) if database else {}) | more


def run(
    *arguments: str | Path, database: Database | None = None, role: str = "rates_loader", **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs the loader to its end. Whatever it does, it never shows a traceback."""
    done = subprocess.run(
        command(*arguments),
        env=environment(database, role, **more),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_here(
    *arguments: str | Path, database: Database | None = None, role: str = "rates_loader", **more: str
) -> subprocess.CompletedProcess[str]:
    """As `run`, but in this process, which has imported all it needs: for what only its words tell apart."""
    told = [TextIOWrapper(BytesIO(), "utf-8") for _ in range(2)]
    status: str | int | None = 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(ELSEWHERE)]:
            patch.delenv(name)
        for name, value in environment(database, role, **more).items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdout", told[0])
        patch.setattr(sys, "stderr", told[1])
        try:
            main([os.fspath(argument) for argument in arguments], prog_name="loader")
        except SystemExit as ended:
            status = ended.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert isinstance(status, int), status
    for stream in told:
        stream.seek(0)
    return subprocess.CompletedProcess(list(arguments), status, *(stream.read() for stream in told))


def begin(*arguments: str | Path, database: Database, **more: str) -> subprocess.Popen[str]:
    """Starts the loader and leaves it running."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(database, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def chunk_held(database: Database, chunk_no: int) -> Generator[None]:
    """No load gets this chunk in meanwhile, so that none is over before a slow test has looked at it."""
    with closing(database.connect()) as owner:
        owner.execute(HOLD_CHUNK)
        owner.execute(
            "CREATE OR REPLACE TRIGGER hold_chunk BEFORE INSERT ON chunks FOR EACH ROW"
            f" WHEN (NEW.chunk_no = {chunk_no}) EXECUTE FUNCTION hold_chunk()".encode()
        )
        owner.execute("SELECT pg_advisory_lock(4711)")
        yield


def cut_short(
    end: Callable[[subprocess.Popen[str]], object],
    *arguments: str | Path,
    database: Database,
    until_chunks: int,
) -> subprocess.CompletedProcess[str]:
    """Starts a load and ends it so, once it has so many chunks more in than there were."""
    count = "SELECT count(*) FROM chunks"
    ((before,),) = database.rows(count)
    with begin(*arguments, database=database) as process:
        with chunk_held(database, before + until_chunks + HELD_AFTER):
            wait_until(lambda: database.rows(count)[0][0] >= before + until_chunks)
            assert process.poll() is None
            end(process)
        told = process.communicate(timeout=TIMEOUT_S)
    return subprocess.CompletedProcess(process.args, process.returncode, *told)


def json_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object that is all of stdout."""
    assert done.stdout.count("\n") == 1, done.stdout
    return msgspec.json.decode(done.stdout, type=dict[str, Any])


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """All of stderr, which is one line."""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n")
