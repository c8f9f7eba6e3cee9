"""Says early that a batch will miss its deadline: once, in its life, in the log and as a figure.

It goes by `batch_status`, which measures what is loading; any worker may ask, as often as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.ledger import who
from telemetry.log import bound, get_logger
from telemetry.metrics import emit

# So many seconds and chunks at least make a measure; a batch that is still being cut, or has few chunks, is
# measured over a minute, as long as the view's rate goes back.
MEASURED_S, CHUNKS_MIN, SURE_S = 10, 3, 60
# A batch of which nothing was done for that minute is late where its deadline is no further away.
NEAR_S = 300
SURELY = {"measured_s": MEASURED_S, "chunks_min": CHUNKS_MIN, "sure_s": SURE_S, "near_s": NEAR_S}
log = get_logger("rates.deadlines")


@dataclass(frozen=True)
class LateBatch:
    """`late_s` and `expected_end` are None where nothing is being done of it."""

    id: UUID
    request_id: str | None
    deadline: datetime
    expected_end: datetime | None
    late_s: float | None


def note_late(connection: psycopg.Connection) -> list[LateBatch]:
    """The batches of which it is known from now on; `connection` is in autocommit."""
    with connection.cursor(row_factory=class_row(LateBatch)) as cursor:
        late = cursor.execute(query("loader", "note_late"), {**SURELY, "done_by": who()}).fetchall()
    for batch in late:
        what = {"deadline": batch.deadline, "expected_end": batch.expected_end, "late_seconds": batch.late_s}
        with bound(batch=batch.id, request_id=batch.request_id):
            log.warning("batch will miss its deadline", **what)
            emit("batch late", {"batches_late": (1, "Count")})
    return late
