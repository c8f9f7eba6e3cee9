"""Whoever changes places raises the version of the data: once as it commits, and only for what did change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from database.queries import query
from loader.places import Places, Port, Region, upsert_places
from tests.database.waiting import begin_and_wait
from tests.postgres import Database
from tests.waiting import TIMEOUT_S

PLACES = Places(
    [Region("world", "World", None), Region("asia", "Asia", "world"), Region("europe", "Europe", "world")],
    [Port("CNSGH", "Shanghai", "asia"), Port("DEHAM", "Hamburg", "europe")],
)
CHANGES: list[LiteralString] = [
    "INSERT INTO regions VALUES ('africa', 'Africa', NULL)",
    "UPDATE regions SET name = 'Far East' WHERE slug = 'asia'",
    "UPDATE regions SET parent_slug = NULL",
    "DELETE FROM regions WHERE slug = 'lost'",
    "INSERT INTO ports SELECT 'P' || n, '', 'asia' FROM generate_series(1, 3) AS n",
    "INSERT INTO ports VALUES ('DEHAM', '', 'asia') ON CONFLICT (code) DO UPDATE SET name = ''",
    "UPDATE ports SET name = 'Hamburg (Elbe)' WHERE code = 'DEHAM'",
    "UPDATE ports SET parent_slug = 'europe'",
    "DELETE FROM ports",
    "TRUNCATE ports CASCADE",
    "TRUNCATE regions CASCADE",
    "WITH moved AS (UPDATE ports SET parent_slug = 'europe') UPDATE regions SET parent_slug = NULL",
    """
    MERGE INTO ports USING (VALUES ('DEHAM'), ('SEGOT')) AS given (code) ON ports.code = given.code
    WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (given.code, '', 'europe')
    """,
    "DO $$ BEGIN DELETE FROM ports; DELETE FROM regions; END $$",
]
NO_CHANGES: list[LiteralString] = [
    "UPDATE regions SET name = name",
    "UPDATE ports SET parent_slug = 'asia' WHERE code = 'CNSGH'",
    "UPDATE ports SET name = '' WHERE false",
    "DELETE FROM ports WHERE code = 'SEGOT'",
    "INSERT INTO ports SELECT 'SEGOT', '', 'asia' WHERE false",
    "INSERT INTO ports VALUES ('DEHAM', '', 'asia') ON CONFLICT DO NOTHING",
    "DO $$ BEGIN DELETE FROM ports; RAISE 'no'; EXCEPTION WHEN raise_exception THEN END $$",
]
MOVE_HAMBURG = "UPDATE ports SET parent_slug = 'asia' WHERE code = 'DEHAM'"
RENAME_ASIA = "UPDATE regions SET name = 'Far East' WHERE slug = 'asia'"


@pytest.fixture
def placed(database: Database) -> Database:
    with database.connect() as connection:
        connection.execute("INSERT INTO regions VALUES ('lost', 'Atlantis', NULL)")
        with connection.transaction():
            upsert_places(connection, PLACES)
    return database


@pytest.fixture
def by_hand(placed: Database) -> Iterator[psycopg.Connection]:
    with placed.connect() as connection:
        yield connection


@pytest.fixture
def loader(placed: Database) -> Iterator[psycopg.Connection]:
    with placed.connect("rates_loader") as connection:
        yield connection


def version(database: Database) -> int:
    return database.rows("SELECT version FROM data_version")[0][0]


def raise_version(connection: psycopg.Connection) -> None:
    connection.execute(query("loader", "raise_version"))


@pytest.mark.parametrize("statement", CHANGES)
def test_a_statement_that_changes_places_raises_it_once(
    placed: Database, by_hand: psycopg.Connection, statement: LiteralString
) -> None:
    before = placed.rows("SELECT version, changed_at FROM data_version")
    by_hand.execute(statement)
    after = placed.rows("SELECT version, changed_at FROM data_version")
    assert after[0][0] == before[0][0] + 1
    assert after[0][1] > before[0][1]


@pytest.mark.parametrize("statement", NO_CHANGES)
def test_a_statement_that_changes_no_row_does_not_raise_it(
    placed: Database, by_hand: psycopg.Connection, statement: LiteralString
) -> None:
    before = placed.rows("SELECT * FROM data_version")
    by_hand.execute(statement)
    assert placed.rows("SELECT * FROM data_version") == before


def test_a_transaction_of_many_changes_raises_it_once_and_tells_once(
    placed: Database, by_hand: psycopg.Connection
) -> None:
    before = version(placed)
    with placed.connect("rates_api") as listener:
        listener.execute("LISTEN data_version")
        with by_hand.transaction():
            by_hand.execute(MOVE_HAMBURG)
            by_hand.execute(RENAME_ASIA)
            by_hand.execute("DELETE FROM ports WHERE code = 'CNSGH'")
        assert version(placed) == before + 1
        by_hand.execute("NOTIFY data_version, 'what comes after it'")
        told = list(listener.notifies(timeout=TIMEOUT_S, stop_after=2))
    assert [notice.payload for notice in told][1:] == ["what comes after it"]


def test_what_is_rolled_back_does_not_raise_it(placed: Database, by_hand: psycopg.Connection) -> None:
    before = version(placed)
    with by_hand.transaction(force_rollback=True):
        by_hand.execute(MOVE_HAMBURG)
    assert version(placed) == before


def test_who_raises_it_by_hand_as_well_raises_it_once(placed: Database, by_hand: psycopg.Connection) -> None:
    """As it had to be done before, in whatever order."""
    before = version(placed)
    with by_hand.transaction():
        raise_version(by_hand)
        by_hand.execute(MOVE_HAMBURG)
    assert version(placed) == before + 1
    with by_hand.transaction():
        by_hand.execute(RENAME_ASIA)
        raise_version(by_hand)
    assert version(placed) == before + 2


@pytest.mark.parametrize("moved", [True, False])
def test_an_import_raises_it_once_whether_or_not_it_moves_places(
    placed: Database, loader: psycopg.Connection, moved: bool
) -> None:
    before = version(placed)
    with loader.transaction():
        ports = [Port("CNSGH", "Shanghai", "europe"), Port("SEGOT", "Göteborg", "europe")]
        upsert_places(loader, Places([Region("asia", "Far East", None)], ports) if moved else PLACES)
        raise_version(loader)
    assert version(placed) == before + 1


def test_a_correction_that_nobody_commits_keeps_no_batch_from_being_published(
    placed: Database, by_hand: psycopg.Connection, loader: psycopg.Connection
) -> None:
    before = version(placed)
    with by_hand.transaction():
        by_hand.execute(MOVE_HAMBURG)
        by_hand.execute(RENAME_ASIA)
        loader.execute("SET lock_timeout = '1s'")
        raise_version(loader)
        assert version(placed) == before + 1
    assert version(placed) == before + 2


def test_a_correction_waits_for_a_publish_and_none_is_lost(
    placed: Database, by_hand: psycopg.Connection, loader: psycopg.Connection
) -> None:
    before = version(placed)
    with loader.transaction():
        raise_version(loader)
        correction = begin_and_wait(placed, by_hand, MOVE_HAMBURG)
        assert not correction.done()
    correction.result(TIMEOUT_S)
    assert version(placed) == before + 2


@pytest.mark.parametrize("first", ["import", "correction"])
def test_an_import_and_a_correction_at_once_both_commit(
    placed: Database, by_hand: psycopg.Connection, loader: psycopg.Connection, first: str
) -> None:
    """The tree is locked first and the version last, by both."""
    before = version(placed)
    one, other = (loader, by_hand) if first == "import" else (by_hand, loader)
    with one.transaction():
        one.execute(RENAME_ASIA)
        waiting = begin_and_wait(placed, other, MOVE_HAMBURG)
        assert not waiting.done()
        if first == "import":
            raise_version(one)
    waiting.result(TIMEOUT_S)
    assert version(placed) == before + 2
