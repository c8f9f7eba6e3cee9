"""What the ledger tells of batches: the newest ones, and the life of one with its faults.

`show` puts it into words for a person, `callbacks` tells it to others.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from database.queries import query
from loader.kinds import error_kinds
from loader.ledger import fault_kinds
from loader.publish import first_errors

BATCHES_SHOWN = 100
# Events between which a batch is loaded: it is opened or, once rejected, reopened, and then ends. It may be
# resumed once it has failed.
BEGINNINGS, ENDINGS = ("opened", "reopened"), ("published", "rejected", "valid", "failed")


def newest_batches(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The newest BATCHES_SHOWN batches, newest first, with the keys of the contract's batch."""
    return [as_batch(row) for row in read_batches(connection, name=None)]


def one_batch(connection: psycopg.Connection, name: str) -> dict[str, Any] | None:
    """The batch with this id or key, with its life and its faults; None where there is none.

    `connection` is not in autocommit, and has not been used: everything is told as of one moment.
    """
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    rows = read_batches(connection, name=name)
    if not rows:
        return None
    batch_no, state, withdrawn_by = (rows[0][name] for name in ("batch_no", "state", "withdrawn_by"))
    with connection.cursor(row_factory=dict_row) as cursor:
        of_batch = {"batch_id": rows[0]["id"]}
        events = cursor.execute(query("loader", "batch_events"), of_batch).fetchall()
        callbacks = cursor.execute(query("loader", "batch_callbacks"), of_batch).fetchall()
        stages = cursor.execute(query("loader", "batch_stages"), {"batch_no": batch_no}).fetchone() or {}
    return {
        **as_batch(rows[0]),
        "withdrawn_by": withdrawn_by,
        "reversed_chunks": stages["reversed_chunks"],
        "totals": totals_state(state, folding=stages["folding"]),
        "rows_thrown_away": None if state not in ("rejected", "withdrawn") else not stages["discarding"],
        "stages": stage_seconds(stages, events),
        "events": [{**event, "seconds": rounded(event["seconds"])} for event in events],
        "callbacks": callbacks,
        "errors": first_errors(connection, batch_no),
        "errors_kept": stages["errors_kept"],
        "error_kinds": error_kinds(fault_kinds(connection, batch_no)),
    }


def batch_with_id(connection: psycopg.Connection, batch_id: UUID) -> dict[str, Any]:
    """A batch that is there, as it is now."""
    return as_batch(read_batches(connection, name=str(batch_id))[0])


def totals_state(state: str, *, folding: bool | None) -> str | None:
    """How far the totals of a published batch are on their way into the base."""
    if state != "published":
        return None
    return {None: "folded", False: "waiting", True: "folding"}[folding]


def stage_seconds(stages: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, float | None]:
    """Checking and writing summed over the chunks; `wall` is of the last try, with every pause in it."""
    began = [event["at"] for event in events if event["event"] in BEGINNINGS]
    ended = [event for event in events if event["event"] in ENDINGS]
    resumed = [event["at"] for event in events if event["event"] == "resumed"]
    wall = publish = None
    if began and ended and ended[-1]["at"] > max(began + resumed):
        wall = (ended[-1]["at"] - began[-1]).total_seconds()
        publish = ended[-1]["seconds"]
    return {
        "check": rounded(stages["check_seconds"]),
        "write": rounded(stages["write_seconds"]),
        "publish": rounded(publish),
        "wall": rounded(wall),
    }


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def read_batches(connection: psycopg.Connection, *, name: str | None) -> list[dict[str, Any]]:
    values = {"name": name, "id": id_in(name), "limit": BATCHES_SHOWN}
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("loader", "batches"), values).fetchall()


def id_in(name: str | None) -> UUID | None:
    try:
        return None if name is None else UUID(name)
    except ValueError:
        return None


def as_batch(row: dict[str, Any]) -> dict[str, Any]:
    """`progress` is as of this moment; what is not known of it is None."""
    ended_at, share = row["ended_at"], row["share"]
    return {
        "batch": row["id"],
        "state": row["state"],
        "rows": row["row_count"],
        "seconds": None if ended_at is None else round((ended_at - row["created_at"]).total_seconds(), 3),
        "error_count": row["error_count"],
        "key": row["key"],
        "source": row["source"],
        "content_hash": row["content_hash"],
        "chunks": row["chunk_count"],
        "created_by": row["created_by"],
        "created_at": row["created_at"],
        "ended_at": ended_at,
        "dry_run": row["dry_run"],
        "failure": row["failure"],
        "deadline": row["deadline"],
        "late_since": row["late_since"],
        "callback_url": row["callback_url"],
        "request_id": row["request_id"],
        "replaces": row["replaces"],
        "replaced_by": row["replaced_by"],
        "progress": {
            "share": None if share is None else round(share, 4),
            "chunks_planned": row["chunks_planned"],
            "planned": row["planned"],
            "rows_per_second": row["rows_per_second"],
            "expected_end": row["expected_end"],
        },
    }
