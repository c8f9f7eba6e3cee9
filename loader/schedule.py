"""Which chunk is next, and all that is done with it: claimed, read, checked, written, and the batch ended.

`plan` has written down what there is to do, `work` calls this for each ticket it takes. A claim is a lock of
the session: whoever dies lets go of it at once, and the next one finds the chunk as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from database.queries import query
from loader.check import CheckedChunk, Ports, check
from loader.chunks import Chunk
from loader.content import decode_content
from loader.errors import LoaderError, Stopped, one_line
from loader.ledger import Batch, chunk_transaction, claim_chunk, known_ports, write_chunk
from loader.planned import PlannedChunk, read_chunk
from loader.publish import Ending, end_batch
from storage.bucket import Bucket
from telemetry.log import bound, get_logger
from telemetry.metrics import Unit, emit

COUNTED = ("published", "rejected")  # as metrics
BATCH_COLUMNS = tuple(field.name for field in fields(Batch) if field.name != "batch_no")

log = get_logger("rates.schedule")


# --- which one ----------------------------------------------------------------------------------------------


def next_chunk(connection: psycopg.Connection, *, fair: bool) -> PlannedChunk | None:
    """The chunk that is to be done next, claimed until `release` and with this try counted; None where there
    is none that nobody else is at.

    By deadline first, then of the batch that has come least far; `fair` picks go by the latter alone.
    `connection` is in autocommit.
    """
    while True:
        claimed = connection.execute(query("loader", "next_chunk"), {"fair": fair}).fetchone()
        if claimed is None:
            return None
        batch_no, chunk_no = claimed
        planned = begin_chunk(connection, batch_no, chunk_no)
        if planned is not None:
            return planned
        release_key(connection, batch_no, chunk_no)  # done since it was looked for


def begin_chunk(connection: psycopg.Connection, batch_no: int, chunk_no: int) -> PlannedChunk | None:
    key = {"batch_no": batch_no, "chunk_no": chunk_no}
    with chunk_transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("loader", "begin_chunk"), key).fetchone()
    if row is None:
        return None
    batch = Batch(batch_no, **{name: row.pop(name) for name in BATCH_COLUMNS})
    content = decode_content(row.pop("content"))
    return PlannedChunk(batch=batch, chunk_no=chunk_no, content=content, **row)


def release(connection: psycopg.Connection, planned: PlannedChunk) -> None:
    """Lets others at it, if it is still to be done."""
    release_key(connection, planned.batch.batch_no, planned.chunk_no)


def release_key(connection: psycopg.Connection, batch_no: int, chunk_no: int) -> None:
    connection.execute(query("loader", "release_chunk"), {"batch_no": batch_no, "chunk_no": chunk_no})


def take_back_attempt(connection: psycopg.Connection, planned: PlannedChunk) -> None:
    """This try was cut short by what is no fault of the chunk's."""
    connection.execute(query("loader", "take_back_attempt"), key_of(planned))


def record_failure(connection: psycopg.Connection, planned: PlannedChunk, error: Exception) -> str:
    """Writes down what this try ended with; returns it."""
    failure = one_line(error)
    connection.execute(query("loader", "record_failure"), {**key_of(planned), "failure": failure})
    return failure


def key_of(planned: PlannedChunk) -> dict[str, int]:
    return {"batch_no": planned.batch.batch_no, "chunk_no": planned.chunk_no}


# --- doing it -----------------------------------------------------------------------------------------------


def do_chunk(connection: psycopg.Connection, bucket: Bucket, planned: PlannedChunk) -> None:
    """Puts a claimed chunk in, with its faults if it has any, in one transaction; does nothing where it is in
    already, or its batch has ended meanwhile.

    Raises ObjectMissing and ObjectChanged where the content is no longer what was planned, LoaderError where
    other content is in, and StorageUnavailable.
    """
    chunk = read_chunk(bucket, planned)
    began = time.monotonic()
    try:
        with chunk_transaction(connection):
            checked = put_in(connection, planned, chunk)
    except LoaderError as error:
        if goes_on(connection, planned.batch):
            raise
        log.info("chunk not needed", reason=str(error))
        return
    if checked is not None:
        tell_written(checked, write_s=time.monotonic() - began - checked.seconds)


def put_in(connection: psycopg.Connection, planned: PlannedChunk, chunk: Chunk) -> CheckedChunk | None:
    """Within the chunk's transaction: what it is checked to be, and off the plan; None where it is in. Of a
    batch that was given up it stays on the plan, for `loader redrive`."""
    batch, chunk_no = planned.batch, planned.chunk_no
    checked = None
    if claim_chunk(connection, batch, chunk_no, chunk, wait=False) == "mine":
        places = {port.code for port in planned.content.places.ports}
        checked = check(chunk, Ports(known_ports(connection) | places))
        # Once a fault is known the rest is only checked, so that all bad rows are told.
        ledger_only = batch.dry_run or is_faulty(connection, batch)
        write_chunk(connection, batch, chunk_no, chunk, checked, ledger_only=ledger_only)
    connection.execute(query("loader", "forget_planned_chunk"), key_of(planned))
    return checked


def goes_on(connection: psycopg.Connection, batch: Batch) -> bool:
    """Whether it is still loading, and nobody wants it back."""
    return is_so(connection, batch, "goes_on")


def is_faulty(connection: psycopg.Connection, batch: Batch) -> bool:
    return is_so(connection, batch, "is_faulty")


def is_so(connection: psycopg.Connection, batch: Batch, question: str) -> bool:
    row = connection.execute(query("loader", question), {"batch_no": batch.batch_no}).fetchone()
    return row is not None and row[0]


def tell_written(checked: CheckedChunk, *, write_s: float) -> None:
    emit(
        "chunk written",
        {
            "chunk_rows": (checked.row_count, "Count"),
            "chunk_check_seconds": (round(checked.seconds, 3), "Seconds"),
            "chunk_write_seconds": (round(write_s, 3), "Seconds"),
        },
        error_count=checked.error_count,
    )


# --- a batch ------------------------------------------------------------------------------------------------


def undecided_batches(connection: psycopg.Connection) -> list[Batch]:
    """Those whose chunks are all in, and whose last worker did not live to end them."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(query("loader", "undecided_batches")).fetchall()


def more_than_tickets(connection: psycopg.Connection, tickets_max: int) -> bool:
    """Whether there are chunks that no ticket was sent for."""
    found = connection.execute(query("loader", "more_than_tickets"), {"tickets_max": tickets_max}).fetchone()
    return found == (True,)


def unplanned_batches(connection: psycopg.Connection) -> list[UUID]:
    """Those whose plan is not complete, whether or not somebody is at it."""
    return [batch for (batch,) in connection.execute(query("loader", "unplanned_batches"))]


def end_if_done(
    connection: psycopg.Connection, batch: Batch, stop: Callable[[], bool] = lambda: False
) -> Ending | None:
    """Ends a batch of which nothing is left to do; None while something is, or where it has ended.

    Whoever has done its last chunk asks, and whoever has planned it: one of them is the last to ask.
    Raises LoaderError where the ledger does not have the chunks that were planned, and Stopped.
    """
    done = connection.execute(query("loader", "done_plan"), {"batch_no": batch.batch_no}).fetchone()
    if done is None:
        return None
    chunk_count, content, request_id, age_s = done
    began = time.monotonic()
    with bound(batch=batch.id, request_id=request_id):
        try:
            read = decode_content(content)
            ending = end_batch(
                connection,
                batch,
                chunk_count=chunk_count,
                places=read.places,
                from_dump=read.from_dump,
                stop=stop,
            )
        except Stopped:
            raise
        except LoaderError as error:
            if goes_on(connection, batch):
                raise
            log.info("batch not ended", reason=str(error))
            return None
        if ending.first:
            tell_ended(ending, age_s=age_s, publish_s=time.monotonic() - began)
    return ending


def tell_ended(ending: Ending, *, age_s: float, publish_s: float) -> None:
    figures: dict[str, tuple[float, Unit]] = {"batch_seconds": (round(age_s, 3), "Seconds")}
    if ending.state in COUNTED:
        figures[f"batches_{ending.state}"] = (1, "Count")
    if ending.state == "published":
        figures["publish_seconds"] = (round(publish_s, 3), "Seconds")
    emit(f"batch {ending.state}", figures, rows=ending.row_count, error_count=ending.error_count)
