"""Questions to the database over connections that may have broken since they were last used."""

from __future__ import annotations

import runpy
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from api import store as module
from api.store import CONNECTION_SETTINGS, STEP_S, WAIT_AWAY_S, Store
from api.totals import DataVersion, read_version
from database.connect import make_pool
from database.errors import DatabaseUnavailable, StatementTooSlow
from local.postgres import free_port
from tests.api.service import NOWHERE
from tests.postgres import Database
from tests.proxy import Proxy
from tests.waiting import TIMEOUT_S, wait_until

NAME = "rates-test"
PREPARED_AT = 5  # times that a statement is asked, after which psycopg prepares it


@pytest.fixture
def store(as_loader: Database) -> Iterator[Store]:
    """Of four connections: a slow machine may make one too many where fewer are asked for at once."""
    with make_pool(NAME, size_max=4, wait_s=1, settings=CONNECTION_SETTINGS) as pool:
        yield Store(pool)


def backend(connection: psycopg.Connection) -> int:
    """Asked of the server: what the driver remembers says nothing of whether it is still there."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row
    return row[0]


def backends(store: Store, count: int) -> set[int]:
    """Of so many connections at once."""
    together = threading.Barrier(count, timeout=TIMEOUT_S)

    def ask(connection: psycopg.Connection) -> int:
        together.wait()
        return backend(connection)

    with ThreadPoolExecutor(count) as threads:
        return set(threads.map(lambda _: store.read(ask), range(count)))


def terminate(database: Database) -> None:
    database.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", NAME
    )


def test_a_failover_breaks_all_connections_and_costs_nobody_an_answer(
    store: Store, as_loader: Database
) -> None:
    before = backends(store, 4)
    terminate(as_loader)
    assert len(before) == 4
    assert before.isdisjoint(store.read(backend) for _ in range(8))


def test_who_meets_a_broken_connection_waits_for_no_other_one(
    as_loader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has vanished: one connection is known to be broken, the others have not said so yet."""
    with Proxy(as_loader.server.port) as proxy:
        for name, value in proxy.environment(as_loader.environment("rates_loader")).items():
            monkeypatch.setenv(name, value)
        with make_pool(NAME, size_max=3, wait_s=5) as pool:
            store = Store(pool)
            before = backends(store, 3)
            asked, answers = [], []

            def ask(connection: psycopg.Connection) -> int:
                asked.append(connection)
                if len(asked) > 1:
                    return backend(connection)
                proxy.freeze()
                connection.close()
                raise psycopg.OperationalError("the connection is gone")

            threading.Thread(target=lambda: answers.append(store.read(ask)), daemon=True).start()
            wait_until(lambda: bool(answers))
            assert answers[0] not in before


def test_a_server_that_vanishes_holds_up_none_of_the_apis_threads_for_longer_than_3_s(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that ask it something nor the one that listens."""
    for name, value in (NOWHERE | database.environment("rates_api")).items():
        monkeypatch.setenv(name, value)
    served = runpy.run_module("api.wsgi")
    with served["pool"] as pool, pool.connection() as asked, served["newest"].connect() as listening:
        for connection in (asked, listening):
            with socket.socket(fileno=connection.fileno()) as wire:
                assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3_000
                wire.detach()


def test_a_question_that_breaks_its_connection_each_time_is_given_up(store: Store) -> None:
    asked = []

    def ask(connection: psycopg.Connection) -> None:
        asked.append(connection.info.backend_pid)
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable):
        store.read(ask)
    assert len(set(asked)) == 2


def test_a_fault_of_the_question_itself_is_asked_once(store: Store) -> None:
    asked = []

    def ask(connection: psycopg.Connection) -> None:
        asked.append(connection)
        connection.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        store.read(ask)
    assert len(asked) == 1
    assert store.read(backend), "and its connection goes on"


def test_a_column_that_gets_another_type_costs_nobody_an_answer(store: Store, as_loader: Database) -> None:
    """What is prepared, by us or by the driver, fails from then on, on every connection."""

    def ask(connection: psycopg.Connection) -> object:
        for _ in range(PREPARED_AT + 1):
            row = connection.execute("SELECT value FROM typed").fetchone()
        return row and row[0]

    with as_loader.connect() as owner:
        owner.execute("CREATE TABLE typed AS SELECT 1 AS value")
        owner.execute("GRANT SELECT ON typed TO PUBLIC")
        assert [store.read(ask) for _ in range(4)] == [1] * 4
        owner.execute("ALTER TABLE typed ALTER value TYPE text")
        assert [store.read(ask) for _ in range(4)] == ["1"] * 4
        owner.execute("DROP TABLE typed")


def test_a_question_that_takes_too_long_is_given_up_once(store: Store) -> None:
    began = time.monotonic()
    asked = []

    def ask(connection: psycopg.Connection) -> None:
        asked.append(connection)
        connection.execute("SET statement_timeout = '100ms'")
        connection.execute("SELECT pg_sleep(60)")

    with pytest.raises(StatementTooSlow, match="statement timeout"):
        store.read(ask)
    assert len(asked) == 1
    assert time.monotonic() - began < 30


def test_a_server_that_refuses_is_known_to_be_away_before_the_wait_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then nobody waits at all for a while."""
    for name, value in (database.environment("rates_api") | {"PGPORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "WAIT_S", 600)
    monkeypatch.setattr(module, "AWAY_S", 600)
    with make_pool(NAME, size_max=2, wait_s=0.25) as pool:
        waits_s: list[float] = []
        monkeypatch.setattr(pool, "getconn", noting(pool.getconn, waits_s))
        store = Store(pool)
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable):
                store.read(backend)
    first, others = waits_s[:-9], waits_s[-9:]
    assert set(first) == {STEP_S}
    assert others == [WAIT_AWAY_S] * 9


def noting(getconn: Callable[[float], Any], waits_s: list[float]) -> Callable[[float], Any]:
    def noted(wait_s: float) -> Any:
        waits_s.append(wait_s)
        return getconn(wait_s)

    return noted


def test_a_connection_that_prepared_some_of_its_statements_prepares_the_others(
    store: Store, as_loader: Database
) -> None:
    """A lock on what one of them reads, as a migration takes it, may be waited for in vain meanwhile."""

    def ask(connection: psycopg.Connection) -> DataVersion:
        connection.execute("SET statement_timeout = '100ms'")
        return read_version(connection)

    with as_loader.connect() as owner, owner.transaction():
        owner.execute("LOCK TABLE regions IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable, match="statement timeout"):
            store.read(ask)
    assert len(backends(store, 1)) == 1
    store.read(lambda connection: connection.execute("SET statement_timeout = '30s'"))
    assert store.read(read_version).number == 0


def test_who_asks_next_takes_the_connection_that_was_asked_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_S", 600)
    before = backends(store, 2)
    from_the_pool = store.pool.get_stats()["requests_num"]
    asked = [store.read(backend) for _ in range(5)]
    assert len({*asked}) == 1
    assert before.issuperset(asked)
    assert store.pool.get_stats()["requests_num"] == from_the_pool, "the pool was asked for no more"


def test_the_pool_has_all_connections_back_soon_after_nobody_asks(store: Store) -> None:
    before = backends(store, 4)
    wait_until(lambda: store.pool.get_stats()["pool_available"] == 4)
    assert backends(store, 4) == before
    wait_until(lambda: store.pool.get_stats()["pool_available"] == 4)


def test_until_then_they_are_kept_and_one_timer_is_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers: list[Callable[[], None]] = []

    def by_hand(_seconds: float, function: Callable[[], None]) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: timers.append(function))

    monkeypatch.setattr(module, "threading", SimpleNamespace(Timer=by_hand))
    for _ in range(2):
        backends(store, 4)
        assert store.pool.get_stats()["pool_available"] == 0
        (give_back,) = timers
        timers.clear()
        give_back()
        assert store.pool.get_stats()["pool_available"] == 4


def test_a_connection_is_not_left_in_a_transaction(store: Store) -> None:
    asked = store.read(lambda connection: connection.execute("BEGIN") and backend(connection))
    status = store.read(lambda connection: (connection.info.transaction_status, backend(connection)))
    assert status == (TransactionStatus.IDLE, asked)


def test_what_is_closed_leaves_no_connection(store: Store, as_loader: Database) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    backends(store, 4)
    assert as_loader.rows(count, NAME) == [(4,)]
    store.close()
    wait_until(lambda: as_loader.rows(count, NAME) == [(0,)])


def test_every_connection_has_a_statement_timeout(store: Store) -> None:
    shown = store.read(lambda connection: connection.execute("SHOW statement_timeout").fetchone())
    assert shown == (CONNECTION_SETTINGS["statement_timeout"],)
