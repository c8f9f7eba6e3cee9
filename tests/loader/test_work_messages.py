"""What a worker makes of messages: late, twice, out of order; none goes before its work is done."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from structlog.typing import EventDict

from loader import taken, tickets, work
from loader.errors import Stopped
from storage.errors import StorageUnavailable
from storage.layout import batch_id_of, manifest_key, upload_key
from storage.manifest import Manifest, write_manifest
from storage.messages import DoChunk, NewObject, PlanBatch, WithdrawBatch, Work, decode
from storage.work_queue import Received, WorkQueue
from tests.batch_storage import BatchStorage
from tests.loader.batches import (
    assert_answers_are_what_was_published,
    assert_nothing_is_left_but_the_ledger,
    fold,
    load_rows,
    make_rows,
)
from tests.loader.planning import Sent, accept, open_small
from tests.loader.planning import plan as plan_accepted
from tests.loader.plans import events_of, plan, state_of
from tests.loader.workers import WorkerHere, csv, ends, lose_messages, message_count, send
from tests.postgres import Database
from tests.waiting import wait_until

LOST = "the queue is away"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long a worker waits."""
    monkeypatch.setattr(work, "RECEIVE_WAIT_S", 1)


def empty(storage: BatchStorage) -> bool:
    """Whether every message has been answered for."""
    return message_count(storage) == (0, 0)


def put_raw(storage: BatchStorage, body: str) -> None:
    storage.sqs().send_message(QueueUrl=storage.queue_url, MessageBody=body)


# --- what asks for something --------------------------------------------------------------------------------


def test_a_batch_that_is_put_into_the_bucket_is_published_and_its_messages_are_gone(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(45)
    with WorkerHere(storage) as worker:
        batch = send(ports, storage, "k", rows, chunk_rows=10)
        wait_until(ends(ports, batch, "published"))
        wait_until(lambda: empty(storage))
    assert worker.done["chunks"] == 5
    assert_answers_are_what_was_published(ports, rows)
    assert list(dict.fromkeys(events_of(ports, batch))) == ["opened", "planned", "loaded", "published"]
    assert storage.dead_letters() == []


def test_messages_that_come_twice_late_or_for_nothing_change_nothing(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(30)
    with WorkerHere(storage):
        batch = send(ports, storage, "k", rows, chunk_rows=10)
        wait_until(ends(ports, batch, "published"))
        events = events_of(ports, batch)
        storage.queue.send(
            [
                NewObject(manifest_key(batch)),
                PlanBatch(batch),
                *(DoChunk(batch, number) for number in range(3)),
                DoChunk(uuid4(), 0),
                PlanBatch(uuid4()),
                NewObject("batches/"),
                NewObject("elsewhere/x.csv"),
                NewObject("batches/never-there.csv"),
                NewObject(manifest_key(uuid4())),
            ]
        )
        wait_until(lambda: empty(storage))
    assert events_of(ports, batch) == events
    assert_answers_are_what_was_published(ports, rows)
    assert ports.rows("SELECT count(*) FROM batches") == [(1,)]
    assert storage.dead_letters() == []


def test_whichever_object_comes_last_begins_the_batch(ports: Database, storage: BatchStorage) -> None:
    """An upload: the manifest is first, the content comes from somebody else at a presigned address."""
    rows = make_rows(20)
    batch = batch_id_of("k")
    with WorkerHere(storage):
        accept_upload(storage, "k")
        wait_until(lambda: empty(storage))
        assert state_of(ports, batch) is None
        storage.bucket.put(f"batches/{batch}/upload", csv(rows))
        wait_until(ends(ports, batch, "published"))
    assert_answers_are_what_was_published(ports, rows)


def accept_upload(storage: BatchStorage, key: str) -> UUID:
    batch = batch_id_of(key)
    now = datetime.now(UTC)
    write_manifest(storage.bucket, Manifest(batch, key, upload_key(batch), "prices.csv", "somebody", now))
    return batch


def test_a_file_put_into_the_bucket_by_hand_is_a_batch(ports: Database, storage: BatchStorage) -> None:
    rows = make_rows(20)
    with WorkerHere(storage):
        storage.bucket.put("batches/seed/prices.csv", csv(rows))
        wait_until(lambda: ports.rows("SELECT state FROM batches") == [("published",)])
        wait_until(lambda: empty(storage))
    assert_answers_are_what_was_published(ports, rows)
    assert ports.rows("SELECT created_by FROM batches") == [("s3",)]


def test_a_message_for_an_object_that_is_gone_is_acknowledged(ports: Database, storage: BatchStorage) -> None:
    storage.bucket.put("batches/seed/prices.csv", csv(make_rows(3)))
    storage.bucket.delete("batches/seed/prices.csv")
    with WorkerHere(storage):
        wait_until(lambda: empty(storage))
    assert ports.rows("SELECT count(*) FROM batches") == [(0,)]
    assert storage.dead_letters() == []


def test_one_event_may_tell_of_several_objects(ports: Database, storage: BatchStorage) -> None:
    batches = [send(ports, storage, key, make_rows(10, seed)) for seed, key in enumerate("ab")]
    lose_messages(storage)
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": manifest_key(batch)}}}
        for batch in batches
    ]
    put_raw(storage, msgspec.json.encode({"Records": records}).decode())
    with WorkerHere(storage):
        for batch in batches:
            wait_until(ends(ports, batch, "published"))


def test_what_no_message_tells_of_is_done_all_the_same(ports: Database, storage: BatchStorage) -> None:
    """Of a batch that was planned every ticket is lost, of one whose planner died the rest of the plan."""
    planned_rows, begun_rows = make_rows(40), make_rows(40, seed=2)
    plan(ports, storage.bucket, "planned", planned_rows)
    begun = accept(storage.bucket, csv(begun_rows), "begun")
    with ports.connect("rates_loader") as connection:
        open_small(connection, begun, 10)
        with pytest.raises(Stopped):
            plan_accepted(connection, storage.bucket, begun, Sent(stop_after=2))
    lose_messages(storage)
    with WorkerHere(storage):
        for key in ("planned", "begun"):
            wait_until(ends(ports, batch_id_of(key), "published"))
    assert_answers_are_what_was_published(ports, planned_rows, begun_rows)


# --- unknown ones -------------------------------------------------------------------------------------------


def test_a_message_that_nobody_knows_is_told_once_and_ends_with_the_dead_letters(
    ports: Database,
    storage: BatchStorage,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[EventDict],
) -> None:
    monkeypatch.setattr(taken, "VISIBILITY_S", 1)
    with WorkerHere(storage):
        put_raw(storage, '{"work": "sing"}')
        wait_until(lambda: storage.dead_letters() == ['{"work": "sing"}'])
    (told,) = [line for line in logged if line["event"] == "unknown message"]
    assert '{"work": "sing"}' in str(told["error"])


def test_whatever_fails_about_a_message_is_told_and_it_comes_back(
    ports: Database,
    storage: BatchStorage,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[EventDict],
) -> None:
    lose_messages(storage)
    failures = iter([RuntimeError("boom"), RuntimeError("boom")])

    def failing_decode(body: str) -> list[Work]:
        for failure in failures:
            raise failure
        return decode(body)

    monkeypatch.setattr(work, "decode", failing_decode)
    monkeypatch.setattr(work, "RETURN_S", 1)
    with WorkerHere(storage):
        storage.queue.send([PlanBatch(uuid4())])
        wait_until(lambda: empty(storage))
    told = [line for line in logged if line["event"] == "message failed"]
    assert [(line["receives"], line["exc_info"]) for line in told] == [(1, True), (2, True)]
    assert storage.dead_letters() == []


def test_a_message_that_cannot_be_answered_for_is_told_and_held_no_longer(
    ports: Database,
    storage: BatchStorage,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[EventDict],
) -> None:
    lose_messages(storage)
    monkeypatch.setattr(taken, "VISIBILITY_S", 1)
    monkeypatch.setattr(taken, "HEARTBEAT_S", 0.3)
    real = WorkQueue.done
    failures = iter([RuntimeError("boom")])

    def failing_done(queue: WorkQueue, message: Received) -> None:
        for failure in failures:
            raise failure
        real(queue, message)

    monkeypatch.setattr(WorkQueue, "done", failing_done)
    with WorkerHere(storage):
        storage.queue.send([PlanBatch(uuid4())])
        wait_until(lambda: empty(storage))
    (told,) = [line for line in logged if line["event"] == "slot failed"]
    assert told["exc_info"]


def test_the_test_event_of_a_new_bucket_is_acknowledged(ports: Database, storage: BatchStorage) -> None:
    assert message_count(storage) == (1, 0)
    with WorkerHere(storage):
        wait_until(lambda: empty(storage))


# --- when they are acknowledged -----------------------------------------------------------------------------


def test_no_message_is_acknowledged_before_what_it_asked_for_is_committed(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen by another connection, at the moment of each acknowledgement."""
    acknowledged: list[str] = []
    too_early: list[str] = []
    done = WorkQueue.done

    def watched(queue: WorkQueue, message: Received) -> None:
        for kind in [type(asked).__name__ for asked in decode(message.body)]:
            acknowledged.append(kind)
            ((planned, chunks_in),) = ports.rows(
                "SELECT count(*) FILTER (WHERE event = 'planned'), (SELECT count(*) FROM chunks)"
                " FROM batch_events"
            )
            is_in = chunks_in >= acknowledged.count("DoChunk") if kind == "DoChunk" else planned == 1
            too_early.extend([] if is_in else [kind])
        done(queue, message)

    monkeypatch.setattr(WorkQueue, "done", watched)
    rows = make_rows(30)
    with WorkerHere(storage, slots=1):
        batch = send(ports, storage, "k", rows, chunk_rows=10)
        wait_until(ends(ports, batch, "published"))
        wait_until(lambda: empty(storage))
    assert acknowledged.count("DoChunk") == 3
    assert too_early == []


def told_lost(logged: list[EventDict]) -> list[str]:
    return [line["event"] for line in logged if line.get("error") == LOST]


def test_an_acknowledgement_that_does_not_arrive_is_told_and_the_repeat_does_nothing(
    ports: Database,
    storage: BatchStorage,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[EventDict],
) -> None:
    monkeypatch.setattr(taken, "VISIBILITY_S", 1)
    done, lost = WorkQueue.done, threading.Semaphore(3)

    def lossy(queue: WorkQueue, message: Received) -> None:
        if lost.acquire(blocking=False):
            raise StorageUnavailable(LOST)
        done(queue, message)

    monkeypatch.setattr(WorkQueue, "done", lossy)
    rows = make_rows(20)
    with WorkerHere(storage):
        batch = send(ports, storage, "k", rows, chunk_rows=10)
        wait_until(ends(ports, batch, "published"))
        wait_until(lambda: len(told_lost(logged)) == 3)
        wait_until(lambda: empty(storage))
    # One that finds nothing to do yet is given back, for which its own is taken out of the queue as well.
    assert "message not acknowledged" in told_lost(logged)
    assert set(told_lost(logged)) <= {"message not acknowledged", "message not given back"}
    assert_answers_are_what_was_published(ports, rows)
    assert events_of(ports, batch).count("published") == 1


def test_a_message_stays_with_its_worker_however_long_its_work_takes(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than it would be invisible by itself, and though a beat fails."""
    monkeypatch.setattr(taken, "VISIBILITY_S", 4)  # a busy machine may hold the beats up for seconds
    monkeypatch.setattr(taken, "HEARTBEAT_S", 0.3)
    begun: list[Work] = []
    real = tickets.Tickets.do

    def slow(self: tickets.Tickets, connection: psycopg.Connection, work: Work) -> bool:
        if isinstance(work, NewObject):
            begun.append(work)
            time.sleep(5)
        return real(self, connection, work)

    monkeypatch.setattr(tickets.Tickets, "do", slow)
    real_keep, failures = WorkQueue.keep, iter([RuntimeError("boom")])

    def failing_keep(queue: WorkQueue, message: Received, visibility_s: int) -> None:
        for failure in failures:
            raise failure
        real_keep(queue, message, visibility_s)

    monkeypatch.setattr(WorkQueue, "keep", failing_keep)
    lose_messages(storage)
    batch = send(ports, storage, "k", make_rows(10))
    with WorkerHere(storage, slots=2):
        wait_until(ends(ports, batch, "published"))
        wait_until(lambda: empty(storage))
    assert len(begun) == 2, "for the content and for the manifest, once each"


def test_no_more_is_taken_than_there_are_free_slots(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits may be done by another worker meanwhile."""
    released = threading.Event()
    real = tickets.find_accepted

    def slow(*arguments: object) -> object:
        released.wait()
        return real(*arguments)  # ty: ignore[invalid-argument-type]

    monkeypatch.setattr(tickets, "find_accepted", slow)
    lose_messages(storage)
    storage.queue.send(NewObject(f"batches/{number}") for number in range(7))
    with WorkerHere(storage, slots=2):
        wait_until(lambda: message_count(storage) == (5, 2))
        released.set()
        wait_until(lambda: empty(storage))


# --- stopping -----------------------------------------------------------------------------------------------


def test_a_message_that_comes_in_the_last_moment_is_given_back_at_once(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = WorkerHere(storage)
    receive = WorkQueue.receive

    def late(queue: WorkQueue, count: int, *, wait_s: int, visibility_s: int) -> list[Received]:
        messages = receive(queue, count, wait_s=wait_s, visibility_s=visibility_s)
        if messages:
            worker.stop.set()
        return messages

    monkeypatch.setattr(WorkQueue, "receive", late)
    lose_messages(storage)
    storage.queue.send([PlanBatch(UUID(int=1))])
    with worker:
        wait_until(worker.stop.is_set)
    (found,) = receive(storage.queue, 10, wait_s=0, visibility_s=30)
    assert (decode(found.body), found.receives) == ([PlanBatch(UUID(int=1))], 1)


def test_a_plan_that_is_stopped_is_given_back_and_another_worker_goes_on_with_it(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(100)
    batch = send(ports, storage, "k", rows, chunk_rows=10)
    with WorkerHere(storage, slots=1) as worker:
        send_really = WorkQueue.send

        def stop_after_three(queue: WorkQueue, works: list[DoChunk]) -> None:
            send_really(queue, works)
            if ports.rows("SELECT count(*) >= 3 FROM planned_chunks") == [(True,)]:
                worker.stop.set()

        monkeypatch.setattr(WorkQueue, "send", stop_after_three)
        wait_until(worker.stop.is_set)
    monkeypatch.setattr(WorkQueue, "send", send_really)
    assert ports.rows("SELECT complete, attempts FROM plans") == [(False, 0)]
    assert ports.rows("SELECT count(*) FROM planned_chunks") == [(3,)]
    waiting, in_hand = message_count(storage)
    assert in_hand == 0, "nothing has to become visible first"
    assert waiting >= 3 + 1
    with WorkerHere(storage):
        wait_until(ends(ports, batch, "published"))
    assert_answers_are_what_was_published(ports, rows)


# --- withdrawals --------------------------------------------------------------------------------------------


def test_a_published_batch_is_withdrawn_by_message_folded_or_not(
    ports: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    kept = make_rows(20, seed=9)
    for key, rows in (("folded", make_rows(20)), ("not", make_rows(20, seed=2)), ("kept", kept)):
        load_rows(tmp_path, rows, key)
        if key == "folded":
            fold(ports)
    ids = dict(ports.rows("SELECT key, id FROM batches"))
    with WorkerHere(storage):
        storage.queue.send(WithdrawBatch(ids[key], "alice") for key in ("folded", "not"))
        for key in ("folded", "not"):
            wait_until(ends(ports, ids[key], "withdrawn"))
        wait_until(lambda: empty(storage))
    assert ports.rows("SELECT DISTINCT withdrawn_by FROM batches WHERE state = 'withdrawn'") == [("alice",)]
    assert_answers_are_what_was_published(ports, kept)


def test_a_batch_that_is_loading_is_withdrawn_and_its_tickets_are_for_nothing(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = send(ports, storage, "k", make_rows(1_000), chunk_rows=10)
    with WorkerHere(storage):
        wait_until(lambda: ports.rows("SELECT count(*) > 2 FROM chunks") == [(True,)])
        storage.queue.send([WithdrawBatch(batch, "alice")])
        wait_until(ends(ports, batch, "withdrawn"))
        wait_until(lambda: empty(storage))
        wait_until(lambda: ports.rows("SELECT count(*) FROM plans") == [(0,)])
    assert ports.rows("SELECT count(*) FROM planned_chunks") == [(0,)]
    assert_nothing_is_left_but_the_ledger(ports)
    assert storage.dead_letters() == []


def test_a_batch_may_be_withdrawn_before_its_content_comes(ports: Database, storage: BatchStorage) -> None:
    batch = accept_upload(storage, "k")
    with WorkerHere(storage):
        storage.queue.send([WithdrawBatch(batch, "alice")])
        wait_until(ends(ports, batch, "withdrawn"))
        storage.bucket.put(f"batches/{batch}/upload", csv(make_rows(10)))
        wait_until(lambda: empty(storage))
    assert state_of(ports, batch) == "withdrawn"
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_batch_that_cannot_be_withdrawn_is_told_and_acknowledged(
    ports: Database, storage: BatchStorage, logged: list[EventDict]
) -> None:
    bad = [make_rows(1)[0]._replace(price=0)]
    with WorkerHere(storage):
        batch = send(ports, storage, "k", bad)
        wait_until(ends(ports, batch, "rejected"))
        storage.queue.send([WithdrawBatch(batch, "alice"), WithdrawBatch(uuid4(), "alice")])
        wait_until(lambda: empty(storage))
    reasons = [str(line["reason"]) for line in logged if line["event"] == "batch not withdrawn"]
    assert len(reasons) == 2
    assert any("was rejected" in reason for reason in reasons)
    assert any("no batch has the id" in reason for reason in reasons)
    assert state_of(ports, batch) == "rejected"
