"""A batch that will miss its deadline says so: early, once, and not before that can be known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from loader.check import Ports, check
from loader.deadlines import note_late
from loader.ledger import Batch, Order, chunk_transaction, claim_chunk, known_ports, open_batch, write_chunk
from loader.publish import Places, end_batch, give_up
from loader.sources import Files
from loader.withdraw import ask
from tests.loader.batches import json_of, make_rows, run, write_csv
from tests.postgres import Database
from tests.telemetry.logged import logged

Begin = Callable[..., Batch]


@pytest.fixture
def begin(ports: Database, connection: psycopg.Connection, tmp_path: Path) -> Begin:
    """A batch of ten chunks of ten rows as it is after so many seconds: by itself, after twenty, in which
    three chunks went in. It is then expected to end 47 seconds later."""

    def begin_one(
        *,
        chunks: int = 3,
        of: int = 10,
        seconds: float = 20,
        deadline_s: float | None = 30,
        planned: bool = True,
    ) -> Batch:
        deadline = None if deadline_s is None else datetime.now(UTC) + timedelta(seconds=deadline_s)
        batch = open_batch(connection, Order("k", None, "k.csv", 10, deadline=deadline, request_id="r-1"))
        known = Ports(known_ports(connection))
        path = write_csv(tmp_path / "k.csv", make_rows(10 * chunks))
        for chunk_no, chunk in enumerate(Files([path]).chunks(10) if chunks else ()):
            with chunk_transaction(connection):
                write_chunk(connection, batch, chunk_no, chunk, check(chunk, known))
        connection.execute(
            "INSERT INTO plans (batch_no, content, complete, chunk_count, bytes_read)"
            " VALUES (%s, %s, %s, %s, 100) ON CONFLICT DO NOTHING",
            [batch.batch_no, '{"size": 100}', planned, of],
        )
        ports.rows(f"UPDATE batch_events SET at = now() - {seconds} * interval '1 s' RETURNING 1")
        return batch

    return begin_one


def paused(database: Database, seconds: float) -> None:
    """As if the last chunk had been done so long ago."""
    database.rows(f"UPDATE chunks SET done_at = now() - {seconds} * interval '1 s' RETURNING 1")


def late_events(database: Database) -> list[tuple]:
    return database.rows("SELECT batch_id, seconds FROM batch_events WHERE event = 'late'")


def test_a_batch_that_will_miss_its_deadline_says_so_while_there_is_time(
    ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    batch = begin()
    (late,) = note_late(connection)
    assert (late.id, late.request_id) == (batch.id, "r-1")
    assert late.expected_end is not None
    assert late.late_s == pytest.approx(16.7, abs=2)
    assert late.late_s == pytest.approx((late.expected_end - late.deadline).total_seconds(), rel=0.01)
    assert late_events(ports) == [(batch.id, pytest.approx(late.late_s))]
    ((since, now),) = ports.rows("SELECT late_since, now() FROM batch_status")
    assert now - timedelta(seconds=30) < since <= now


def test_it_says_so_once(ports: Database, connection: psycopg.Connection, begin: Begin) -> None:
    begin()
    assert len(note_late(connection)) == 1
    assert note_late(connection) == []
    begin()  # resumed, after whatever pause
    assert note_late(connection) == []
    assert len(late_events(ports)) == 1


def test_of_several_workers_one_says_so(ports: Database, begin: Begin) -> None:
    begin()

    def note_alone(_: int) -> int:
        with ports.connect("rates_loader") as connection:
            return sum(len(note_late(connection)) for _ in range(3))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(note_alone, range(8))) == 1
    assert len(late_events(ports)) == 1


def test_it_waits_for_nobody_who_does_a_chunk(
    ports: Database, connection: psycopg.Connection, begin: Begin, good: Path
) -> None:
    """Those hold the batch's row, one after the other, for as long as it is busy."""
    batch = begin()
    (chunk,) = Files([good]).chunks(100)
    with ports.connect("rates_loader") as other, chunk_transaction(other):
        assert claim_chunk(other, batch, 9, chunk, wait=False) == "mine"
        connection.execute("SET lock_timeout = '5s'")
        assert len(note_late(connection)) == 1


def test_it_is_logged_and_counted(connection: psycopg.Connection, begin: Begin) -> None:
    batch = begin()
    with logged("loader") as lines:
        (late,) = note_late(connection)
    warning, figure = lines.all()
    assert (warning["event"], warning["level"]) == ("batch will miss its deadline", "warning")
    assert warning["deadline"] == str(late.deadline)
    assert (warning["expected_end"], warning["late_seconds"]) == (str(late.expected_end), late.late_s)
    assert figure["batches_late"] == 1
    assert {(line["batch"], line["request_id"]) for line in (warning, figure)} == {(str(batch.id), "r-1")}


def test_it_stands_in_the_batchs_life(ports: Database, connection: psycopg.Connection, begin: Begin) -> None:
    begin()
    note_late(connection)
    shown = json_of(run("show", "k", "--json", database=ports))
    assert [event["event"] for event in shown["events"]] == ["opened", "late"]
    assert shown["late_since"] == shown["events"][1]["at"]


@pytest.mark.parametrize(
    "how",
    [
        {"deadline_s": None},
        {"deadline_s": 60},
        {"deadline_s": 43},  # by less than a tenth of what is ahead
        {"seconds": 3, "deadline_s": 6},  # it has only been begun
        {"chunks": 2},  # two may have come by chance
        {"planned": False},  # how much there is to do is known roughly
        {"chunks": 0},  # nobody has come to it yet
        {"chunks": 0, "seconds": 70, "deadline_s": 301},
    ],
    ids=str,
)
def test_what_may_still_come_in_time_is_not_late(
    how: dict, ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    begin(**how)
    assert note_late(connection) == []
    assert late_events(ports) == []


@pytest.mark.parametrize("how", [{"chunks": 2}, {"planned": False}], ids=str)
def test_after_a_minute_a_rough_measure_is_one(
    how: dict, connection: psycopg.Connection, begin: Begin
) -> None:
    begin(seconds=61, **how)
    (late,) = note_late(connection)
    assert late.late_s is not None
    assert late.late_s > 60


@pytest.mark.parametrize("chunks", [0, 3])
def test_a_batch_that_nobody_is_at_is_late_where_its_deadline_is_near(
    chunks: int, ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    batch = begin(chunks=chunks, seconds=3_600, deadline_s=290)
    if chunks:
        paused(ports, 61)
    (late,) = note_late(connection)
    assert (late.id, late.expected_end, late.late_s) == (batch.id, None, None)
    assert late_events(ports) == [(batch.id, None)]


def test_a_batch_whose_deadline_is_over_is_late_whatever_is_known_of_it(
    ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    begin(chunks=0, seconds=1, deadline_s=-5)
    (late,) = note_late(connection)
    assert late.late_s == pytest.approx(5, abs=2)
    assert late.expected_end is None


@pytest.mark.parametrize(
    "end",
    [
        lambda connection, batch: end_batch(connection, batch, chunk_count=3, places=Places()),
        lambda connection, batch: give_up(connection, batch, "it is gone"),
        ask,
    ],
    ids=["published", "failed", "withdrawal asked for"],
)
def test_what_is_not_loading_any_more_is_not_late(
    end: Callable[[psycopg.Connection, Batch], object], connection: psycopg.Connection, begin: Begin
) -> None:
    end(connection, begin(deadline_s=-5))
    assert note_late(connection) == []
