"""The third stage: opens a batch in the ledger and writes each chunk of it in one transaction.

The ledger row and the rows it speaks of commit together, keyed (batch, chunk): a chunk done twice, by a
second try or by two loads at once, goes in once. No reader sees what is written here; `publish` is next.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from io import BytesIO

import polars as pl
import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.check import CheckedChunk
from loader.chunks import Chunk
from loader.errors import LoaderError, RowError, UsageError

COPY_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Batch:
    """A row of `batches`. `chunk_rows` is how it was first cut, whatever is asked for now."""

    batch_no: int
    id: uuid.UUID
    key: str
    content_hash: bytes
    state: str
    chunk_rows: int
    row_count: int
    error_count: int


def open_batch(
    connection: psycopg.Connection, *, key: str, content_hash: bytes, source: str, chunk_rows: int
) -> Batch:
    """The batch of this key: a new one, the one that is loading or published, or a rejected one afresh.

    A rejected batch gets another try, since what was wrong may have been the ports. Raises UsageError when
    the key was used for other content, or the batch was withdrawn.
    """
    asked = {"key": key, "content_hash": content_hash, "source": source, "chunk_rows": chunk_rows}
    with connection.transaction():
        batch = find_batch(connection, key)
        if batch is None:
            connection.execute(query("loader", "open_batch"), {**asked, "id": uuid.uuid4()})
            batch = find_batch(connection, key)
        elif batch.state == "rejected" and batch.content_hash == content_hash:
            connection.execute(query("loader", "forget_chunks"), {"batch_no": batch.batch_no})
            connection.execute(query("loader", "reopen_batch"), {**asked, "batch_no": batch.batch_no})
            batch = find_batch(connection, key)
    if batch is None:
        raise AssertionError(f"batch {key!r} is neither new nor known")
    if batch.content_hash != content_hash:
        raise UsageError(
            f"key {key!r} belongs to batch {batch.id} ({batch.state}), whose content is another:"
            f" its SHA-256 is {batch.content_hash.hex()}, this one's {content_hash.hex()}; use another --key"
        )
    if batch.state == "withdrawn":
        raise UsageError(f"batch {batch.id} (key {key!r}) was withdrawn; to load it again use another --key")
    return batch


def find_batch(connection: psycopg.Connection, key: str) -> Batch | None:
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(query("loader", "batch_by_key"), {"key": key}).fetchone()


def known_ports(connection: psycopg.Connection) -> set[str]:
    """The codes of all ports."""
    return {code for (code,) in connection.execute(query("loader", "ports"))}


def done_chunks(connection: psycopg.Connection, batch: Batch) -> dict[int, tuple[bytes, int]]:
    """Content hash and error count of each chunk that is in already."""
    rows = connection.execute(query("loader", "done_chunks"), {"batch_no": batch.batch_no})
    return {chunk_no: (content_hash, error_count) for chunk_no, content_hash, error_count in rows}


def write_chunk(
    connection: psycopg.Connection,
    batch: Batch,
    chunk_no: int,
    chunk: Chunk,
    checked: CheckedChunk,
    *,
    ledger_only: bool = False,
) -> None:
    """One transaction: the chunk's ledger row with its rows and totals, or with its faults.

    Does nothing where the chunk is in already or the batch has ended. `ledger_only` leaves the rows out, once
    it is known that the batch will be rejected. Raises UsageError where other content is in already, and
    LoaderError where the batch has been begun again.
    """
    key = {"batch_no": batch.batch_no, "chunk_no": chunk_no}
    counts = {"row_count": checked.row_count, "error_count": checked.error_count}
    with connection.transaction():
        state = connection.execute(query("loader", "lock_batch"), key).fetchone()
        if state is None:
            raise LoaderError(f"batch {batch.id} was begun again by another load; load it again")
        if state != ("loading",):
            return
        ledger_row = {**key, **counts, "content_hash": chunk.content_hash}
        if connection.execute(query("loader", "record_chunk"), ledger_row).fetchone() is None:
            for (content_hash,) in connection.execute(query("loader", "chunk_hash"), key):
                refuse_other_content(batch, chunk_no, chunk, content_hash)
            return
        if checked.error_count:
            record_errors(connection, key, checked.errors)
        elif not ledger_only:
            labels = [pl.lit(value).alias(name) for name, value in key.items()]
            copy(connection, "copy_prices", checked.prices.select(*labels, pl.all()))
            copy(connection, "copy_deltas", checked.totals.select(*labels, pl.all()))


def refuse_other_content(batch: Batch, chunk_no: int, chunk: Chunk, content_hash: bytes) -> None:
    """A file that changed while it was being loaded must not end half old and half new."""
    if chunk.content_hash != content_hash:
        raise UsageError(
            f"{chunk.file} changed since batch {batch.id} was begun: chunk {chunk_no}, from line"
            f" {chunk.first_line}, is not what went in; load the file as it is now under another --key"
        )


def record_errors(connection: psycopg.Connection, key: dict[str, int], errors: list[RowError]) -> None:
    with connection.cursor() as cursor:
        rows = [{**key, "error_no": number, **vars(error)} for number, error in enumerate(errors)]
        cursor.executemany(query("loader", "record_error"), rows)


def copy(connection: psycopg.Connection, name: str, frame: pl.DataFrame) -> None:
    """Sends a frame's rows through the COPY of `sql/name.sql`, as CSV."""
    text = BytesIO()
    frame.write_csv(text, include_header=False)
    text.seek(0)
    with connection.cursor() as cursor, cursor.copy(query("loader", name)) as sink:
        while block := text.read(COPY_BLOCK_BYTES):
            sink.write(block)
