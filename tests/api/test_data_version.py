"""What is known of the newest version, and for how long, whatever happens to the thread that finds it out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import psycopg
import pytest

from api import data_version
from api.data_version import LEASE_S, NewestVersion
from api.totals import DataVersion
from database.connect import connect
from database.errors import DatabaseUnavailable
from tests.postgres import Database
from tests.proxy import Proxy
from tests.waiting import wait_until

NAME = "rates-test-newest"
SESSIONS = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}'"
RAISE = "UPDATE data_version SET version = version + 1, changed_at = clock_timestamp()"


@pytest.fixture
def proxy(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What the test's process reaches its database through, as the API does."""
    with Proxy(database.server.port) as proxy:
        for name, value in proxy.environment(database.environment("rates_api")).items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def newest(proxy: Proxy) -> Iterator[NewestVersion]:
    newest = NewestVersion(partial(connect, NAME, autocommit=True))
    newest.start()
    yield newest
    newest.stop()


def number(newest: NewestVersion) -> int | None:
    version = newest.get()
    return version.number if version else None


def known(newest: NewestVersion) -> DataVersion:
    """As soon as it is known: on a slow machine it may not be any more when it is asked for again."""
    found: list[DataVersion] = []
    wait_until(lambda: bool(found.extend(filter(None, [newest.get()])) or found))
    return found[0]


def sessions(newest: NewestVersion, database: Database) -> int:
    """How many sessions there are once the version was asked for."""
    newest.get()
    return database.rows(SESSIONS)[0][0]


def raise_version(database: Database) -> int:
    with database.connect() as connection:
        connection.execute(RAISE)
    return database.rows("SELECT version FROM data_version")[0][0]


def test_it_is_unknown_until_somebody_asks_and_then_as_the_database_has_it(
    newest: NewestVersion, database: Database
) -> None:
    time.sleep(0.1)
    assert database.rows(SESSIONS) == [(0,)]
    assert newest.get() is None
    ((version, changed_at),) = database.rows(
        "SELECT version, (extract(epoch FROM changed_at - '2000-01-01Z') * 1000000)::bigint FROM data_version"
    )
    assert known(newest) == DataVersion(version, changed_at)


def test_a_commit_is_heard_of_long_before_it_would_be_asked_for(
    newest: NewestVersion, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_version, "POLL_S", 60)
    monkeypatch.setattr(data_version, "LEASE_S", 60)
    wait_until(lambda: newest.get() is not None)
    for _ in range(20):
        version = raise_version(database)
        wait_until(lambda version=version: number(newest) == version)


def test_a_notification_that_comes_with_an_answer_is_not_overlooked(
    newest: NewestVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a statement tells itself comes before the end of its answer: nothing is left to wait for then."""
    monkeypatch.setattr(data_version, "POLL_S", 60)
    asked = []

    def question(*names: str) -> bytes:
        asked.append(names)
        telling = ", pg_notify('data_version', '')" if len(asked) == 1 else ""
        return f"SELECT version, changed_at FROM data_version{telling}".encode()

    monkeypatch.setattr(data_version, "query", question)
    newest.get()
    wait_until(lambda: len(asked) == 2)


def test_without_notifications_it_is_asked_for(
    newest: NewestVersion, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before what is known has to be forgotten."""
    assert data_version.POLL_S < LEASE_S / 2
    monkeypatch.setattr(data_version, "LEASE_S", 60)
    with database.connect() as connection:
        connection.execute("ALTER TABLE data_version DISABLE TRIGGER tell_version")
    known(newest)
    version = raise_version(database)
    wait_until(lambda: number(newest) == version)


def test_what_is_known_holds_from_before_it_was_asked_for(
    newest: NewestVersion, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that took longer than the lease is too old when it comes."""
    answered = []

    def slow(*names: str) -> bytes:
        answered.append(names)
        return b"SELECT version, changed_at FROM data_version, pg_sleep(0.3)"

    monkeypatch.setattr(data_version, "query", slow)
    monkeypatch.setattr(data_version, "LEASE_S", 0.2)
    monkeypatch.setattr(data_version, "POLL_S", 0.05)
    while len(answered) < 5:
        assert newest.get() is None
        time.sleep(0.005)


@pytest.mark.parametrize("cut", ["broken", "silent"])
def test_once_the_channel_is_cut_nothing_is_known_after_the_lease_and_it_mends_by_itself(
    newest: NewestVersion, proxy: Proxy, database: Database, cut: str
) -> None:
    known(newest)
    setattr(proxy, cut, NAME)
    if cut == "broken":
        proxy.cut(NAME)
    cut_at = time.monotonic()
    while (asked_at := time.monotonic()) and newest.get() is not None:
        assert asked_at < cut_at + LEASE_S
    version = raise_version(database)
    until = time.monotonic() + LEASE_S
    while time.monotonic() < until:
        assert newest.get() is None
        time.sleep(0.005)
    setattr(proxy, cut, "")
    wait_until(lambda: number(newest) == version)


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (DatabaseUnavailable("away"), logging.WARNING),
        (psycopg.OperationalError("away"), logging.WARNING),
        (ValueError("what nobody thought of"), logging.ERROR),
        (MemoryError(), logging.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_no_error_ends_it_and_each_loss_is_logged_once(
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
) -> None:
    monkeypatch.setattr(data_version, "PAUSE_S", 0.01)
    attempts = []

    def connect_or_not() -> psycopg.Connection:
        attempts.append(len(attempts))
        if len(attempts) <= 3:
            raise error
        return connect(NAME, autocommit=True)

    newest = NewestVersion(connect_or_not)
    newest.start()
    wait_until(lambda: newest.get() is not None)
    assert [record.levelno for record in caplog.records if record.name == "rates.api"] == [level]
    proxy.cut(NAME)
    wait_until(lambda: len(attempts) == 5 and newest.get() is not None)
    assert len([record for record in caplog.records if record.name == "rates.api"]) == 2
    newest.stop()


def test_attempts_become_rarer_and_end_once_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    pause_s, idle_s = 0.02, 0.3
    monkeypatch.setattr(data_version, "PAUSE_S", pause_s)
    monkeypatch.setattr(data_version, "IDLE_S", idle_s)
    attempts = []

    def away() -> psycopg.Connection:
        attempts.append(time.monotonic())
        raise DatabaseUnavailable("away")

    newest = NewestVersion(away)
    newest.start()
    while len(attempts) < 7:
        newest.get()
        time.sleep(0.005)
    pauses_s = [later - earlier for earlier, later in pairwise(attempts)]
    for number, paused_s in enumerate(pauses_s):
        assert paused_s >= pause_s * 2 ** min(number, 3)
    # Ended: nothing for much longer than a pause ever is.
    wait_until(lambda: time.monotonic() - attempts[-1] > 3 * idle_s)
    count = len(attempts)
    newest.get()
    wait_until(lambda: len(attempts) > count)
    newest.stop()


def test_once_nobody_asks_the_connection_goes_and_comes_again(
    newest: NewestVersion, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_version, "IDLE_S", 0.4)
    known(newest)
    wait_until(lambda: sessions(newest, database) == 1)
    wait_until(lambda: database.rows(SESSIONS) == [(0,)])
    version = raise_version(database)
    assert newest.get() is None, "what was known is forgotten, not kept until it is known anew"
    wait_until(lambda: number(newest) == version)
    wait_until(lambda: sessions(newest, database) == 1)


def test_stopped_it_leaves_neither_connection_nor_thread(newest: NewestVersion, database: Database) -> None:
    wait_until(lambda: newest.get() is not None)
    newest.stop()
    wait_until(lambda: database.rows(SESSIONS) == [(0,)])
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "newest-version"])


def test_one_that_was_never_asked_stops_without_connecting() -> None:
    connected = []

    def connect_never() -> psycopg.Connection:
        connected.append(True)
        raise AssertionError

    newest = NewestVersion(connect_never)
    newest.start()
    newest.stop()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "newest-version"])
    assert not connected


def test_another_database_behind_the_address_is_believed_even_if_its_number_is_lower(
    newest: NewestVersion, proxy: Proxy, database: Database
) -> None:
    for _ in range(3):
        raise_version(database)
    wait_until(lambda: number(newest) == 3)
    with database.connect() as connection:  # as a restored one has it
        connection.execute("ALTER TABLE data_version DISABLE TRIGGER tell_version")
        connection.execute("UPDATE data_version SET version = 1, changed_at = '2020-01-01'")
    proxy.cut(NAME)
    wait_until(lambda: number(newest) == 1)
