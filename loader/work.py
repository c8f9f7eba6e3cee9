"""The worker: does behind the loads what nobody waits for, until it is told to stop.

It folds the totals of published batches into the base, ends withdrawals that were cut short, and throws away
the rows of batches that count no more. Several may run at once.
"""

from __future__ import annotations

from collections.abc import Callable

from database.connect import connect, translated_errors
from database.errors import DatabaseUnavailable, SchemaMissing
from loader.compact import fold_all
from loader.discard import discard_all
from loader.stopping import StopSignal
from loader.withdraw import carry_out_all

# How long a published batch may wait before its totals are folded; answers are right all the while.
IDLE_S = 2.0
# A database that is away is asked again after 1, 2, 4 … seconds, at most so many.
BACKOFF_MAX_S = 30.0


def run_worker(stop: StopSignal, say: Callable[[str], None]) -> int:
    """Works until `stop` is set, through a database that is away; returns how many deltas were folded.

    `say` gets a line for each thing done. Raises ConfigurationError when no database is named.
    """
    say("the worker is waiting for published batches")
    folded = failures = 0
    while not stop.is_set():
        try:
            folded += tidy(stop, say)
            pause_s, failures = IDLE_S, 0
        except (DatabaseUnavailable, SchemaMissing) as error:
            pause_s = min(2.0**failures, BACKOFF_MAX_S)
            failures += 1
            say(f"{error}; asking again in {pause_s:.0f} s")
        stop.wait(pause_s)
    say("the worker has stopped")
    return folded


def tidy(stop: StopSignal, say: Callable[[str], None]) -> int:
    """Does what there is to do, in steps it may be stopped between; returns how many deltas it folded."""
    with translated_errors(), connect("rates-worker", autocommit=True) as connection:
        withdrawn = carry_out_all(connection, stop=stop.is_set)
        folded = fold_all(connection, stop=stop.is_set)
        discarded = discard_all(connection, stop=stop.is_set)
    for count, what in (
        (withdrawn, "withdrew {:,} batches whose withdrawal was cut short"),
        (folded, "folded {:,} totals of a lane and month into the base"),
        (discarded, "threw away {:,} chunks of batches that count no more"),
    ):
        if count:
            say(what.format(count))
    return folded
