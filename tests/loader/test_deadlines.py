"""A batch that will miss its deadline says so: early, once, and not before that can be known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from loader import deadlines
from loader.check import Ports, check
from loader.deadlines import NEAR_S, note_late
from loader.ledger import Batch, Order, chunk_transaction, claim_chunk, known_ports, open_batch, write_chunk
from loader.places import Places
from loader.publish import end_batch, give_up
from loader.sources import Files
from loader.withdraw import ask
from tests.loader.batches import json_of, make_rows, run, write_csv
from tests.postgres import Database
from tests.telemetry.logged import logged

Begin = Callable[..., Batch]


@pytest.fixture
def begin(ports: Database, connection: psycopg.Connection, tmp_path: Path) -> Begin:
    """A batch of ten chunks of ten rows as it is after so many seconds: by itself, after twenty, in which
    three chunks went in. It is then expected to end 47 seconds later. `seconds` and `deadline_s` are as of
    the moment at which this returns."""

    def begin_one(
        *,
        chunks: int = 3,
        of: int = 10,
        seconds: float = 20,
        deadline_s: float | None = 30,
        planned: bool = True,
    ) -> Batch:
        deadline = None if deadline_s is None else datetime(2030, 1, 1, tzinfo=UTC)
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
        ports.rows(
            "WITH begun AS (UPDATE batch_events SET at = now() - %s * interval '1 s')"
            " UPDATE batches SET deadline = now() + %s * interval '1 s' RETURNING 1",
            seconds,
            deadline_s,
        )
        return batch

    return begin_one


def paused(database: Database, seconds: float) -> None:
    """As if the last chunk had been done so long ago."""
    database.rows(f"UPDATE chunks SET done_at = now() - {seconds} * interval '1 s' RETURNING 1")


def now(database: Database) -> datetime:
    return database.rows("SELECT clock_timestamp()")[0][0]


def late_events(database: Database) -> list[tuple]:
    return database.rows("SELECT batch_id, seconds FROM batch_events WHERE event = 'late'")


def test_a_batch_that_will_miss_its_deadline_says_so_while_there_is_time(
    ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    batch = begin()
    before = now(ports)
    (late,) = note_late(connection)
    after = now(ports)
    assert (late.id, late.request_id) == (batch.id, "r-1")
    assert late.expected_end is not None
    assert late.late_s == pytest.approx((late.expected_end - late.deadline).total_seconds())
    assert late_events(ports) == [(batch.id, pytest.approx(late.late_s))]
    ((begun, since),) = ports.rows("SELECT begun_at, late_since FROM batch_status")
    assert before < since < after
    measured = begun + (late.expected_end - begun) * 0.3  # three of ten chunks are in
    assert before < measured < after


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
        connection.execute("SET lock_timeout = '1ms'")
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
        {"deadline_s": 600},
        # By less than a tenth of what is ahead: 1,940 seconds, since the last minute is what is measured.
        {"of": 100, "seconds": 60, "deadline_s": 1_900},
        {"of": 1_000, "chunks": 2, "deadline_s": 1_000},  # two may have come by chance
        {"of": 1_000, "planned": False, "deadline_s": 1_000},  # how much there is to do is known roughly
        {"chunks": 0, "deadline_s": NEAR_S - 10},  # nobody has come to it yet
        {"chunks": 0, "seconds": 70, "deadline_s": NEAR_S + 60},
    ],
    ids=str,
)
def test_what_may_still_come_in_time_is_not_late(
    how: dict, ports: Database, connection: psycopg.Connection, begin: Begin
) -> None:
    begin(**how)
    assert note_late(connection) == []
    assert late_events(ports) == []


def test_a_batch_that_has_only_been_begun_is_not_late_yet(
    connection: psycopg.Connection, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(of=1_000, deadline_s=1_000)
    with monkeypatch.context() as patch:
        patch.setitem(deadlines.SURELY, "measured_s", 3_600)
        assert note_late(connection) == []
    assert len(note_late(connection)) == 1


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
    before = now(ports)
    (late,) = note_late(connection)
    assert late.late_s is not None
    assert before < late.deadline + timedelta(seconds=late.late_s) < now(ports)
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
