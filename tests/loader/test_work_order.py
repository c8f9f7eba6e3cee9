"""In which order workers do batches: what is small and what is due do not wait for what is large."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from msgspec.structs import replace

from loader import tickets, work
from loader.accepted import open_accepted
from loader.planned import PlannedChunk
from storage.manifest import Manifest
from storage.messages import DoChunk, PlanBatch
from tests.batch_storage import BatchStorage
from tests.loader.batches import assert_answers_are_what_was_published, make_rows
from tests.loader.planning import accept, open_small
from tests.loader.plans import plan
from tests.loader.workers import WorkerHere, csv, ends, lose_messages, queued, send
from tests.postgres import Database
from tests.waiting import wait_until

SOON, LATER = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, 2))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "RECEIVE_WAIT_S", 1)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The chunks in the order in which they are begun, of which of the batch it is which."""
    order: list[tuple[str, int]] = []
    real = tickets.next_chunk

    def noted(connection: object, *, fair: bool) -> PlannedChunk | None:
        planned = real(connection, fair=fair)  # ty: ignore[invalid-argument-type]
        if planned is not None:
            order.append((planned.batch.key, planned.chunk_no))
        return planned

    monkeypatch.setattr(tickets, "next_chunk", noted)
    return order


def published(database: Database) -> list[str]:
    """The keys of batches in the order in which they were published."""
    rows = database.rows("SELECT key FROM batches WHERE state = 'published' ORDER BY ended_at")
    return [key for (key,) in rows]


def test_a_small_batch_does_not_wait_for_a_large_one_that_came_before(
    ports: Database, storage: BatchStorage
) -> None:
    large_rows, small_rows = make_rows(500), make_rows(5, seed=2)
    with WorkerHere(storage):
        large = send(ports, storage, "large", large_rows, chunk_rows=5)
        wait_until(lambda: ports.rows("SELECT count(*) >= 10 FROM chunks") == [(True,)])
        small = send(ports, storage, "small", small_rows, chunk_rows=5)
        wait_until(ends(ports, small, "published"))
        ((in_by_then,),) = ports.rows("SELECT count(*) FROM chunks")
        wait_until(ends(ports, large, "published"))
    assert in_by_then < 60, "of 101"
    assert published(ports) == ["small", "large"]
    assert_answers_are_what_was_published(ports, large_rows, small_rows)


def test_a_later_batch_with_an_earlier_deadline_goes_first(
    ports: Database, storage: BatchStorage, begun: list[tuple[str, int]]
) -> None:
    plan(ports, storage.bucket, "later", make_rows(200), deadline=LATER)
    plan(ports, storage.bucket, "soon", make_rows(200, seed=2), deadline=SOON)
    with WorkerHere(storage, slots=1):
        wait_until(lambda: len(published(ports)) == 2)
    assert published(ports) == ["soon", "later"]
    assert begun[:5] == [("soon", 0), ("soon", 1), ("soon", 2), ("later", 0), ("soon", 3)], (
        "but for fair picks"
    )


def test_batches_that_take_long_to_plan_do_not_keep_chunks_waiting(
    ports: Database, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slot is left to them; with nothing else to do it plans too."""
    released, planning = threading.Event(), []
    real = tickets.plan_batch

    def slow(connection: object, bucket: object, manifest: Manifest, **more: object) -> object:
        planning.append(manifest.key)
        released.wait()
        return real(connection, bucket, manifest, **more)  # ty: ignore[invalid-argument-type]

    lose_messages(storage)
    plan(ports, storage.bucket, "planned", make_rows(50))
    lose_messages(storage)
    monkeypatch.setattr(tickets, "plan_batch", slow)
    for seed, key in enumerate(("large", "larger")):
        send(ports, storage, key, make_rows(10, seed))
    try:
        with WorkerHere(storage, slots=2):
            wait_until(lambda: published(ports) == ["planned"])
            wait_until(lambda: {*planning} == {"large", "larger"})
            released.set()
            wait_until(lambda: len(published(ports)) == 3)
    finally:
        released.set()


def test_a_lost_plan_counts_as_planning_too(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a batch whose planner died, which somebody goes on with who has no message."""
    manifest = accept(storage.bucket, b"")
    open_accepted(connection, manifest)
    worker = tickets.Tickets(storage.bucket, storage.queue, threading.Event(), threading.Semaphore(1))
    free: list[bool] = []

    def planned(*_: object, **__: object) -> None:
        free.append(worker.planners.acquire(blocking=False))

    monkeypatch.setattr(tickets, "plan_batch", planned)
    assert worker.do_what_is_left(connection) is False
    assert free == [False]


def test_a_batch_has_no_more_messages_than_it_may_and_all_its_chunks_are_done(
    ports: Database, storage: BatchStorage
) -> None:
    rows = make_rows(50)
    with ports.connect("rates_loader") as connection:
        manifest = accept(storage.bucket, csv(rows))
        open_small(connection, manifest, 10)
        planner = tickets.Tickets(
            storage.bucket, storage.queue, threading.Event(), threading.Semaphore(1), tickets_max=3
        )
        lose_messages(storage)
        assert planner.do(connection, PlanBatch(manifest.batch))
        ticket = DoChunk(manifest.batch, 0)
        assert sorted(map(str, queued(storage))) == [
            str(replace(ticket, chunk=number)) for number in range(3)
        ]
        assert not planner.do(connection, ticket), "it goes back: there are 4 chunks for 3 messages"
        assert planner.do(connection, ticket)
    with WorkerHere(storage):
        wait_until(ends(ports, manifest.batch, "published"))
    assert_answers_are_what_was_published(ports, rows)


def test_every_fourth_pick_goes_to_whoever_has_come_least_far(
    ports: Database, storage: BatchStorage, begun: list[tuple[str, int]]
) -> None:
    """A stream of batches with deadlines leaves room for those without."""
    plan(ports, storage.bucket, "urgent", make_rows(160), deadline=SOON)
    plan(ports, storage.bucket, "none", make_rows(40, seed=2))
    with WorkerHere(storage, slots=1):
        wait_until(lambda: len(published(ports)) == 2)
    assert [key for key, _ in begun[:16]] == ["urgent", "urgent", "urgent", "none"] * 4
