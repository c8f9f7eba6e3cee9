"""The last stage: ends a batch, whole or not at all, in one short transaction.

Readers count published batches only, so flipping one row shows all of it at once, whatever its size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import psycopg

from database.queries import query
from loader.errors import LoaderError, RowError
from loader.ledger import Batch, record_event, refuse_withdrawn

ERRORS_SHOWN = 1_000


@dataclass(frozen=True)
class Region:
    slug: str
    name: str
    parent_slug: str | None


@dataclass(frozen=True)
class Port:
    code: str
    name: str
    parent_slug: str


@dataclass(frozen=True)
class Places:
    """Regions and ports that an import brings; they become true together with its prices."""

    regions: list[Region] = field(default_factory=list)
    ports: list[Port] = field(default_factory=list)


@dataclass(frozen=True)
class Ending:
    """How a batch ended. `errors` are its first ERRORS_SHOWN faults, `error_count` all of them.

    `first` says that this call ended it, and none before.
    """

    state: str
    row_count: int
    error_count: int
    errors: list[RowError]
    first: bool


def end_batch(connection: psycopg.Connection, batch: Batch, *, chunk_count: int, places: Places) -> Ending:
    """Publishes the batch if its chunks are all in and clean, rejects it if one is not clean; a dry run whose
    chunks are clean is valid, and changes no answer.

    Safe to call by several at once: the first one ends the batch, the others learn how. Raises LoaderError
    where chunks are missing, UsageError where the batch was withdrawn meanwhile.
    """
    # Chunks do not wait for the disk, this does: what they left to write is then none of the publisher's.
    record_event(connection, batch, "loaded")
    began = time.monotonic()
    with connection.transaction():
        ending = decide(connection, batch, chunk_count=chunk_count, places=places)
    if ending.first:
        spent = {"batch_id": batch.id, "event": ending.state, "seconds": time.monotonic() - began}
        connection.execute(query("loader", "time_event"), spent)
    return ending


def decide(connection: psycopg.Connection, batch: Batch, *, chunk_count: int, places: Places) -> Ending:
    """What is done and told within the transaction."""
    key = {"batch_no": batch.batch_no}
    tally = connection.execute(query("loader", "tally_batch"), key).fetchone()
    if tally is None:
        raise LoaderError(f"batch {batch.id} is no longer in the ledger")
    state, withdrawn, chunks_in, row_count, error_count = tally
    if withdrawn:
        refuse_withdrawn(replace(batch, state="withdrawn"))
    was_loading = state == "loading"
    if was_loading:
        if chunks_in != chunk_count:
            raise LoaderError(f"batch {batch.id} has {chunks_in} of {chunk_count} chunks; load it again")
        state = "rejected" if error_count else "valid" if batch.dry_run else "published"
        if state == "published":
            upsert_places(connection, places)
            connection.execute(query("loader", "post"), {"posting_no": batch.batch_no})
            connection.execute(query("loader", "raise_version"))
        elif state == "rejected":
            connection.execute(query("loader", "discard"), key)
        ending = {"state": state, "chunk_count": chunk_count, "error_count": error_count, "failure": None}
        rows_in = 0 if state == "rejected" else row_count
        connection.execute(query("loader", "end_batch"), {**key, **ending, "row_count": rows_in})
        connection.execute(query("loader", "forget_plan"), key)
        record_event(connection, batch, state)
    rows_in = 0 if state == "rejected" else row_count
    errors = first_errors(connection, batch.batch_no) if error_count else []
    return Ending(state, rows_in, error_count, errors, first=was_loading)


def give_up(connection: psycopg.Connection, batch: Batch, reason: str) -> bool:
    """Ends a batch that cannot be gone on with, for a reason that may be mended; what is in of it stays.

    False where it has ended already, however.
    """
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        tally = connection.execute(query("loader", "tally_batch"), key).fetchone()
        if tally is None or tally[0] != "loading":
            return False
        _, _, chunk_count, row_count, error_count = tally
        counts = {"chunk_count": chunk_count, "row_count": row_count, "error_count": error_count}
        ending = {**key, **counts, "state": "failed", "failure": reason}
        connection.execute(query("loader", "end_batch"), ending)
        record_event(connection, batch, "failed")
    return True


def first_errors(connection: psycopg.Connection, batch_no: int) -> list[RowError]:
    """The first ERRORS_SHOWN faults of a batch, in the order of its lines."""
    found = connection.execute(query("loader", "batch_errors"), {"batch_no": batch_no, "limit": ERRORS_SHOWN})
    return [RowError(*row) for row in found]


def upsert_places(connection: psycopg.Connection, places: Places) -> None:
    """New ones go in, known ones take the new name and place; the closure follows by trigger."""
    if places.regions:
        connection.execute(
            query("loader", "upsert_regions"),
            {
                "slugs": [region.slug for region in places.regions],
                "names": [region.name for region in places.regions],
                "parent_slugs": [region.parent_slug for region in places.regions],
            },
        )
    if places.ports:
        connection.execute(
            query("loader", "upsert_ports"),
            {
                "codes": [port.code for port in places.ports],
                "names": [port.name for port in places.ports],
                "parent_slugs": [port.parent_slug for port in places.ports],
            },
        )
