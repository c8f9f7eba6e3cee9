"""A statement that is to wait for a lock: run beside the test, which goes on once it does wait."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import LiteralString

import psycopg

from tests.postgres import Database
from tests.waiting import wait_until

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
