"""What a worker does beside its slots: again and again, in a thread with a connection of its own.

`work` starts `tidy` and `callbacks` like this; a database that is away ends neither.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import psycopg

from database.connect import connect, translated_errors
from database.errors import DatabaseUnavailable, SchemaMissing
from loader.stopping import Stop
from telemetry.log import get_logger

# How long a published batch may wait before its totals are folded, and whoever asked before they are told.
EVERY_S = 2.0
# What is away is asked again after 1, 2, 4 … seconds, at most so many: it is to be noticed when it is back.
BACKOFF_MAX_S = 5.0
log = get_logger("rates.work")


def start_beside(name: str, task: Callable[[psycopg.Connection], object], stop: Stop) -> threading.Thread:
    """Calls `task` with a connection in autocommit until `stop` is set; the thread ends soon after that."""
    thread = threading.Thread(target=keep_doing, args=(name, task, stop), name=name, daemon=True)
    thread.start()
    return thread


def keep_doing(name: str, task: Callable[[psycopg.Connection], object], stop: Stop) -> None:
    failures = 0
    while not stop.is_set():
        try:
            with translated_errors(), closing(connect("rates-worker", autocommit=True)) as connection:
                while not stop.is_set():
                    task(connection)
                    failures = 0
                    stop.wait(EVERY_S)
        except Exception as error:
            pause_s = backoff(failures)
            failures += 1
            if isinstance(error, DatabaseUnavailable | SchemaMissing):
                log.warning("database away", error=str(error), again_in_s=pause_s, task=name)
            else:
                log.exception("failed", again_in_s=pause_s, task=name)
            stop.wait(pause_s)


def backoff(failures: int) -> float:
    """How long to wait, in seconds, before what failed so often is tried again."""
    return min(2.0**failures, BACKOFF_MAX_S)
