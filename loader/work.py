"""The worker: keeps answers quick behind the loads until it is told to stop.

It folds the totals of published batches into the base, which `load` leaves to it. Several may run at once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from database.connect import connect, translated_errors
from database.errors import DatabaseUnavailable, SchemaMissing
from loader.compact import fold_some

# How long a published batch may wait before its totals are folded; answers are right all the while.
IDLE_S = 2.0
# A database that is away is asked again after 1, 2, 4 … seconds, at most so many.
BACKOFF_MAX_S = 30.0


def run_worker(stop: Event, say: Callable[[str], None]) -> int:
    """Works until `stop` is set, through a database that is away; returns how many deltas were folded.

    `say` gets a line for each thing done. Raises ConfigurationError when no database is named.
    """
    say("the worker is waiting for published batches")
    folded = failures = 0
    while not stop.is_set():
        try:
            folded += fold_all(stop, say)
            pause_s, failures = IDLE_S, 0
        except (DatabaseUnavailable, SchemaMissing) as error:
            pause_s = min(2.0**failures, BACKOFF_MAX_S)
            failures += 1
            say(f"{error}; asking again in {pause_s:.0f} s")
        stop.wait(pause_s)
    say("the worker has stopped")
    return folded


def fold_all(stop: Event, say: Callable[[str], None]) -> int:
    """Folds what is published now, in steps between which it may be stopped; returns how many deltas."""
    folded = 0
    with translated_errors(), connect("rates-worker", autocommit=True) as connection:
        while not stop.is_set() and (step := fold_some(connection)):
            folded += step
    if folded:
        say(f"folded {folded:,} lane-day totals into the base")
    return folded
