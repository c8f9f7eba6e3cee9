"""What readers see of a batch: none of it or all of it, from one moment to the next, and never a part."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from loader.load import Options, load
from loader.sources import Files
from tests.loader.batches import Row, data_version, fold, fold_a_step, write_csv
from tests.postgres import Database
from tests.totals import day_totals

LANE, DAY = ("CNSGH", "NLRTM"), date(2021, 1, 1)
ROWS = [Row(*LANE, DAY, price) for price in range(1, 301)]
ALL = [(DAY, sum(row.price for row in ROWS), len(ROWS))]
REGIONS = ("asia", "world")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "prices.csv", ROWS)


@pytest.fixture
def reader(ports: Database) -> Iterator[psycopg.Connection]:
    """The API's own role, each question a transaction."""
    with ports.connect("rates_api") as connection:
        yield connection


def answer(connection: psycopg.Connection, lane: tuple[str, str] = LANE) -> list[tuple]:
    """What the API's statement says of a lane."""
    return day_totals(connection, lane, DAY, DAY)


def test_no_row_is_seen_before_the_last_chunk_and_every_row_after(
    ports: Database, reader: psycopg.Connection, path: Path
) -> None:
    seen = []

    def look() -> bool:
        seen.append((answer(reader), answer(reader, REGIONS), data_version(ports)))
        return False

    load(Files([path]), Options(workers=2, chunk_rows=10), stop=look)

    assert seen == [([], [], 0)] * 30
    assert (answer(reader), answer(reader, REGIONS), data_version(ports)) == (ALL, ALL, 1)


def test_a_reader_that_never_pauses_sees_none_or_all(ports: Database, path: Path) -> None:
    done, seen = threading.Event(), []

    def read() -> None:
        with ports.connect("rates_api") as connection:
            last = False
            while not last:
                last = done.is_set()
                seen.append(answer(connection))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        load(Files([path]), Options(workers=4, chunk_rows=10))
        assert fold(ports, rows_max=1) == 30
    finally:
        done.set()
        thread.join()
    flips = [pair for pair in pairwise(seen) if pair[0] != pair[1]]
    assert flips == [([], ALL)]


@pytest.mark.parametrize("begun_after_chunks", [0, 15])
def test_a_transaction_that_began_before_the_end_of_a_load_never_sees_it(
    begun_after_chunks: int, ports: Database, reader: psycopg.Connection, path: Path
) -> None:
    asked = []
    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def look() -> bool:
        asked.append(True)
        if len(asked) > begun_after_chunks:
            assert answer(reader) == []
        return False

    with reader.transaction():
        if not begun_after_chunks:
            assert answer(reader) == []
        load(Files([path]), Options(workers=2, chunk_rows=10), stop=look)
        assert answer(reader) == []
        assert fold(ports) == 30
        assert answer(reader) == []
    assert answer(reader) == ALL


def test_a_transaction_that_began_before_a_fold_sees_the_same_as_one_after(
    ports: Database, reader: psycopg.Connection, path: Path
) -> None:
    load(Files([path]), Options(chunk_rows=10))
    reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with reader.transaction():
        assert answer(reader) == ALL
        while fold_a_step(ports, rows_max=7):
            assert answer(reader) == ALL
    assert answer(reader) == ALL


def test_a_rejected_batch_is_never_seen(ports: Database, reader: psycopg.Connection, path: Path) -> None:
    write_csv(path, [*ROWS, ROWS[0]._replace(price=0)])
    seen = []

    def look() -> bool:
        seen.extend(answer(reader))
        return False

    assert load(Files([path]), Options(workers=1, chunk_rows=10), stop=look).state == "rejected"
    assert seen == answer(reader) == []
    assert data_version(ports) == 0


def test_a_published_batch_adds_to_those_before(
    ports: Database, reader: psycopg.Connection, path: Path
) -> None:
    for key in ("a", "b", "c"):
        load(Files([path]), Options(key=key))
    assert answer(reader) == [(DAY, 3 * ALL[0][1], 900)]
    assert data_version(ports) == 3
