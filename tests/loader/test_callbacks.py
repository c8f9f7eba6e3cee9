"""Whoever asked for it is told how a batch ended: signed, once, and again while they do not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from access.signatures import CallbackSecrets, bearers_secret
from database.queries import query
from loader import callbacks
from loader.callbacks import KEYS, deliver_callbacks
from loader.check import Ports, check
from loader.ledger import Batch, Order, chunk_transaction, known_ports, open_batch, write_chunk
from loader.places import Places
from loader.publish import end_batch, give_up
from loader.sources import Files
from loader.withdraw import withdraw
from local.postgres import free_port
from tests.access.receiver import Receiver, is_genuine, receiving
from tests.loader.batches import make_rows, write_csv
from tests.postgres import Database
from tests.telemetry.logged import logged
from tests.waiting import wait_until

SECRET = "a-secret-that-callbacks-are-signed-with"
SECRETS = CallbackSecrets(SECRET)


@pytest.fixture
def connection(ports: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    monkeypatch.setenv("RATES_CALLBACK_LOOPBACK", "1")
    with ports.connect("rates_loader") as connection:
        yield connection


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def end(connection: psycopg.Connection, tmp_path: Path) -> Callable[..., Batch]:
    """Ends a batch of 50 rows, whose sender wants to be told at an address."""

    def end_one(url: str, *, price: int = 1, failure: str | None = None, **order: Any) -> Batch:
        key = order.pop("key", "k")
        rows = [make_rows(1)[0]._replace(price=price), *make_rows(49)]
        (chunk,) = Files([write_csv(tmp_path / "k.csv", rows)]).chunks(50)
        order = {"created_by": "alice", "request_id": "r-1", **order}
        batch = open_batch(connection, Order(key, None, "k.csv", 50, callback_url=url, **order))
        with chunk_transaction(connection):
            write_chunk(connection, batch, 0, chunk, check(chunk, Ports(known_ports(connection))))
        if failure:
            give_up(connection, batch, failure)
        else:
            end_batch(connection, batch, chunk_count=1, places=Places())
        return batch

    return end_one


def deliver(connection: psycopg.Connection, secrets: CallbackSecrets = SECRETS) -> int:
    return deliver_callbacks(connection, secrets, stop=lambda: False)


def deliver_now(database: Database, connection: psycopg.Connection) -> int:
    """Whenever the next attempt is due."""
    database.rows("UPDATE callbacks SET next_try_at = now() RETURNING 1")
    return deliver(connection)


def state_of(database: Database) -> tuple[int, str | None, bool, bool]:
    """Attempts, the last answer, whether they were told, whether that was given up."""
    (row,) = database.rows(
        "SELECT attempts, answer, told_at IS NOT NULL, given_up_at IS NOT NULL FROM callbacks"
    )
    return row


@contextmanager
def next_try_in(database: Database, wait_s: int) -> Generator[None]:
    """What the block does has another attempt so many seconds later."""
    ((began,),) = database.rows("SELECT clock_timestamp()")
    yield
    ((next_try_at, now),) = database.rows("SELECT next_try_at, clock_timestamp() FROM callbacks")
    assert began <= next_try_at - timedelta(seconds=wait_s) <= now


def test_its_sender_is_told_that_a_batch_was_published(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    batch = end(receiver.url)
    assert deliver(connection) == 1
    (request,) = receiver.requests
    assert request.path == "/told?token=secret"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    told = request.json()
    assert told.keys() == {*KEYS, "type", "timestamp"}
    what = ("type", "batch", "key", "state", "rows", "error_count", "failure", "source", "dry_run")
    assert [told[name] for name in what] == [
        "batch.published", str(batch.id), "k", "published", 50, 0, None, "k.csv", False,
    ]  # fmt: skip
    times = [datetime.fromisoformat(told[name]) for name in ("created_at", "ended_at", "timestamp")]
    assert times == sorted(times)
    assert told["seconds"] == round((times[1] - times[0]).total_seconds(), 3)
    assert state_of(ports) == (1, "204 No Content", True, False)


def test_they_know_it_by_a_secret_that_is_theirs_alone(
    connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    batch = end(receiver.url)
    began = int(time.time())
    deliver(connection)
    (request,) = receiver.requests
    assert request.headers["webhook-id"].startswith(f"{batch.id}-published-")
    assert is_genuine(bearers_secret(SECRET, "alice"), request.headers, request.body)
    assert not is_genuine(bearers_secret(SECRET, "bob"), request.headers, request.body)
    assert began <= int(request.headers["webhook-timestamp"]) <= time.time()


def test_they_are_told_once(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    batch = end(receiver.url)
    assert deliver(connection) == 1
    assert end_batch(connection, batch, chunk_count=1, places=Places()).first is False
    assert deliver_now(ports, connection) == 0
    assert len(receiver.requests) == 1


def test_they_are_told_that_a_batch_was_withdrawn_or_replaced(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    first, second = end(receiver.url), end(receiver.url, key="second", price=2)
    deliver(connection)
    withdraw(connection, "k")
    end(receiver.url, key="third", price=3, replaces=second.id)
    assert deliver(connection) == 3
    told = [request.json() for request in receiver.requests[2:]]
    assert [(one["type"], one["key"], one["state"]) for one in told] == [
        ("batch.withdrawn", "k", "withdrawn"),
        ("batch.withdrawn", "second", "withdrawn"),
        ("batch.published", "third", "published"),
    ]
    withdraw(connection, str(first.id))
    assert deliver_now(ports, connection) == 0, "what was withdrawn already is not told again"


def test_they_are_told_of_the_same_end_again_once_a_batch_was_gone_on_with(
    connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    batch = end(receiver.url, failure="it is gone")
    assert deliver(connection) == 1
    connection.execute(query("loader", "resume_batch"), {"batch_no": batch.batch_no})
    give_up(connection, batch, "it is gone still")
    assert deliver(connection) == 1
    first, again = receiver.requests
    assert [one.json()["failure"] for one in (first, again)] == ["it is gone", "it is gone still"]
    assert first.headers["webhook-id"] != again.headers["webhook-id"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"price": 0}, ("batch.rejected", "rejected", 0, 1, None, False)),
        ({"dry_run": True}, ("batch.valid", "valid", 50, 0, None, True)),
        ({"failure": "it is gone"}, ("batch.failed", "failed", 50, 0, "it is gone", False)),
    ],
    ids=["rejected", "valid", "failed"],
)
def test_they_are_told_of_every_way_to_end(
    how: dict[str, Any],
    told: tuple,
    connection: psycopg.Connection,
    receiver: Receiver,
    end: Callable[..., Batch],
) -> None:
    end(receiver.url, **how)
    assert deliver(connection) == 1
    body = receiver.requests[0].json()
    names = ("type", "state", "rows", "error_count", "failure", "dry_run")
    assert tuple(body[name] for name in names) == told
    assert "errors" not in body


def test_who_does_not_take_it_is_told_again_later_and_later(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.statuses = [500, 404, 302, 429, 401, 503, 503, 503, 200]
    receiver.location = receiver.url.replace("told", "elsewhere")
    end(receiver.url)
    answers = []
    for wait_s in (10, 30, 60, 300, 900, 3600, 3600, 3600):
        with next_try_in(ports, wait_s):
            assert deliver_now(ports, connection) == 0
        answers.append(state_of(ports)[1])
    assert deliver(connection) == 0, "it is not due yet"
    assert answers[:4] == ["500 Internal Server Error", "404 Not Found", "302 Found", "429 Too Many Requests"]
    assert deliver_now(ports, connection) == 1
    assert state_of(ports) == (9, "200 OK", True, False)
    assert {request.path for request in receiver.requests} == {"/told?token=secret"}, (
        "no redirect is followed"
    )
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len({request.body for request in receiver.requests}) == 1
    secret = bearers_secret(SECRET, "alice")
    assert all(is_genuine(secret, each.headers, each.body) for each in receiver.requests)


def test_who_is_gone_is_told_no_more(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.statuses = [410]
    end(receiver.url)
    for _ in range(2):
        assert deliver_now(ports, connection) == 0
    assert state_of(ports) == (1, "410 Gone", False, True)


def test_after_a_day_it_is_given_up(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.statuses = [503]
    end(receiver.url)
    ports.rows("UPDATE callbacks SET attempts = 20, created_at = now() - interval '22 h 50 min' RETURNING 1")
    deliver_now(ports, connection)
    assert state_of(ports) == (21, "503 Service Unavailable", False, False)
    ports.rows("UPDATE callbacks SET created_at = now() - interval '23 h 50 min' RETURNING 1")
    for _ in range(2):
        deliver_now(ports, connection)
    assert state_of(ports) == (22, "503 Service Unavailable", False, True)


def test_who_cannot_be_reached_is_told_later(
    ports: Database, connection: psycopg.Connection, end: Callable[..., Batch]
) -> None:
    end(f"http://127.0.0.1:{free_port()}/")
    with next_try_in(ports, 10):
        assert deliver(connection) == 0
    assert state_of(ports) == (1, "connection refused", False, False)


@pytest.mark.parametrize("number", ["2130706433", "0x7f.1", "0"])
def test_an_address_of_this_network_in_disguise_is_not_called(
    number: str,
    ports: Database,
    connection: psycopg.Connection,
    receiver: Receiver,
    end: Callable[..., Batch],
) -> None:
    """Resolvers take it for 127.0.0.1, or for any address of this machine."""
    end(f"https://{number}:{receiver.port}/")
    assert deliver(connection) == 0
    attempts, answer, told, given_up = state_of(ports)
    assert answer is not None
    assert (attempts, told, given_up) == (1, False, False)
    assert answer.startswith("it resolves to ")
    assert answer.endswith(", which is not public")
    assert receiver.requests == []


def test_this_machine_is_called_only_where_that_is_allowed(
    ports: Database,
    connection: psycopg.Connection,
    receiver: Receiver,
    end: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RATES_CALLBACK_LOOPBACK")
    end(receiver.url)
    assert deliver(connection) == 0
    answer = "it is this machine itself, which RATES_CALLBACK_LOOPBACK does not allow"
    assert state_of(ports) == (1, answer, False, True)
    assert receiver.requests == []


def test_an_address_that_the_api_would_not_have_taken_is_given_up(
    ports: Database, connection: psycopg.Connection, end: Callable[..., Batch]
) -> None:
    end("https://me:secret@example.com/")
    assert deliver(connection) == 0
    assert state_of(ports) == (1, "it has a user or a password in it", False, True)


def test_while_the_secret_is_renewed_they_know_it_by_either(
    connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    newest = "n" * 43
    end(receiver.url)
    assert deliver(connection, CallbackSecrets(f"{newest} {SECRET}")) == 1
    (request,) = receiver.requests
    for secret in (newest, SECRET):
        assert is_genuine(bearers_secret(secret, "alice"), request.headers, request.body)


def test_a_worker_without_a_secret_tells_nobody_and_leaves_it_to_one_that_has_it(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    end(receiver.url)
    assert deliver(connection, CallbackSecrets("")) == 0
    assert state_of(ports) == (0, None, False, False)
    assert receiver.requests == []
    assert deliver(connection) == 1


def test_a_secret_that_cannot_be_read_is_no_attempt(
    ports: Database,
    connection: psycopg.Connection,
    receiver: Receiver,
    end: Callable[..., Batch],
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret"
    end(receiver.url)
    assert deliver(connection, CallbackSecrets(str(file))) == 0
    assert state_of(ports) == (0, None, False, False)
    file.write_text(SECRET)
    assert deliver(connection, CallbackSecrets(str(file))) == 1


def test_two_workers_do_not_tell_it_at_once(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.held.clear()
    end(receiver.url)
    with ThreadPoolExecutor(1) as pool, ports.connect("rates_loader") as other:
        first = pool.submit(deliver, connection)
        wait_until(lambda: len(receiver.requests) == 1)
        assert deliver(other) == 0
        receiver.held.set()
        assert first.result() == 1
        assert deliver(other) == 0
    assert len(receiver.requests) == 1


def test_two_workers_tell_two_at_once(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.held.clear()
    for key in ("one", "two"):
        end(receiver.url, key=key)
    with ThreadPoolExecutor(2) as pool, ports.connect("rates_loader") as other:
        both = [pool.submit(deliver, each) for each in (connection, other)]
        wait_until(lambda: len(receiver.requests) == 2)
        receiver.held.set()
        assert sum(each.result() for each in both) == 2
    assert {request.json()["key"] for request in receiver.requests} == {"one", "two"}


def test_a_worker_that_is_lost_while_it_tells_leaves_it_to_be_told_again(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    """By the same id, so that who has had it knows."""
    receiver.held.clear()
    end(receiver.url)
    with ThreadPoolExecutor(1) as pool, ports.connect("rates_loader") as other:
        first = pool.submit(deliver, other)
        wait_until(lambda: len(receiver.requests) == 1)
        ports.rows("SELECT pg_terminate_backend(%s)", other.info.backend_pid)
        receiver.held.set()
        with pytest.raises(psycopg.OperationalError):
            first.result()
    assert deliver(connection) == 1
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert len(receiver.requests) == 2


def test_it_stops_between_two(
    connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    for key in ("one", "two", "three"):
        end(receiver.url, key=key)
    assert deliver_callbacks(connection, SECRETS, stop=iter([False, False, True]).__next__) == 2
    assert [request.json()["key"] for request in receiver.requests] == ["one", "two"]


def test_it_leaves_its_caller_time_for_other_things(
    connection: psycopg.Connection,
    receiver: Receiver,
    end: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in ("one", "two"):
        end(receiver.url, key=key)
    moments = iter([0.0, 1.0, callbacks.TURN_S + 1])
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    assert deliver(connection) == 1


def test_a_batch_that_is_taken_back_before_they_are_told_is_told_as_it_is(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    end(receiver.url)
    ports.rows("UPDATE batches SET state = 'withdrawn' RETURNING 1")
    assert deliver(connection) == 1
    assert [receiver.requests[0].json()[name] for name in ("type", "state")] == [
        "batch.published",
        "withdrawn",
    ]


def test_what_became_of_it_is_logged_without_the_address(
    ports: Database, connection: psycopg.Connection, receiver: Receiver, end: Callable[..., Batch]
) -> None:
    receiver.statuses = [503, 204, 410]
    batch = end(receiver.url)
    with logged("loader") as lines:
        for _ in range(2):
            deliver_now(ports, connection)
        end(receiver.url, key="other")
        deliver(connection)
    events = [
        (
            line["event"],
            line["level"],
            line["answer"],
            line.get("callbacks_told"),
            line.get("callbacks_given_up"),
        )
        for line in lines.all()
    ]
    assert events == [
        ("callback not answered", "warning", "503 Service Unavailable", None, None),
        ("callback told", "info", "204 No Content", 1, None),
        ("callback given up", "info", "410 Gone", None, 1),
    ]
    first = lines.all()[0]
    assert (first["batch"], first["request_id"], first["attempt"]) == (str(batch.id), "r-1", 1)
    assert "secret" not in lines.getvalue()
