"""After the last stage: folds the totals of published batches into the base, a few lanes at a time.

Answers are the same before, during and after: a read sums base and deltas in one statement, and a fold moves
rows from the one to the other in one statement. It keeps reads from growing dear, nothing more. Several may
fold at once; one that is killed leaves nothing half-done, and the next goes on.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from database.queries import query
from loader.ledger import record_event

# Small enough to be over in some hundred milliseconds: only other folds would wait for its locks.
ROWS_MAX = 5_000
FIRST_LANE = {"orig_code": "", "dest_code": "", "month": "-infinity"}


def fold_all(
    connection: psycopg.Connection, *, stop: Callable[[], bool] = lambda: False, rows_max: int = ROWS_MAX
) -> int:
    """Folds all that counts by now, in steps of one transaction each, between which it may be stopped.

    Returns how many deltas it folded.
    """
    connection.execute(query("loader", "begin_folding"))
    folded, lane = 0, FIRST_LANE
    while not stop():
        count, lane = fold_some(connection, lane, rows_max)
        folded += count
        if not count:
            end_folding(connection)
            break
    return folded


def fold_some(
    connection: psycopg.Connection, first: dict[str, str], rows_max: int
) -> tuple[int, dict[str, str]]:
    """Folds up to `rows_max` deltas from the lane and month `first` on; returns how many, and the last's."""
    with connection.transaction():
        row = connection.execute(query("loader", "fold_deltas"), {**first, "rows_max": rows_max}).fetchone()
        if row is None:
            raise AssertionError("a fold always tells what it did")
        count, emptied, *last = row
        if emptied:
            ends = dict(zip(("last_orig_code", "last_dest_code", "last_month"), last, strict=True))
            connection.execute(query("loader", "delete_emptied"), {**first, **ends})
    return count, dict(zip(FIRST_LANE, last, strict=True)) if count else first


def end_folding(connection: psycopg.Connection) -> None:
    """Takes the postings off the list whose last delta is folded, whoever did it."""
    with connection.transaction():
        for (posting_no,) in connection.execute(query("loader", "end_folding")).fetchall():
            number = {"batch_no": abs(posting_no)}
            for (batch_id,) in connection.execute(query("loader", "batch_id_of_number"), number):
                record_event(connection, batch_id, "folded" if posting_no > 0 else "reversal folded")
