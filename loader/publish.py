"""The last stage: ends a batch, whole or not at all, in one short transaction.

Readers count published batches only, so flipping one row shows all of it at once, whatever its size.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg

from database.queries import query
from loader.errors import ErrorKind, LoaderError, RowError
from loader.identity import whole_sum
from loader.kinds import Found, error_kinds
from loader.ledger import (
    Batch,
    fault_kinds,
    record_errors,
    record_event,
    record_kinds,
    refuse_withdrawn,
)
from loader.others import Other, Refused, refused_for_others, take_place
from loader.places import Places, upsert_places
from loader.withdraw import Unreversed, write_reversal

ERRORS_SHOWN = 1_000


@dataclass(frozen=True)
class Ending:
    """How a batch ended. `errors` are its first ERRORS_SHOWN faults, `error_count` all of them, and
    `error_kinds` those by kind.

    `first` says that this call ended it, and none before; `same` is the batch that has its prices already.
    """

    state: str
    row_count: int
    error_count: int
    errors: list[RowError]
    error_kinds: list[ErrorKind]
    first: bool
    same: Other | None = None


def end_batch(
    connection: psycopg.Connection,
    batch: Batch,
    *,
    chunk_count: int,
    places: Places,
    from_dump: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Ending:
    """Publishes the batch if its chunks are all in and clean, rejects it if one is not clean; a dry run whose
    chunks are clean is valid, and changes no answer. A batch that it replaces goes out in the same moment.

    Safe to call by several at once: the first one ends the batch, the others learn how. Raises LoaderError
    where chunks are missing, UsageError where the batch was withdrawn meanwhile, and Stopped while the
    reversal of the one it replaces is written.
    """
    # Chunks do not wait for the disk, this does: what they left to write is then none of the publisher's.
    record_event(connection, batch, "loaded")
    brought = Brought(chunk_count, places, from_dump)
    while True:
        began = time.monotonic()
        try:
            with connection.transaction():
                ending = decide(connection, batch, brought)
            break
        except Unreversed as replaced:
            write_reversal(connection, replaced.batch, stop)
    if ending.first:
        spent = {"batch_id": batch.id, "event": ending.state, "seconds": time.monotonic() - began}
        connection.execute(query("loader", "time_event"), spent)
    return ending


@dataclass(frozen=True)
class Brought:
    """What a batch is meant to bring, as the one knows who has cut it."""

    chunk_count: int
    places: Places
    from_dump: bool


def decide(connection: psycopg.Connection, batch: Batch, brought: Brought) -> Ending:
    """What is done and told within the transaction."""
    key = {"batch_no": batch.batch_no}
    tally = connection.execute(query("loader", "tally_batch"), key).fetchone()
    if tally is None:
        raise LoaderError(f"batch {batch.id} is no longer in the ledger")
    state, withdrawn, chunks_in, row_count, error_count, chunks_sum, source = tally
    if withdrawn:
        refuse_withdrawn(replace(batch, state="withdrawn"))
    if state != "loading":
        return told(connection, batch, state, row_count, error_count)
    if chunks_in != brought.chunk_count:
        raise LoaderError(f"batch {batch.id} has {chunks_in} of {brought.chunk_count} chunks; load it again")
    prices_sum, refused = None if chunks_sum is None else whole_sum(int(chunks_sum)), None
    state = "rejected" if error_count else "valid" if batch.dry_run else "published"
    if state == "published":
        refused = publish(connection, batch, brought, prices_sum, row_count)
        if refused is not None:
            state, error_count = "rejected", 1
            record_refusal(connection, {**key, "chunk_no": 0}, source, refused.reason)
    if state == "rejected":
        connection.execute(query("loader", "discard"), key)
    counts = {"row_count": 0 if state == "rejected" else row_count, "error_count": error_count}
    known = {"chunk_count": brought.chunk_count, "from_dump": brought.from_dump, "prices_sum": prices_sum}
    ending = {"state": state, "failure": None, **counts, **known}
    connection.execute(query("loader", "end_batch"), {**key, **ending})
    connection.execute(query("loader", "tell_end"), key)
    connection.execute(query("loader", "forget_plan"), key)
    record_event(connection, batch, state)
    return replace(
        told(connection, batch, state, row_count, error_count), first=True, same=refused and refused.same
    )


def record_refusal(connection: psycopg.Connection, key: dict[str, int], source: str, reason: str) -> None:
    """As a fault of the batch as a whole."""
    record_errors(connection, key, [RowError(source, 1, None, None, reason)])
    record_kinds(connection, key, {(None, None, reason): Found(1, source, [1], [])})


def told(
    connection: psycopg.Connection, batch: Batch, state: str, row_count: int, error_count: int
) -> Ending:
    errors = first_errors(connection, batch.batch_no) if error_count else []
    kinds = error_kinds(fault_kinds(connection, batch.batch_no)) if error_count else []
    rows_in = 0 if state == "rejected" else row_count
    return Ending(state, rows_in, error_count, errors, kinds, first=False)


def publish(
    connection: psycopg.Connection, batch: Batch, brought: Brought, prices_sum: int | None, row_count: int
) -> Refused | None:
    """Makes the batch count, and the one that it replaces count no more; or says why not, and does nothing.

    Raises Unreversed.
    """
    connection.execute(query("loader", "lock_publishing"))
    places = brought.places if brought.from_dump else None
    refused = refused_for_others(connection, batch, prices_sum, row_count, places)
    if refused is None and batch.replaces is not None:
        refused = take_place(connection, batch)
    if refused is None:
        upsert_places(connection, brought.places)
        connection.execute(query("loader", "post"), {"posting_no": batch.batch_no})
        connection.execute(query("loader", "raise_version"))
    return refused


def give_up(connection: psycopg.Connection, batch: Batch, reason: str) -> bool:
    """Ends a batch that cannot be gone on with, for a reason that may be mended; what is in of it stays.

    False where it has ended already, however.
    """
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        tally = connection.execute(query("loader", "tally_batch"), key).fetchone()
        if tally is None or tally[0] != "loading":
            return False
        _, _, chunk_count, row_count, error_count, *_ = tally
        counts = {"chunk_count": chunk_count, "row_count": row_count, "error_count": error_count}
        known = {"from_dump": False, "prices_sum": None}
        ending = {**key, **counts, **known, "state": "failed", "failure": reason}
        connection.execute(query("loader", "end_batch"), ending)
        connection.execute(query("loader", "tell_end"), key)
        record_event(connection, batch, "failed")
    return True


def first_errors(connection: psycopg.Connection, batch_no: int) -> list[RowError]:
    """The first ERRORS_SHOWN faults of a batch, in the order of its lines."""
    found = connection.execute(query("loader", "batch_errors"), {"batch_no": batch_no, "limit": ERRORS_SHOWN})
    return [RowError(*row) for row in found]
