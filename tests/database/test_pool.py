"""Connections in use: what they do when the database is away, restarts, or has other credentials by now."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import psycopg_pool
import pytest
from psycopg import sql

from database.connect import connect, make_pool, translated_errors
from database.errors import ConfigurationError, DatabaseError, DatabaseUnavailable, SchemaMissing
from database.queries import query
from tests.postgres import Database

NAME = "rates-test"
# Enough for a connection on any machine.
WAIT_S = 60


@pytest.fixture
def pool(as_loader: Database) -> Iterator[psycopg_pool.ConnectionPool]:
    with make_pool(NAME, size_max=2, wait_s=WAIT_S) as pool:
        yield pool


def pid_from(pool: psycopg_pool.ConnectionPool) -> int:
    with pool.connection() as connection:
        return connection.info.backend_pid


def terminate(database: Database) -> None:
    database.rows(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = %s", NAME
    )


def noticed_after_s(connection: psycopg.Connection) -> tuple[int, int]:
    """How long Linux waits before it breaks the connection: for what was sent to be taken, and, where nothing
    is sent, for an answer to a second probe, if the first one has not been answered for as long as that."""
    with socket.socket(fileno=connection.fileno()) as wire:
        try:
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            sent_s = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) // 1000
            idle_s = wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert idle_s >= sent_s, "or the second probe would come too early to end it"
            return sent_s, idle_s + wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        finally:
            wire.detach()


def test_a_connection_says_whose_it_is(as_loader: Database) -> None:
    with connect(NAME) as connection:
        row = connection.execute("SELECT current_setting('application_name'), current_user").fetchone()
    assert row == (NAME, "rates_loader")


def test_a_server_that_vanishes_without_a_word_is_noticed(as_loader: Database) -> None:
    """Nothing answers after a failover, not even a refusal; Linux alone would wait 15 minutes and more."""
    with connect(NAME) as patient, connect(NAME, silence_s=3) as hasty:
        assert noticed_after_s(patient) == (10, 15)
        assert noticed_after_s(hasty) == (3, 4)
    with make_pool(NAME, size_max=1, silence_s=3) as pool, pool.connection() as connection:
        assert noticed_after_s(connection) == (3, 4)


def test_a_wrong_environment_is_told_before_the_pool_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGUSER", "PGDATABASE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="PGHOST, PGUSER, PGDATABASE"):
        make_pool(NAME, size_max=1)


def test_a_pool_opens_no_connection_before_it_is_asked(
    pool: psycopg_pool.ConnectionPool, as_loader: Database
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    assert as_loader.rows(count, NAME) == [(0,)]
    pid_from(pool)
    assert as_loader.rows(count, NAME) == [(1,)]


def test_waiting_for_a_full_pool_is_bounded(
    pool: psycopg_pool.ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.timeout == WAIT_S
    with pool.connection(), pool.connection(), monkeypatch.context() as patch:
        patch.setattr(pool, "timeout", 0.1)  # once both are there: making one may take longer
        with pytest.raises(DatabaseUnavailable), translated_errors():
            pool.getconn()
    assert pid_from(pool)


def test_a_connection_that_breaks_in_use_is_unavailable_and_the_next_works(
    pool: psycopg_pool.ConnectionPool, as_loader: Database
) -> None:
    with pool.connection() as connection:
        terminate(as_loader)
        with pytest.raises(DatabaseUnavailable), translated_errors():
            connection.execute("SELECT 1")
    assert pid_from(pool)


def test_a_password_that_rotates_is_the_next_connections(
    as_loader: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwords = tmp_path / "pgpass"

    def set_password(password: str) -> None:
        with as_loader.connect() as owner:
            owner.execute(sql.SQL("ALTER ROLE rates_rotated PASSWORD {}").format(password))
        passwords.write_text(f"*:*:*:*:{password}\n")
        passwords.chmod(0o600)

    with as_loader.connect() as owner:
        owner.execute("CREATE ROLE rates_rotated LOGIN")
    try:
        set_password("before")
        monkeypatch.delenv("PGPASSWORD")
        monkeypatch.setenv("PGUSER", "rates_rotated")
        monkeypatch.setenv("PGPASSFILE", str(passwords))
        with make_pool(NAME, size_max=2, wait_s=WAIT_S) as pool, pool.connection():
            set_password("after")
            assert pid_from(pool), "a second connection, made with the password of now"
    finally:
        with as_loader.connect() as owner:
            owner.execute("DROP ROLE rates_rotated")


# --- the driver's errors as ours ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (psycopg.errors.UndefinedTable, SchemaMissing),
        (psycopg.errors.LockNotAvailable, DatabaseUnavailable),
        (psycopg.errors.AdminShutdown, DatabaseUnavailable),
        (psycopg.errors.DeadlockDetected, DatabaseUnavailable),
        (psycopg.OperationalError, DatabaseUnavailable),
        (psycopg_pool.PoolTimeout, DatabaseUnavailable),
        (psycopg_pool.PoolClosed, DatabaseUnavailable),
        (psycopg_pool.TooManyRequests, DatabaseUnavailable),
    ],
)
def test_the_drivers_errors_become_ours_with_their_cause(
    raised: type[Exception], expected: type[DatabaseError]
) -> None:
    cause = raised("first line\nDETAIL: more")
    with pytest.raises(expected, match="first line") as told, translated_errors():
        raise cause
    assert told.value.__cause__ is cause
    assert "DETAIL" not in str(told.value)


def test_a_fault_of_ours_is_not_mistaken_for_the_databases() -> None:
    with pytest.raises(psycopg.errors.SyntaxError), translated_errors():
        raise psycopg.errors.SyntaxError("a fault")


def test_a_query_is_the_text_of_its_file() -> None:
    assert query("api", "data_version").startswith(b"-- ")
    with pytest.raises(FileNotFoundError):
        query("api", "no_such_query")


def test_settings_hold_for_each_connection_beside_those_of_the_environment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in database.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=7MB")
    with make_pool(NAME, size_max=1, settings={"enable_seqscan": "off"}) as pool, pool.connection() as one:
        row = one.execute("SELECT current_setting('work_mem'), current_setting('enable_seqscan')").fetchone()
    assert row == ("7MB", "off")
