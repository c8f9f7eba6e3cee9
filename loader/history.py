"""What the ledger tells of batches: the newest ones, and one with its faults."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from database.queries import query
from loader.publish import first_errors

BATCHES_SHOWN = 100


def newest_batches(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The newest BATCHES_SHOWN batches, newest first, with the keys of the contract's batch."""
    return [as_batch(row) for row in read_batches(connection, name=None)]


def one_batch(connection: psycopg.Connection, name: str) -> dict[str, Any] | None:
    """The batch with this id or key, with its first faults; None where there is none."""
    rows = read_batches(connection, name=name)
    if not rows:
        return None
    return {**as_batch(rows[0]), "errors": first_errors(connection, rows[0]["batch_no"])}


def read_batches(connection: psycopg.Connection, *, name: str | None) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("loader", "batches"), {"name": name, "limit": BATCHES_SHOWN}).fetchall()


def as_batch(row: dict[str, Any]) -> dict[str, Any]:
    ended_at = row["ended_at"]
    return {
        "batch": row["id"],
        "state": row["state"],
        "rows": 0 if row["state"] == "rejected" else row["row_count"],
        "seconds": None if ended_at is None else round((ended_at - row["created_at"]).total_seconds(), 3),
        "error_count": row["error_count"],
        "key": row["key"],
        "source": row["source"],
        "content_hash": row["content_hash"],
        "chunks": row["chunk_count"],
        "created_by": row["created_by"],
        "created_at": row["created_at"],
        "ended_at": ended_at,
    }
