"""A statement that is to wait for a lock: run beside the test, which goes on once it does wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import LiteralString

import psycopg

from tests.postgres import Database

TIMEOUT_S = 20
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def begin_and_wait(database: Database, connection: psycopg.Connection, statement: LiteralString) -> Future:
    """Returns once the statement waits for a lock, or, where none stops it, has ended."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(connection.execute, statement)
    executor.shutdown(wait=False)
    wait_until(lambda: future.done() or waiting_for_locks(database) == 1)
    return future


def waiting_for_locks(database: Database) -> int:
    """How many sessions of a database wait for a lock now."""
    return database.rows(WAITING)[0][0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)
