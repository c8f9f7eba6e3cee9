"""`loader redrive`: what was given up goes on once its cause is mended, and dead letters go back."""

from __future__ import annotations

import subprocess
from typing import Any

import msgspec
import psycopg
import pytest

from loader import redrive as redriving
from loader.ledger import Order, open_batch
from loader.publish import give_up
from storage.layout import batch_id_of, manifest_key
from storage.messages import DoChunk, PlanBatch
from tests.batch_storage import BatchStorage
from tests.loader.batches import (
    assert_answers_are_what_was_published,
    json_of,
    make_rows,
    only_line,
    run,
    run_here,
)
from tests.loader.plans import events_of, plan, state_of
from tests.loader.workers import WorkerHere, ends, lose_messages, message_count, queued
from tests.postgres import Database
from tests.waiting import wait_until

ATTEMPTS = "SELECT attempts, failure FROM planned_chunks UNION SELECT attempts, NULL FROM plans"


@pytest.fixture
def storage(storage: BatchStorage) -> BatchStorage:
    """Without the test that S3 sends when it is set up."""
    lose_messages(storage)
    return storage


def redrive(database: Database, storage: BatchStorage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here("redrive", *arguments, database=database, **storage.environment())


def fail(database: Database, storage: BatchStorage, connection: psycopg.Connection, key: str) -> None:
    batch = plan(database, storage.bucket, key, make_rows(20))
    with database.connect() as owner:
        owner.execute("UPDATE planned_chunks SET attempts = 5, failure = 'ValueError: boom'")
        owner.execute("UPDATE plans SET attempts = 5")
    assert give_up(connection, batch, "chunk 0 was tried 5 times: ValueError: boom")
    storage.queue.send_dead_letter(DoChunk(batch.id, 0), "chunk 0 was tried 5 times: ValueError: boom")
    lose_messages(storage)


def put_dead(storage: BatchStorage, body: str) -> None:
    storage.sqs().send_message(QueueUrl=storage.queue.dead_letters.url, MessageBody=body)


def test_all_failed_batches_go_on_and_all_dead_letters_go_back(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    for key in ("a", "b"):
        fail(ports, storage, connection, key)
    put_dead(storage, '{"work": "sing"}')

    done = run("redrive", database=ports, **storage.environment())

    assert done.returncode == 0
    ids = [batch_id_of(key) for key in ("a", "b")]
    assert done.stdout.splitlines() == [
        *(f"batch {batch} is loading again" for batch in ids),
        "3 dead letters went back to the queue",
    ]
    assert ports.rows(ATTEMPTS) == [(0, None)]
    for batch in ids:
        assert state_of(ports, batch) == "loading"
        assert events_of(ports, batch) == ["opened", "failed", "redriven"]
    assert ports.rows("SELECT DISTINCT failure, ended_at FROM batches") == [(None, None)]
    expected = [work for batch in ids for work in (PlanBatch(batch), DoChunk(batch, 0), DoChunk(batch, 1))]
    dead = [*(DoChunk(batch, 0) for batch in ids), '{"work": "sing"}']
    assert sorted(map(str, queued(storage))) == sorted(map(str, [*expected, *dead]))
    assert message_count(storage, storage.queue.dead_letters.url) == (0, 0)
    with WorkerHere(storage):
        for batch in ids:
            wait_until(ends(ports, batch, "published"))
    assert_answers_are_what_was_published(ports, make_rows(20), make_rows(20))


@pytest.mark.parametrize("name", ["key", "id"])
def test_one_batch_goes_on_alone_with_its_dead_letters_and_those_of_others_stay(
    name: str, ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    for key in ("a", "b"):
        fail(ports, storage, connection, key)
    batch = batch_id_of("a")
    put_dead(storage, '{"work": "sing"}')
    done = redrive(ports, storage, "a" if name == "key" else str(batch), "--json")
    assert done.returncode == 0
    assert json_of(done) == {"batches": [str(batch)], "dead_letters": 1}
    assert (state_of(ports, batch), state_of(ports, batch_id_of("b"))) == ("loading", "failed")
    assert message_count(storage, storage.queue.dead_letters.url) == (0, 2), "looked at, and still there"
    assert message_count(storage) == (4, 0)


def test_a_dead_letter_of_a_batch_that_is_loading_again_goes_back_too(
    ports: Database, storage: BatchStorage
) -> None:
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    storage.queue.send_dead_letter(DoChunk(batch.id, 0), "chunk 0 was tried 5 times: ValueError: boom")
    put_dead(storage, msgspec.json.encode({"Records": [created(manifest_key(batch.id))]}).decode())
    put_dead(storage, msgspec.json.encode({"Records": [created("batches/by-hand.csv")]}).decode())
    done = redrive(ports, storage, "k")
    assert (done.returncode, done.stdout) == (0, "2 dead letters went back to the queue\n")
    assert message_count(storage, storage.queue.dead_letters.url) == (0, 1)


def test_it_ends_though_dead_letters_of_others_come_round_again(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(ports, storage, connection, "k")
    for number in range(30):
        put_dead(storage, f'{{"work": "sing {number}"}}')
    monkeypatch.setattr(redriving, "VISIBILITY_S", 0)
    assert redriving.redrive(connection, storage.queue, "k").batches == [batch_id_of("k")]


def created(key: str) -> dict[str, Any]:
    return {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key}}}


def test_a_batch_that_goes_on_has_no_more_messages_than_it_may(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    fail(ports, storage, connection, "k")
    batch = batch_id_of("k")
    done = run_here("redrive", "k", database=ports, RATES_TICKETS_MAX="1", **storage.environment())
    assert done.returncode == 0
    letter = DoChunk(batch, 0)
    assert sorted(map(str, queued(storage))) == sorted(
        map(str, [PlanBatch(batch), DoChunk(batch, 0), letter])
    )


def test_a_batch_whose_key_was_anothers_is_not_gone_on_with(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    """Nothing of it was planned: set loading, it would be so for ever."""
    batch = open_batch(connection, Order("k (conflict)", None, "a.csv", 10))
    give_up(connection, batch, "key 'k' belongs to another batch")
    assert json_of(redrive(ports, storage, "--json")) == {"batches": [], "dead_letters": 0}
    refused = redrive(ports, storage, str(batch.id))
    assert refused.returncode == 2
    assert only_line(refused).endswith("has nothing to go on with; send its content under another key")
    assert state_of(ports, batch.id) == "failed"


def test_with_nothing_to_go_on_with_it_says_so(ports: Database, storage: BatchStorage) -> None:
    done = redrive(ports, storage)
    assert (done.returncode, done.stdout) == (0, "no batch was given up; nothing was done\n")
    assert json_of(redrive(ports, storage, "--json")) == {"batches": [], "dead_letters": 0}
    plan(ports, storage.bucket, "k", make_rows(10))
    done = redrive(ports, storage, "k")
    assert (done.returncode, done.stdout) == (0, "batch k is loading; nothing was done\n")


def test_dead_letters_alone_go_back_and_are_counted(ports: Database, storage: BatchStorage) -> None:
    for number in range(12):
        put_dead(storage, f'{{"work": "sing {number}"}}')
    done = redrive(ports, storage)
    assert done.stdout.splitlines()[-1] == "12 dead letters went back to the queue"
    assert message_count(storage) == (12, 0)


def test_what_cannot_be_gone_on_with_is_refused(
    ports: Database, storage: BatchStorage, connection: psycopg.Connection
) -> None:
    unknown = redrive(ports, storage, "nobody")
    assert unknown.returncode == 2
    assert only_line(unknown) == "loader: no batch has the id or key 'nobody'; `loader batches` lists them"
    batch = plan(ports, storage.bucket, "k", make_rows(10))
    with WorkerHere(storage):
        wait_until(ends(ports, batch.id, "published"))
    published = redrive(ports, storage, "k")
    assert published.returncode == 2
    assert "is published; only one that has failed can be gone on with" in only_line(published)


def test_it_names_what_it_lacks(ports: Database, storage: BatchStorage) -> None:
    none = {"BATCH_BUCKET": "", "BATCH_QUEUE_URL": ""}
    done = run_here("redrive", database=ports, **none)
    assert done.returncode == 2
    assert "set BATCH_BUCKET, BATCH_QUEUE_URL" in only_line(done)
