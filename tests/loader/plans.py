"""Plans as a planner leaves them, made by hand: batches whose chunks are to be done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from loader.chunks import COLUMNS
from loader.content import Content, encode_content
from loader.ledger import Batch, Order, open_batch
from loader.places import Places
from storage.bucket import Bucket
from storage.layout import batch_id_of, content_key
from tests.loader.batches import Row
from tests.postgres import Database

HEADER = ",".join(COLUMNS) + "\n"


def plan(
    database: Database,
    bucket: Bucket,
    key: str,
    rows: Iterable[Row],
    *,
    chunk_rows: int = 10,
    deadline: datetime | None = None,
    dry_run: bool = False,
    places: Places | None = None,
) -> Batch:
    """Puts rows into the bucket and opens their batch, with a plan that is complete."""
    lines = [",".join(str(value) for value in row) + "\n" for row in rows]
    content = content_of(bucket, key, HEADER + "".join(lines), places)
    chunks = [lines[begin : begin + chunk_rows] for begin in range(0, len(lines), chunk_rows)]
    with database.connect("rates_loader") as connection:
        order = Order(
            key, None, content.source, chunk_rows, id=batch_id_of(key), deadline=deadline, dry_run=dry_run
        )
        batch = open_batch(connection, order)
        connection.execute(
            "INSERT INTO plans (batch_no, content, complete, chunk_count) VALUES (%s, %s, true, %s)",
            [batch.batch_no, encode_content(content), len(chunks)],
        )
        begin, line = len(HEADER), 2
        for chunk_no, chunk in enumerate(chunks):
            end = begin + len("".join(chunk))
            connection.execute(
                "INSERT INTO planned_chunks (batch_no, chunk_no, first_line, begin_byte, end_byte)"
                " VALUES (%s, %s, %s, %s, %s)",
                [batch.batch_no, chunk_no, line, begin, end],
            )
            begin, line = end, line + len(chunk)
    return batch


def content_of(bucket: Bucket, key: str, text: str, places: Places | None = None) -> Content:
    object_key = content_key(batch_id_of(key), "test")
    bucket.put(object_key, text.encode())
    found = bucket.look(object_key)
    return Content(
        bucket.name, object_key, found.etag, found.size, f"{key}.csv", "delimited", places=places or Places()
    )


def state_of(database: Database, batch: UUID) -> str | None:
    """As the ledger has it; None where it knows of no such batch."""
    rows = database.rows("SELECT state FROM batches WHERE id = %s", batch)
    return rows[0][0] if rows else None


def events_of(database: Database, batch: UUID) -> list[str]:
    """Of its life, but for what housekeeping does with it, at a time of its own."""
    rows = database.rows("SELECT event FROM batch_events WHERE batch_id = %s ORDER BY event_no", batch)
    return [event for (event,) in rows if event not in ("folded", "rows thrown away")]
