"""Which chunk is next, and what becomes of it: claimed by one, in once, and its batch ended by the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from database.queries import query
from loader import schedule
from loader.errors import LoaderError
from loader.places import Places, Port
from loader.planned import PlannedChunk
from loader.publish import Ending, give_up
from loader.redrive import begin_again
from loader.schedule import (
    do_chunk,
    end_if_done,
    next_chunk,
    record_failure,
    release,
    take_back_attempt,
    undecided_batches,
)
from loader.withdraw import ask, withdraw
from storage.errors import ObjectChanged, ObjectMissing
from tests.batch_storage import BatchStorage
from tests.loader.batches import assert_answers_are_what_was_published, make_rows
from tests.loader.plans import events_of, plan, state_of
from tests.postgres import Database
from tests.waiting import wait_until

SOON, LATER = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))
HELD = "SELECT objid FROM pg_locks WHERE locktype = 'advisory'"


@pytest.fixture
def other(ports: Database) -> Iterator[psycopg.Connection]:
    with ports.connect("rates_loader") as connection:
        yield connection


def claim(connection: psycopg.Connection, *, fair: bool = False) -> PlannedChunk:
    planned = next_chunk(connection, fair=fair)
    assert planned is not None
    return planned


def name(planned: PlannedChunk) -> tuple[str, int]:
    return planned.batch.key, planned.chunk_no


def picks(database: Database, count: int, *, fair: bool = False) -> list[tuple[str, int]]:
    """What so many workers get that pick one after the other, each while all before it are at theirs."""
    with ExitStack() as workers:
        connections = [workers.enter_context(database.connect("rates_loader")) for _ in range(count)]
        picked = [claim(connection, fair=fair) for connection in connections]
        for connection, planned in zip(connections, picked, strict=True):
            release(connection, planned)  # a server takes its time to notice that one has gone
    return [name(planned) for planned in picked]


def do_all(connection: psycopg.Connection, storage: BatchStorage) -> dict[str, Ending]:
    """Does what there is, as a worker does; how the batches ended."""
    endings: dict[str, Ending] = {}
    while planned := next_chunk(connection, fair=False):
        do_chunk(connection, storage.bucket, planned)
        release(connection, planned)
        ending = end_if_done(connection, planned.batch)
        if ending is not None:
            endings[planned.batch.key] = ending
    return endings


# --- which one ----------------------------------------------------------------------------------------------


def test_the_earlier_deadline_is_first_and_none_at_all_is_last(
    ports: Database, storage: BatchStorage
) -> None:
    for key, deadline in (("none", None), ("later", LATER), ("soon", SOON)):
        plan(ports, storage.bucket, key, make_rows(20), deadline=deadline)
    in_order = [("soon", 0), ("soon", 1), ("later", 0), ("later", 1), ("none", 0), ("none", 1)]
    assert picks(ports, 6) == in_order


def test_of_batches_without_a_deadline_the_one_that_has_come_least_far_is_next(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "large", make_rows(100))
    for _ in range(3):
        planned = claim(connection)
        do_chunk(connection, storage.bucket, planned)
        release(connection, planned)
    plan(ports, storage.bucket, "small", make_rows(20))
    assert picks(ports, 3) == [("small", 0), ("small", 1), ("large", 3)]


def test_a_fair_pick_does_not_ask_for_deadlines(ports: Database, storage: BatchStorage) -> None:
    urgent = plan(ports, storage.bucket, "soon", make_rows(30), deadline=SOON)
    plan(ports, storage.bucket, "none", make_rows(20))
    ports.rows("DELETE FROM planned_chunks WHERE batch_no = %s AND chunk_no = 0 RETURNING 1", urgent.batch_no)
    assert picks(ports, 2, fair=True) == [("none", 0), ("soon", 1)]
    assert picks(ports, 2, fair=False) == [("soon", 1), ("soon", 2)]


def test_two_workers_are_never_at_the_same_chunk(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "k", make_rows(30))
    assert picks(ports, 3) == [("k", 0), ("k", 1), ("k", 2)]
    release(connection, claim(connection))
    assert name(claim(other)) == ("k", 0), "which nobody is at any more"
    ports.rows("DELETE FROM planned_chunks WHERE chunk_no > 0 RETURNING 1")
    assert next_chunk(connection, fair=False) is None


def test_a_chunk_whose_worker_died_is_free_at_once(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "k", make_rows(10))
    claim(connection)
    assert next_chunk(other, fair=False) is None
    ports.rows("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
    wait_until(lambda: ports.rows(HELD) == [])
    assert claim(other).attempts == 2
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_a_chunk_that_is_done_while_it_is_claimed_is_passed_over(
    ports: Database,
    storage: BatchStorage,
    connection: psycopg.Connection,
    other: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between being found, with the snapshot of then, and being claimed."""
    batch = plan(ports, storage.bucket, "k", make_rows(20))
    first = claim(other)
    do_chunk(other, storage.bucket, first)
    real = schedule.begin_chunk

    def begin_late(connection: psycopg.Connection, batch_no: int, chunk_no: int) -> PlannedChunk | None:
        if chunk_no == 1:
            ports.rows("DELETE FROM planned_chunks WHERE batch_no = %s RETURNING 1", batch.batch_no)
        return real(connection, batch_no, chunk_no)

    monkeypatch.setattr(schedule, "begin_chunk", begin_late)
    assert next_chunk(connection, fair=False) is None
    release(other, first)
    assert ports.rows(HELD) == [], "what was passed over is let go of"


@pytest.mark.parametrize("how", ["withdrawn", "to be withdrawn", "failed"])
def test_nothing_is_picked_of_a_batch_that_is_over(
    how: str, ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(20))
    match how:
        case "withdrawn":
            withdraw(connection, "k")
        case "to be withdrawn":
            ask(connection, batch)
        case "failed":
            give_up(connection, batch, "a reason")
    assert next_chunk(connection, fair=False) is None


def test_a_pick_among_ten_thousand_chunks_of_a_hundred_batches_looks_at_each_once_at_most(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    """Which takes some milliseconds: a chunk takes a second, and its pick no noticeable part of that."""
    plan(ports, storage.bucket, "first", make_rows(10))
    ports.rows(
        "WITH opened AS (INSERT INTO batches (key, source, chunk_rows)"
        "   SELECT 'batch ' || number, 'x', 1 FROM generate_series(1, 100) AS number RETURNING batch_no),"
        " planned AS (INSERT INTO plans (batch_no, content)"
        "   SELECT opened.batch_no, content FROM opened, plans RETURNING batch_no)"
        " INSERT INTO planned_chunks (batch_no, chunk_no, first_line, begin_byte, end_byte)"
        " SELECT batch_no, number, 1, 0, 1 FROM opened, generate_series(0, 99) AS number RETURNING 1"
    )
    ports.rows("DELETE FROM planned_chunks WHERE batch_no = 1 RETURNING 1")
    with ports.connect() as owner:
        owner.execute("ANALYZE")
    other.execute("SELECT pg_advisory_lock(batch_no, chunk_no) FROM planned_chunks WHERE chunk_no < 1")
    planned = claim(connection)
    assert planned.chunk_no == 1, "somebody is at the first one of each batch"
    release(connection, planned)
    explain = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + query("loader", "next_chunk")
    for fair in (True, False):
        ((found,),) = connection.execute(explain, {"fair": fair}).fetchall()
        # The plan tells rows a loop, rounded.
        assert 100 < round(rows_read(found[0]["Plan"], "planned_chunks")) <= 10_000


def rows_read(node: dict[str, Any], table: str) -> float:
    """From a table, those that a filter takes out among them, in all of a plan."""
    per_loop = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    here = per_loop * node["Actual Loops"] if node.get("Relation Name") == table else 0
    return here + sum(rows_read(below, table) for below in node.get("Plans", []))


# --- doing it -----------------------------------------------------------------------------------------------


def test_the_last_chunk_publishes_its_batch(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    rows = make_rows(25)
    batch = plan(ports, storage.bucket, "k", rows)
    endings = do_all(connection, storage)
    assert [(ending.state, ending.row_count) for ending in endings.values()] == [("published", 25)]
    assert_answers_are_what_was_published(ports, rows)
    assert events_of(ports, batch.id) == ["opened", "loaded", "published"]
    assert ports.rows("SELECT * FROM plans") == ports.rows("SELECT * FROM planned_chunks") == []
    assert ports.rows(HELD) == []


def test_whoever_asks_after_the_end_changes_nothing(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    assert end_if_done(connection, batch) is None, "nothing is done yet"
    do_all(connection, storage)
    assert end_if_done(connection, batch) is None
    assert undecided_batches(connection) == []


def test_a_batch_whose_last_worker_died_before_its_end_is_found(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    do_chunk(connection, storage.bucket, claim(connection))
    assert undecided_batches(connection) == [batch]
    ending = end_if_done(connection, batch)
    assert ending is not None
    assert ending.state == "published"


def test_a_batch_that_is_still_being_planned_is_not_ended(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    with ports.connect() as owner:
        owner.execute("UPDATE plans SET complete = false")
    do_chunk(connection, storage.bucket, claim(connection))
    assert end_if_done(connection, batch) is None
    assert undecided_batches(connection) == []


def test_every_bad_row_is_told_and_no_row_goes_in(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    rows = make_rows(30)
    for number in (3, 25):
        rows[number] = rows[number]._replace(price=0)
    plan(ports, storage.bucket, "k", rows)
    (ending,) = do_all(connection, storage).values()
    assert (ending.state, ending.row_count, ending.error_count) == ("rejected", 0, 2)
    assert [(error.file, error.line) for error in ending.errors] == [("k.csv", 5), ("k.csv", 27)]
    assert ports.rows("SELECT chunk_no, row_count, error_count FROM chunks ORDER BY 1") == [
        (0, 9, 1), (1, 10, 0), (2, 9, 1),
    ]  # fmt: skip
    assert ports.rows("SELECT count(*) FROM prices") == [(0,)], "once a fault is known, none is written"


def test_a_dry_run_is_checked_and_writes_no_price(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "dry-run:k", make_rows(20), dry_run=True)
    (ending,) = do_all(connection, storage).values()
    assert (ending.state, ending.row_count) == ("valid", 20)
    assert ports.rows("SELECT count(*) FROM prices") == [(0,)]


def test_the_places_of_a_dump_count_while_it_is_checked_and_go_in_with_its_prices(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    rows = [row._replace(orig_code="FIHEL") for row in make_rows(20)]
    places = Places(ports=[Port("FIHEL", "Helsinki", "europe")])
    plan(ports, storage.bucket, "k", rows, places=places)
    (ending,) = do_all(connection, storage).values()
    assert ending.state == "published"
    assert ports.rows("SELECT name FROM ports WHERE code = 'FIHEL'") == [("Helsinki",)]


def test_a_chunk_done_twice_is_in_once(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    rows = make_rows(20)
    plan(ports, storage.bucket, "k", rows)
    planned = claim(connection)
    for _ in range(2):
        do_chunk(connection, storage.bucket, planned)
    release(connection, planned)
    do_all(connection, storage)
    assert_answers_are_what_was_published(ports, rows)


@pytest.mark.parametrize("when", ["asked", "done"])
def test_a_chunk_of_a_batch_that_is_withdrawn_meanwhile_is_not_needed(
    when: str,
    ports: Database,
    storage: BatchStorage,
    connection: psycopg.Connection,
    other: psycopg.Connection,
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(20))
    planned = claim(connection)
    if when == "asked":
        ask(other, batch)
    else:
        withdraw(other, "k")
    do_chunk(connection, storage.bucket, planned)
    assert ports.rows("SELECT count(*) FROM chunks") == [(0,)]
    assert end_if_done(connection, batch) is None


def test_a_chunk_of_a_batch_that_is_given_up_meanwhile_is_still_to_be_done(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, other: psycopg.Connection
) -> None:
    rows = make_rows(20)
    batch = plan(ports, storage.bucket, "k", rows)
    planned = claim(connection)
    give_up(other, batch, "chunk 1 was tried 5 times")
    do_chunk(connection, storage.bucket, planned)
    release(connection, planned)
    assert ports.rows("SELECT chunk_no FROM planned_chunks ORDER BY 1") == [(0,), (1,)]
    assert begin_again(other, storage.queue, batch, 32)
    do_all(connection, storage)
    assert_answers_are_what_was_published(ports, rows)


def test_a_chunk_whose_content_is_gone_or_another_says_so(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "k", make_rows(10))
    planned = claim(connection)
    storage.bucket.put(planned.content.key, b"x" * planned.content.size)
    with pytest.raises(ObjectChanged):
        do_chunk(connection, storage.bucket, planned)
    storage.bucket.delete(planned.content.key)
    with pytest.raises(ObjectMissing):
        do_chunk(connection, storage.bucket, planned)


def test_a_ledger_that_lacks_a_chunk_that_was_planned_does_not_end_the_batch(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(20))
    ports.rows("DELETE FROM planned_chunks WHERE chunk_no = 1 RETURNING 1")
    do_chunk(connection, storage.bucket, claim(connection))
    with pytest.raises(LoaderError, match="has 1 of 2 chunks"):
        end_if_done(connection, batch)
    assert state_of(ports, batch.id) == "loading"


# --- tries --------------------------------------------------------------------------------------------------


def again(connection: psycopg.Connection, planned: PlannedChunk) -> PlannedChunk:
    release(connection, planned)
    return claim(connection)


def test_a_try_counts_unless_it_is_taken_back(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "k", make_rows(10))
    planned = claim(connection)
    assert planned.attempts == 1
    planned = again(connection, planned)
    assert planned.attempts == 2
    take_back_attempt(connection, planned)
    assert again(connection, planned).attempts == 2


def test_what_a_try_ended_with_is_known_to_the_next_one(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    plan(ports, storage.bucket, "k", make_rows(10))
    planned = claim(connection)
    assert record_failure(connection, planned, ValueError("not\0 so\ngood")) == "ValueError: not so good"
    assert again(connection, planned).failure == "ValueError: not so good"
