"""Throws away, a chunk at a time, the rows of batches that count no more: rejected, withdrawn, cut short.

It is only about room: no answer knows of these rows.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from database.queries import query
from loader.ledger import record_event


def discard_all(connection: psycopg.Connection, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Throws away all there is, in steps of one transaction each; returns how many chunks went."""
    chunk_count = 0
    if connection.execute(query("loader", "discards")).fetchone() is None:
        return 0
    connection.execute(query("loader", "summarize_prices"))
    while not stop() and discard_chunk(connection):
        chunk_count += 1
    return chunk_count


def discard_chunk(connection: psycopg.Connection) -> bool:
    """Throws away one chunk; False where there is none that nobody else is at."""
    with connection.transaction():
        found = connection.execute(query("loader", "next_discard")).fetchone()
        if found is None:
            return False
        batch_no, chunk_count = found
        key = {"batch_no": batch_no, "chunk_no": chunk_count - 1}
        connection.execute(query("loader", "delete_prices"), key)
        connection.execute(query("loader", "delete_deltas"), key)
        connection.execute(query("loader", "count_discard_down"), key)
        if chunk_count == 1:
            connection.execute(query("loader", "end_discard"), key)
            for (batch_id,) in connection.execute(query("loader", "batch_id_of_number"), key):
                record_event(connection, batch_id, "rows thrown away")
    return True
