"""The third stage: opens a batch in the ledger and writes each chunk of it in one transaction.

The ledger row and the rows it speaks of commit together, keyed (batch, chunk): a chunk done twice, by a
second try or by two loads at once, goes in once. No reader sees what is written here; `publish` is next.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from getpass import getuser
from socket import gethostname
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.chunks import Chunk
from loader.errors import LoaderError, RowError, UsageError
from loader.kinds import Found, Kinds, added_up, in_order, of_chunk

if TYPE_CHECKING:
    from loader.check import CheckedChunk


def who() -> str:
    """The person or task that is at it, user@host."""
    try:
        user = getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "loader"
    return f"{user}@{gethostname()}"


@dataclass(frozen=True)
class Batch:
    """A row of `batches`. `chunk_rows` is how it was first cut, whatever is asked for now.

    `content_hash` is None where nobody has read all of the content before its chunks are done. A dump that
    `adds` is meant beside another one; `replaces` is the batch whose place it takes.
    """

    batch_no: int
    id: uuid.UUID
    key: str
    content_hash: bytes | None
    state: str
    chunk_rows: int
    row_count: int
    error_count: int
    withdrawn_by: str | None
    dry_run: bool
    adds: bool
    replaces: uuid.UUID | None


@dataclass(frozen=True)
class Order:
    """A batch as it is asked for. `created_by` is whoever sent it, `request_id` of what brought it."""

    key: str
    content_hash: bytes | None
    source: str
    chunk_rows: int
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    created_by: str = field(default_factory=who)
    deadline: datetime | None = None
    dry_run: bool = False
    callback_url: str | None = None
    request_id: str | None = None
    accepted_at: datetime | None = None
    adds: bool = False
    replaces: uuid.UUID | None = None


def open_batch(connection: psycopg.Connection, order: Order) -> Batch:
    """The batch of this key: a new one, the one that is loading or published, or a rejected one afresh.

    A rejected batch gets another try, since what was wrong may have been the ports; so does one that was
    given up. Raises UsageError when the key was used for other content, or the batch was withdrawn.
    """
    key = order.key
    with connection.transaction():
        opened = None
        batch = find_batch(connection, key)
        if batch is None:
            opened = connection.execute(query("loader", "open_batch"), vars(order)).fetchone()
            batch = found_again(connection, key)
        refuse_other_batch(batch, order)
        refuse_withdrawn(batch)
        if opened is not None:
            record_event(connection, batch, "opened")
        elif batch.state == "rejected":
            connection.execute(query("loader", "forget_chunks"), {"batch_no": batch.batch_no})
            values = {**vars(order), "batch_no": batch.batch_no}
            again = connection.execute(query("loader", "reopen_batch"), values)
            batch = found_again(connection, key)
            record_event(connection, batch, "reopened" if again.rowcount else "resumed")
        elif batch.state in {"loading", "failed"}:
            refuse_other_purpose(batch, order)
            connection.execute(query("loader", "resume_batch"), {"batch_no": batch.batch_no})
            batch = found_again(connection, key)
            record_event(connection, batch, "resumed")
    return batch


def refuse_other_batch(batch: Batch, order: Order) -> None:
    if batch.dry_run != order.dry_run:
        raise UsageError(f"key {batch.key!r} belongs to batch {batch.id}, a dry run; use another --key")
    if batch.content_hash != order.content_hash:
        raise UsageError(
            f"key {batch.key!r} belongs to batch {batch.id} ({batch.state}), whose content is another:"
            f" its SHA-256 is {shown_hash(batch.content_hash)}, this one's {shown_hash(order.content_hash)};"
            " use another --key"
        )


def refuse_other_purpose(batch: Batch, order: Order) -> None:
    """What a batch was begun for, it ends for."""
    if (batch.adds, batch.replaces) != (order.adds, order.replaces):
        meant = "--add" if batch.adds else f"--replace {batch.replaces}" if batch.replaces else "neither"
        raise UsageError(
            f"batch {batch.id} (key {batch.key!r}) is {batch.state}, and was begun with {meant} of --add and"
            " --replace; go on with it as it was begun, or withdraw it first"
        )


def shown_hash(content_hash: bytes | None) -> str:
    return "not known" if content_hash is None else content_hash.hex()


def refuse_withdrawn(batch: Batch) -> None:
    if batch.withdrawn_by is not None or batch.state == "withdrawn":
        raise UsageError(
            f"batch {batch.id} (key {batch.key!r}) was withdrawn; to load it again use another --key"
        )


def find_batch(connection: psycopg.Connection, key: str) -> Batch | None:
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(query("loader", "batch_by_key"), {"key": key}).fetchone()


def found_again(connection: psycopg.Connection, key: str) -> Batch:
    batch = find_batch(connection, key)
    if batch is None:
        raise AssertionError(f"batch {key!r} is neither new nor known")
    return batch


def record_event(
    connection: psycopg.Connection, batch: Batch | uuid.UUID, event: str, seconds: float | None = None
) -> None:
    """Adds to the life of a batch that `loader show` tells."""
    batch_id = batch.id if isinstance(batch, Batch) else batch
    values = {"batch_id": batch_id, "event": event, "seconds": seconds, "done_by": who()}
    connection.execute(query("loader", "record_event"), values)


def known_ports(connection: psycopg.Connection) -> set[str]:
    """The codes of all ports."""
    return {code for (code,) in connection.execute(query("loader", "ports"))}


def done_chunks(connection: psycopg.Connection, batch: Batch) -> dict[int, tuple[bytes, int]]:
    """Content hash and error count of each chunk that is in already."""
    rows = connection.execute(query("loader", "done_chunks"), {"batch_no": batch.batch_no})
    return {chunk_no: (content_hash, error_count) for chunk_no, content_hash, error_count in rows}


@contextmanager
def chunk_transaction(connection: psycopg.Connection) -> Generator[None]:
    """The transaction of one chunk. It does not wait for the disk: publishing does, for all of them."""
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        yield


def claim_chunk(
    connection: psycopg.Connection, batch: Batch, chunk_no: int, chunk: Chunk, *, wait: bool
) -> str:
    """Says, within the chunk's transaction, whether this is the one to do a chunk, until that ends.

    `mine`: nobody has done it, and nobody else is at it. `in`: it is in. `busy`: another load is at it, for
    which `wait` waits. Raises UsageError where other content is in already or the batch has been withdrawn,
    and LoaderError where it has been begun again.
    """
    key = {"batch_no": batch.batch_no, "chunk_no": chunk_no}
    if wait:
        connection.execute(query("loader", "wait_for_chunk"), key)
    locked = connection.execute(query("loader", "lock_chunk"), key).fetchone()
    row = connection.execute(query("loader", "claim_chunk"), key).fetchone()
    if row is None:
        raise LoaderError(f"batch {batch.id} was begun again by another load; load it again")
    state, withdrawn, content_hash = row
    if withdrawn:
        raise UsageError(f"batch {batch.id} (key {batch.key!r}) was withdrawn while it was being loaded")
    if content_hash is not None:
        refuse_other_content(batch, chunk_no, chunk, content_hash)
    if content_hash is not None or state != "loading":
        return "in"
    return "mine" if locked and locked[1] else "busy"


def write_chunk(
    connection: psycopg.Connection,
    batch: Batch,
    chunk_no: int,
    chunk: Chunk,
    checked: CheckedChunk,
    *,
    ledger_only: bool = False,
) -> None:
    """Within its transaction: the chunk's ledger row with its rows and totals, or with its faults.

    Does nothing where the chunk is in already. `ledger_only` leaves the rows out, once it is known that the
    batch will be rejected. Raises UsageError where other content is in already.
    """
    began = time.monotonic()
    key = {"batch_no": batch.batch_no, "chunk_no": chunk_no}
    counts = {"row_count": checked.row_count, "error_count": checked.error_count}
    summed = {"prices_sum": None if checked.error_count else sum_of(checked)}
    spent = {"check_seconds": checked.seconds}
    ledger_row = {**key, **counts, **summed, **spent, "content_hash": chunk.content_hash}
    if connection.execute(query("loader", "record_chunk"), ledger_row).fetchone() is None:
        for (content_hash,) in connection.execute(query("loader", "chunk_hash"), key):
            refuse_other_content(batch, chunk_no, chunk, content_hash)
        return
    if checked.error_count:
        record_errors(connection, key, checked.errors)
        record_kinds(connection, key, checked.kinds)
    elif not ledger_only:
        from loader.chunk_rows import copy_chunk  # noqa: PLC0415  # Polars, which only a chunk needs

        copy_chunk(connection, key, checked.prices)
        spent = {"write_seconds": time.monotonic() - began}
        connection.execute(query("loader", "time_chunk"), {**key, **spent})


def sum_of(checked: CheckedChunk) -> int:
    from loader.identity import prices_sum  # noqa: PLC0415  # Polars, which only a chunk needs

    return prices_sum(checked.prices)


def refuse_other_content(batch: Batch, chunk_no: int, chunk: Chunk, content_hash: bytes) -> None:
    """A file that changed while it was being loaded must not end half old and half new."""
    if chunk.content_hash != content_hash:
        raise UsageError(
            f"{chunk.file} changed since batch {batch.id} was begun: chunk {chunk_no}, from line"
            f" {chunk.first_line}, is not what went in; load the file as it is now under another --key"
        )


def record_errors(connection: psycopg.Connection, key: dict[str, int], errors: list[RowError]) -> None:
    """The first faults of a chunk."""
    rows = (
        (*key.values(), number, error.file, error.line, error.column, error.value, error.reason)
        for number, error in enumerate(errors)
    )
    copy_rows(connection, "copy_errors", rows)


def record_kinds(connection: psycopg.Connection, key: dict[str, int], kinds: Kinds) -> None:
    """Adds the faults of a chunk, by kind, to those of its batch."""
    batch = {"batch_no": key["batch_no"]}
    connection.execute(query("loader", "lock_fault_kinds"), batch)
    total = added_up(fault_kinds(connection, key["batch_no"]), of_chunk(kinds, key["chunk_no"]))
    connection.execute(query("loader", "forget_fault_kinds"), batch)
    rows = (
        (key["batch_no"], number, *kind, *found) for number, (kind, found) in enumerate(in_order(total), 1)
    )
    copy_rows(connection, "copy_fault_kinds", rows)


def fault_kinds(connection: psycopg.Connection, batch_no: int) -> Kinds:
    """All faults of a batch so far, by kind, the most frequent first."""
    rows = connection.execute(query("loader", "fault_kinds"), {"batch_no": batch_no})
    return {(column, value, reason): Found(*found) for column, value, reason, *found in rows}


def copy_rows(connection: psycopg.Connection, name: str, rows: Iterable[Sequence[object]]) -> None:
    with connection.cursor() as cursor, cursor.copy(query("loader", name)) as sink:
        for row in rows:
            sink.write_row(row)
