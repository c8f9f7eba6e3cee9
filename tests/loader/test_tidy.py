"""What one of all workers sweeps up: batches whose event was lost, and plans that nobody needs."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from loader import tidy
from loader.tidy import Tidier, accepted_batches
from storage.bucket import Bucket
from storage.layout import batch_id_of
from storage.messages import PlanBatch
from tests.batch_storage import BatchStorage
from tests.loader.batches import make_rows
from tests.loader.planning import accept
from tests.loader.plans import plan
from tests.loader.workers import csv, lose_messages, queued
from tests.postgres import Database

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def of_any_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidy, "SWEPT_AGES", (timedelta(seconds=-5), timedelta(days=4)))


@pytest.fixture
def tidier(storage: BatchStorage) -> Tidier:
    return Tidier(storage.bucket, storage.queue, threading.Event())


def accepted(storage: BatchStorage, key: str) -> UUID:
    return accept(storage.bucket, csv(make_rows(3)), key).batch


def test_a_batch_that_the_ledger_does_not_know_is_sent_again(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, tidier: Tidier
) -> None:
    batches = [accepted(storage, key) for key in "abc"]
    plan(ports, storage.bucket, "a", make_rows(3))
    lose_messages(storage)
    tidier.sweep(connection)
    assert {*queued(storage)} == {PlanBatch(batch) for batch in batches[1:]}
    tidier.sweep(connection)
    assert len(queued(storage)) == 2, "once an hour is enough: it may still wait its turn"


def test_a_manifest_without_content_and_what_is_no_batch_are_left_alone(
    storage: BatchStorage, ports: Database, connection: psycopg.Connection, tidier: Tidier
) -> None:
    manifest = accept(storage.bucket, b"", "k")
    storage.bucket.delete(manifest.content)
    storage.bucket.put(f"batches/{batch_id_of('other')}/content-1", b"x")
    storage.bucket.put("batches/seed/x.csv", b"x")
    storage.bucket.put("batches/x.csv", b"x")
    lose_messages(storage)
    tidier.sweep(connection)
    assert queued(storage) == []


@pytest.mark.parametrize(("age", "swept"), [("seconds", False), ("hours", True), ("weeks", False)])
def test_only_what_has_had_its_event_and_may_still_have_lost_it_is_looked_for(
    age: str, swept: bool, storage: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for name, value in storage.environment().items():
        monkeypatch.setenv(name, value)
    batch = accepted(storage, "k")
    later = datetime.now(UTC) + timedelta(**{age: 3})
    assert list(accepted_batches(storage.bucket, later)) == ([batch] if swept else [])


def test_one_worker_sweeps_as_long_as_it_lives(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, tidier: Tidier
) -> None:
    batch = accepted(storage, "k")
    lose_messages(storage)
    with ports.connect("rates_loader") as other:
        Tidier(storage.bucket, storage.queue, threading.Event()).sweep(other)
        lose_messages(storage)
        tidier.sweep(connection)
        assert queued(storage) == []
    while queued(storage) == []:  # until the server has noticed that the other one is gone
        tidier.sweep(connection)
    assert queued(storage) == [PlanBatch(batch)]


def test_more_batches_than_are_asked_for_at_once_are_all_sent(
    ports: Database,
    storage: BatchStorage,
    connection: psycopg.Connection,
    tidier: Tidier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tidy, "ASKED_AT_ONCE", 2)
    batches = [accepted(storage, key) for key in "abcde"]
    lose_messages(storage)
    tidier.sweep(connection)
    assert {*queued(storage)} == {PlanBatch(batch) for batch in batches}


def test_storage_that_is_away_is_asked_again_sooner_than_the_next_sweep(
    ports: Database, connection: psycopg.Connection, tidier: Tidier, storage: BatchStorage
) -> None:
    tidier.bucket = Bucket("there-is-none")
    tidier.tidy(connection)
    assert tidier.sweep_at > 0
    first = tidier.sweep_at
    tidier.tidy(connection)
    assert tidier.sweep_at == first, "not at once either"


def test_the_plan_of_a_batch_that_is_over_is_dropped(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, tidier: Tidier
) -> None:
    """It was written on after the end, by whoever did not know of that yet."""
    states = ("loading", "failed", "published", "rejected", "valid", "withdrawn")
    for state in states:
        batch = plan(ports, storage.bucket, state, make_rows(20))
        with ports.connect() as owner:
            owner.execute("UPDATE batches SET state = %s WHERE batch_no = %s", [state, batch.batch_no])
    with ports.connect() as owner:
        # Of a batch that was begun again, under another number.
        owner.execute("INSERT INTO planned_chunks SELECT 4711, 0, 1, 0, 1")
    tidier.sweep(connection)
    left = "SELECT DISTINCT state FROM {} LEFT JOIN batches USING (batch_no) ORDER BY 1"
    for table in ("plans", "planned_chunks"):
        assert ports.rows(left.format(table)) == [("failed",), ("loading",)]
