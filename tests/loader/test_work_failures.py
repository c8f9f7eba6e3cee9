"""What a worker makes of what goes wrong: chunks that fail, kills, a database or storage that is away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
import pytest
from structlog.typing import EventDict

from loader import beside, tickets, work
from loader.ledger import Batch
from loader.planned import PlannedChunk
from loader.publish import Ending
from loader.redrive import redrive
from loader.taken import VISIBILITY_S
from storage.bucket import Bucket
from storage.errors import StorageUnavailable
from storage.messages import DoChunk, PlanBatch, Work, decode
from tests.batch_storage import BatchStorage
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import TIMEOUT_S, assert_answers_are_what_was_published, make_rows
from tests.loader.planning import accept
from tests.loader.plans import events_of, plan, state_of
from tests.loader.workers import WorkerHere, csv, ends, message_count, send, worker
from tests.postgres import Database
from tests.waiting import wait_until

ATTEMPTS = "SELECT chunk_no, attempts FROM planned_chunks WHERE attempts > 0"
FAILURE = "SELECT failure FROM batches WHERE id = %s"
Do = Callable[[psycopg.Connection, Bucket, PlannedChunk], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the test's own process."""
    monkeypatch.setattr(work, "RECEIVE_WAIT_S", 1)
    monkeypatch.setattr(beside, "BACKOFF_MAX_S", 0.1)
    monkeypatch.setattr(tickets, "FAILURE_PAUSE_S", 0.02)


def dead_letters(storage: BatchStorage) -> list[Work]:
    return [work for body in storage.dead_letters() for work in decode(body)]


def failing(monkeypatch: pytest.MonkeyPatch, error: Callable[[PlannedChunk], Exception | None]) -> None:
    """Each chunk fails with what `error` gives for it."""
    real: Do = tickets.do_chunk

    def do_or_fail(connection: psycopg.Connection, bucket: Bucket, planned: PlannedChunk) -> None:
        fails_with = error(planned)
        if fails_with is not None:
            raise fails_with
        real(connection, bucket, planned)

    monkeypatch.setattr(tickets, "do_chunk", do_or_fail)


@contextmanager
def prices_held(database: Database) -> Generator[None]:
    """Nobody writes prices meanwhile: whoever is in a chunk stays there."""
    with database.connect() as owner, owner.transaction():
        owner.execute("LOCK TABLE prices IN ACCESS EXCLUSIVE MODE")
        yield


# --- chunks that fail ---------------------------------------------------------------------------------------


def test_a_chunk_that_fails_every_time_gives_its_batch_up_and_no_other(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    rows = make_rows(50, seed=2)
    with monkeypatch.context() as patch:
        failing(
            patch,
            lambda chunk: ValueError("boom") if (chunk.batch.key, chunk.chunk_no) == ("poison", 1) else None,
        )
        poison = send(ports, storage, "poison", make_rows(30), chunk_rows=10)
        other = send(ports, storage, "other", rows, chunk_rows=10)
        with WorkerHere(storage):
            wait_until(ends(ports, poison, "failed"))
            wait_until(ends(ports, other, "published"))
            wait_until(lambda: message_count(storage) == (0, 0))
    reason = "chunk 1 was tried 5 times: ValueError: boom"
    assert ports.rows(FAILURE, poison) == [(reason,)]
    assert dead_letters(storage) == [DoChunk(poison, 1)]
    failures = [line for line in logged if line["event"] == "chunk failed"]
    assert [(line["batch"], line["chunk"], line["attempts"]) for line in failures] == [
        (str(poison), "1", number) for number in range(1, 6)
    ]
    assert all(line["exc_info"] for line in failures), "with the trace"
    assert [line["reason"] for line in logged if line["event"] == "batch given up"] == [reason]
    assert [line["batches_failed"] for line in logged if line["event"] == "batch failed"] == [1]

    wait_until(lambda: message_count(storage, storage.queue.dead_letters.url) == (1, 0))
    with ports.connect("rates_loader") as connection:
        redriven = redrive(connection, storage.queue)
    assert (redriven.batches, redriven.dead_letters) == ([poison], 1)
    with WorkerHere(storage):
        wait_until(ends(ports, poison, "published"))
        wait_until(lambda: message_count(storage) == (0, 0))
    assert storage.dead_letters() == []
    assert_answers_are_what_was_published(ports, make_rows(30), rows)


def test_a_chunk_that_fails_at_times_goes_in_all_the_same(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, lambda chunk: ValueError("at times") if chunk.attempts < 4 else None)
    rows = make_rows(30)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with WorkerHere(storage):
        wait_until(ends(ports, batch, "published"))
        wait_until(lambda: message_count(storage) == (0, 0))
    assert storage.dead_letters() == []
    assert_answers_are_what_was_published(ports, rows)


def test_a_batch_whose_end_fails_is_given_up_and_keeps_no_other_waiting(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tickets.end_if_done

    def failing_end(connection: psycopg.Connection, batch: Batch, stop: Callable[[], bool]) -> Ending | None:
        if batch.key == "poison":
            raise ValueError("boom")
        return real(connection, batch, stop)

    rows = make_rows(20, seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(tickets, "end_if_done", failing_end)
        poison = send(ports, storage, "poison", make_rows(20), chunk_rows=10)
        other = send(ports, storage, "other", rows, chunk_rows=10)
        with WorkerHere(storage):
            wait_until(ends(ports, poison, "failed"))
            wait_until(ends(ports, other, "published"))
            wait_until(lambda: message_count(storage) == (0, 0))
    assert ports.rows(FAILURE, poison) == [("could not be ended: ValueError: boom",)]
    assert dead_letters(storage) == [PlanBatch(poison)]
    with ports.connect("rates_loader") as connection:
        redrive(connection, storage.queue)
    with WorkerHere(storage):
        wait_until(ends(ports, poison, "published"))
    assert_answers_are_what_was_published(ports, make_rows(20), rows)


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_batch_whose_content_is_no_longer_what_was_planned_is_given_up_at_once(
    what: str, ports: Database, storage: BatchStorage
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(20))
    ((key,),) = ports.rows("SELECT content ->> 'key' FROM plans")
    if what == "gone":
        storage.bucket.delete(key)
    else:
        storage.bucket.put(key, csv(make_rows(20, seed=2)))
    with WorkerHere(storage):
        wait_until(ends(ports, batch.id, "failed"))
        wait_until(lambda: dead_letters(storage) in ([DoChunk(batch.id, 0)], [DoChunk(batch.id, 1)]))
    ((failure,),) = ports.rows(FAILURE, batch.id)
    assert f"cannot be read: s3://{storage.name}/{key}" in failure


def test_a_batch_whose_content_is_gone_before_it_is_planned_is_given_up_once(
    ports: Database, storage: BatchStorage, logged: list[EventDict]
) -> None:
    manifest = accept(storage.bucket, csv(make_rows(20)))
    storage.bucket.delete(manifest.content)
    with WorkerHere(storage):
        wait_until(ends(ports, manifest.batch, "failed"))
        storage.queue.send([PlanBatch(manifest.batch)])
        wait_until(lambda: message_count(storage) == (0, 0))
    assert dead_letters(storage) == [PlanBatch(manifest.batch)]
    assert len([line for line in logged if line["event"] == "batch failed"]) == 1


def test_bad_rows_are_all_told_though_the_first_of_them_rejects_the_batch(
    ports: Database, storage: BatchStorage
) -> None:
    rows = [row._replace(price=0) if number % 10 == 3 else row for number, row in enumerate(make_rows(60))]
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with WorkerHere(storage):
        wait_until(ends(ports, batch, "rejected"))
    assert ports.rows("SELECT count(*) FROM batch_errors") == [(6,)]
    assert_answers_are_what_was_published(ports)


# --- what is away -------------------------------------------------------------------------------------------


def test_storage_that_is_away_costs_a_chunk_no_try(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    # Only what goes well again may end the time in which nothing new is taken.
    monkeypatch.setattr(work, "AWAY_S", 3600.0)
    lost = threading.Semaphore(10)
    tried: list[int] = []

    def away(chunk: PlannedChunk) -> Exception | None:
        tried.append(chunk.attempts)
        return StorageUnavailable("the bucket is away") if lost.acquire(blocking=False) else None

    failing(monkeypatch, away)
    rows = make_rows(20)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with WorkerHere(storage):
        wait_until(ends(ports, batch, "published"))
    assert set(tried) == {1}
    assert len([line for line in logged if line["event"] == "database or storage away"]) == 10
    assert_answers_are_what_was_published(ports, rows)


@pytest.mark.parametrize(
    "away", [None, StorageUnavailable("the bucket is away")], ids=["alone", "and storage is away at once"]
)
def test_a_connection_that_breaks_costs_a_chunk_no_try(
    away: Exception | None, ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    real: Do = tickets.do_chunk

    def broken(connection: psycopg.Connection, bucket: Bucket, planned: PlannedChunk) -> None:
        tried.append(planned.attempts)
        if len(tried) <= 7:
            ports.rows("SELECT pg_terminate_backend(%s)", connection.info.backend_pid)
            if away is not None:
                raise away
        real(connection, bucket, planned)

    monkeypatch.setattr(tickets, "do_chunk", broken)
    rows = make_rows(10)
    batch = plan(ports, storage.bucket, "k", rows)
    with WorkerHere(storage, slots=1):
        wait_until(ends(ports, batch.id, "published"))
    assert tried == [1] * 8
    assert_answers_are_what_was_published(ports, rows)


def test_it_goes_on_by_itself_when_postgresql_is_stopped_and_comes_back(
    on_mortal_server: Database, storage: BatchStorage
) -> None:
    rows, database = make_rows(300), on_mortal_server
    batch = send(database, storage, "k", rows, chunk_rows=10)
    with worker(database, storage) as running:
        wait_until(lambda: database.rows("SELECT count(*) >= 3 FROM chunks") == [(True,)])
        database.server.stop("immediate")
        wait_until(lambda: running.find("database or storage away") != [])
        in_hand = message_count(storage)[1]
        assert in_hand <= 3, "one a slot, and nothing new"
        database.server.start()
        wait_until(lambda: database.rows("SELECT max(attempts) FROM planned_chunks") != [(2,)])
        wait_until(ends(database, batch, "published"))
        assert running.stop() == 0
    assert_answers_are_what_was_published(database, rows)
    assert storage.dead_letters() == []


# --- being told to stop, and being killed -------------------------------------------------------------------


def test_sigterm_in_the_midst_of_a_chunk_ends_that_chunk_and_gives_the_rest_back(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(50)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with worker(ports, storage, "--workers", "1") as running:
        wait_until(lambda: ports.rows("SELECT complete FROM plans") == [(True,)])
        with prices_held(ports):
            wait_until(lambda: waiting_for_locks(ports) == 1)
            ((before,),) = ports.rows("SELECT count(*) FROM chunks")
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(TIMEOUT_S) == 0
    assert ports.rows("SELECT count(*) FROM chunks") in ([(before,)], [(before + 1,)])
    assert ports.rows(ATTEMPTS) == []
    assert message_count(storage)[1] == 0, "nothing has to become visible first"
    with worker(ports, storage):
        wait_until(ends(ports, batch, "published"))
    assert_answers_are_what_was_published(ports, rows)


def test_sigterm_in_the_midst_of_planning_stops_it_and_gives_the_message_back(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(3_000)
    batch = send(ports, storage, "k", rows, chunk_rows=2)
    with worker(ports, storage, "--workers", "1") as running:
        wait_until(lambda: ports.rows("SELECT count(*) > 10 FROM planned_chunks") == [(True,)])
        with ports.connect() as owner, owner.transaction():
            owner.execute("LOCK TABLE planned_chunks IN SHARE MODE")
            wait_until(lambda: waiting_for_locks(ports) >= 1)
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(TIMEOUT_S) == 0
    assert ports.rows("SELECT complete, attempts FROM plans") == [(False, 0)]
    assert message_count(storage)[1] == 0
    assert state_of(ports, batch) == "loading"


def test_when_a_worker_is_killed_another_one_goes_on_within_seconds(
    ports: Database, storage: BatchStorage
) -> None:
    """Though its messages stay invisible for a minute: what is planned is done without them."""
    rows = make_rows(50)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with worker(ports, storage) as killed:
        with prices_held(ports):
            wait_until(lambda: waiting_for_locks(ports) >= 2)
            killed.kill()
        with worker(ports, storage):
            wait_until(ends(ports, batch, "published"), VISIBILITY_S / 2)
    assert_answers_are_what_was_published(ports, rows)
    assert events_of(ports, batch).count("published") == 1


def test_when_a_planner_is_killed_another_one_goes_on_within_seconds(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(500)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with worker(ports, storage, "--workers", "1") as killed:
        wait_until(lambda: ports.rows("SELECT count(*) > 3 FROM planned_chunks") == [(True,)])
        killed.kill()
        with worker(ports, storage):
            wait_until(ends(ports, batch, "published"))
    assert_answers_are_what_was_published(ports, rows)


def test_a_chunk_whose_workers_are_killed_five_times_gives_its_batch_up(
    ports: Database, storage: BatchStorage
) -> None:
    """Three have been killed before the test begins."""
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    ports.rows("UPDATE planned_chunks SET attempts = 3 RETURNING 1")
    for number in (4, 5):
        with worker(ports, storage, wait=False) as killed, prices_held(ports):
            wait_until(lambda: waiting_for_locks(ports) == 1)
            assert ports.rows(ATTEMPTS) == [(0, number)]
            killed.kill()
        wait_until(lambda: ports.rows("SELECT FROM pg_locks WHERE locktype = 'advisory'") == [])
    with worker(ports, storage) as running:
        wait_until(ends(ports, batch.id, "failed"))
        wait_until(lambda: dead_letters(storage) == [DoChunk(batch.id, 0)])
        assert running.stop() == 0
    assert ports.rows(FAILURE, batch.id) == [("chunk 0 was tried 5 times: no worker lived to see its end",)]
    assert running.find("batch given up", level="error", batch=str(batch.id)) != []
