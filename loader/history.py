"""What the ledger tells of batches: the newest ones, and the life of one with its faults."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from database.queries import query
from loader.publish import first_errors

BATCHES_SHOWN = 100
# Events between which a batch is loaded: it is opened or, once rejected, reopened, and then ends.
BEGINNINGS, ENDINGS = ("opened", "reopened"), ("published", "rejected")
TOTALS = {"waiting": "wait to be folded", "folding": "being folded", "folded": "folded into the base"}
STAGES = {
    "check": "summed over the chunks",
    "write": "summed over the chunks",
    "publish": "one transaction",
    "wall": "from its beginning to its end, pauses included",
}


def newest_batches(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """The newest BATCHES_SHOWN batches, newest first, with the keys of the contract's batch."""
    return [as_batch(row) for row in read_batches(connection, name=None)]


def one_batch(connection: psycopg.Connection, name: str) -> dict[str, Any] | None:
    """The batch with this id or key, with its life and its first faults; None where there is none.

    `connection` is not in autocommit, and has not been used: everything is told as of one moment.
    """
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    rows = read_batches(connection, name=name)
    if not rows:
        return None
    batch_no, state, withdrawn_by = (rows[0][name] for name in ("batch_no", "state", "withdrawn_by"))
    with connection.cursor(row_factory=dict_row) as cursor:
        events = cursor.execute(query("loader", "batch_events"), {"batch_id": rows[0]["id"]}).fetchall()
        stages = cursor.execute(query("loader", "batch_stages"), {"batch_no": batch_no}).fetchone() or {}
    return {
        **as_batch(rows[0]),
        "withdrawn_by": withdrawn_by,
        "reversed_chunks": stages["reversed_chunks"],
        "totals": totals_state(state, folding=stages["folding"]),
        "rows_thrown_away": None if state not in ("rejected", "withdrawn") else not stages["discarding"],
        "stages": stage_seconds(stages, events),
        "events": [{**event, "seconds": rounded(event["seconds"])} for event in events],
        "errors": first_errors(connection, batch_no),
    }


def totals_state(state: str, *, folding: bool | None) -> str | None:
    """How far the totals of a published batch are on their way into the base."""
    if state != "published":
        return None
    return {None: "folded", False: "waiting", True: "folding"}[folding]


def stage_seconds(stages: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, float | None]:
    """Checking and writing summed over the chunks; `wall` is of the last try, with every pause in it."""
    began = [event["at"] for event in events if event["event"] in BEGINNINGS]
    ended = [event for event in events if event["event"] in ENDINGS]
    wall = publish = None
    if began and ended and ended[-1]["at"] > began[-1]:
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


def life_lines(batch: dict[str, Any]) -> Iterator[str]:
    """What `one_batch` found, for a person."""
    rows = f"{batch['rows']:,} in {batch['chunks']:,} chunks"
    told = {
        "batch": batch["batch"],
        "key": batch["key"],
        "state": batch["state"],
        "rows": rows,
        "faults": f"{batch['error_count']:,}",
        "source": batch["source"],
        "sha-256": batch["content_hash"],
        "created by": batch["created_by"],
        "created": moment(batch["created_at"]),
        "ended": moment(batch["ended_at"]),
    }
    if batch["withdrawn_by"] is not None:
        told["withdrawn by"] = batch["withdrawn_by"]
        if batch["state"] != "withdrawn":
            told["withdrawal"] = (
                f"asked for; {batch['reversed_chunks']:,} of {batch['chunks']:,} chunks reversed"
            )
    if batch["totals"] is not None:
        told["totals"] = TOTALS[batch["totals"]]
    if batch["rows_thrown_away"] is not None:
        told["its rows"] = "are thrown away" if batch["rows_thrown_away"] else "wait to be thrown away"
    for name, value in told.items():
        yield f"{name:<14}{value}"
    yield ""
    for name, what in STAGES.items():
        seconds = batch["stages"][name]
        yield f"{name:<14}{'-' if seconds is None else f'{seconds:.3f} s':>12}  {what}"
    yield ""
    width = max((len(event["event"]) for event in batch["events"]), default=0)
    for event in batch["events"]:
        seconds = "" if event["seconds"] is None else f"  {event['seconds']:.3f} s"
        yield f"{moment(event['at'])}  {event['event']:<{width}}  {event['done_by']}{seconds}"


def moment(at: datetime | None) -> str:
    return "-" if at is None else at.isoformat(sep=" ", timespec="seconds")
