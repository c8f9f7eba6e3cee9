"""After the last stage: folds the totals of published batches into the base, a few at a time.

Answers are the same before, during and after: a read sums base and deltas in one statement, and a fold moves
rows from the one to the other in one statement. It keeps reads from growing dear, nothing more.
"""

import psycopg

from database.queries import query

# Small enough to be over in tens of milliseconds, so that nobody waits for its locks.
ROWS_MAX = 10_000


def fold_some(connection: psycopg.Connection, rows_max: int = ROWS_MAX) -> int:
    """Folds up to `rows_max` deltas in one transaction; returns how many, 0 when none is left."""
    with connection.transaction():
        row = connection.execute(query("loader", "fold_deltas"), {"rows_max": rows_max}).fetchone()
    return 0 if row is None else row[0]
