"""Taking a batch back: out of every answer in one short transaction, its rows thrown away afterwards.

A batch that is not folded yet loses its posting, and that is all. One that is, or partly, is taken back by
its reversal: the same totals below zero, counted again from its prices a chunk at a time, which no reader
sees until the one transaction that makes them count. Any worker can go on with one that was cut short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from database.batch_states import NOTHING_IN
from database.queries import query
from loader.errors import Stopped, UsageError
from loader.ledger import Batch, record_event, who

POLL_S = 0.05


@dataclass(frozen=True)
class Withdrawal:
    """A batch that counts no more; `repeat` says that it did not before this call."""

    batch: UUID
    state: str
    rows: int
    seconds: float
    repeat: bool = False


def withdraw(
    connection: psycopg.Connection,
    name: str,
    *,
    by: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Withdrawal:
    """Takes back the batch of this id or key, published or still loading, as `by` (this process) wants it.

    `connection` is in autocommit. Raises UsageError where there is no such batch, or it was rejected, and
    Stopped where it was stopped first: then any worker goes on with it.
    """
    began = time.monotonic()
    batch = find_by_name(connection, name)
    if batch is None:
        raise UsageError(f"no batch has the id or key {name!r}; `loader batches` lists them")
    if batch.state in NOTHING_IN:
        what = NOTHING_IN[batch.state]
        raise UsageError(f"batch {batch.id} {what}: none of its rows is in, there is nothing to withdraw")
    repeat = batch.state == "withdrawn"
    if not repeat:
        if not ask(connection, batch, by):
            # It was rejected, or begun again, since it was found.
            return withdraw(connection, name, by=by, stop=stop)
        if not carry_out(connection, batch, stop):
            raise Stopped(f"the withdrawal of batch {batch.id} was stopped; a worker goes on with it")
    seconds = round(time.monotonic() - began, 3)
    return Withdrawal(batch.id, "withdrawn", batch.row_count, seconds, repeat)


def carry_out_all(connection: psycopg.Connection, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Carries out what was asked for and cut short, in steps between which it may be stopped.

    Returns how many batches it took back.
    """
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        asked = cursor.execute(query("loader", "asked_withdrawals")).fetchall()
    return sum(carry_out(connection, batch, stop) for batch in asked)


def find_by_name(connection: psycopg.Connection, name: str) -> Batch | None:
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(query("loader", "batch_by_name"), {"name": name}).fetchone()


def ask(connection: psycopg.Connection, batch: Batch, by: str | None = None) -> bool:
    """Says for all to see that the batch is to be taken back, and by whom (this process); False where it can
    be no more."""
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        connection.execute(query("loader", "lock_batch"), key)
        values = {**key, "done_by": by or who()}
        asked = connection.execute(query("loader", "ask_withdrawal"), values).fetchone()
        if asked is not None:
            record_event(connection, batch, "withdrawal asked for")
    return asked is not None


class Unreversed(Exception):
    """A batch cannot be taken out before its reversal is written."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(f"batch {batch.id}")
        self.batch = batch


def carry_out(connection: psycopg.Connection, batch: Batch, stop: Callable[[], bool] = lambda: False) -> bool:
    """Takes out what was asked for; False where it was stopped before."""
    while True:
        try:
            take_out(connection, batch)
            return True
        except Unreversed:
            try:
                write_reversal(connection, batch, stop)
            except Stopped:
                return False


def take_out(connection: psycopg.Connection, batch: Batch) -> None:
    """The transaction that ends it. Raises Unreversed, with nothing changed."""
    began = time.monotonic()
    with connection.transaction():
        state = connection.execute(query("loader", "hold_batch"), {"batch_no": batch.batch_no}).fetchone()
        if state not in {("loading",), ("failed",), ("published",)}:
            return  # another was first
        if state == ("published",):
            take_out_of_answers(connection, batch)
            connection.execute(query("loader", "raise_version"))
        bury(connection, batch)
        record_event(connection, batch, "withdrawn")
    spent = {"batch_id": batch.id, "event": "withdrawn", "seconds": time.monotonic() - began}
    connection.execute(query("loader", "time_event"), spent)


def take_out_of_answers(connection: psycopg.Connection, batch: Batch) -> None:
    """Within a transaction that holds a published batch: its totals count no more. Raises Unreversed."""
    if connection.execute(query("loader", "unpost"), {"posting_no": batch.batch_no}).fetchone() is None:
        if unreversed_chunks(connection, batch):
            raise Unreversed(batch)
        connection.execute(query("loader", "post"), {"posting_no": -batch.batch_no})


def bury(
    connection: psycopg.Connection, batch: Batch, *, by: str | None = None, replaced_by: UUID | None = None
) -> None:
    """Within that transaction: the ledger's word that it counts no more, and its rows to be thrown away."""
    key = {"batch_no": batch.batch_no}
    values = {**key, "done_by": by, "replaced_by": replaced_by}
    connection.execute(query("loader", "set_withdrawn"), values)
    connection.execute(query("loader", "tell_end"), key)
    connection.execute(query("loader", "forget_plan"), key)
    connection.execute(query("loader", "discard"), key)


def write_reversal(connection: psycopg.Connection, batch: Batch, stop: Callable[[], bool]) -> None:
    """Writes what is left of a batch's reversal, shared out with all who do. Raises Stopped."""
    connection.execute(query("loader", "summarize_prices"))
    while unreversed_chunks(connection, batch):
        if stop():
            raise Stopped(f"the reversal of batch {batch.id} was stopped; a worker goes on with it")
        if not reverse_chunk(connection, batch):
            time.sleep(POLL_S)  # another is at the last ones


def unreversed_chunks(connection: psycopg.Connection, batch: Batch) -> int:
    """How many still have no reversal, those that another is at included."""
    row = connection.execute(query("loader", "unreversed"), {"batch_no": batch.batch_no}).fetchone()
    return row[0] if row else 0


def reverse_chunk(connection: psycopg.Connection, batch: Batch) -> bool:
    """Writes the reversal of one chunk, unseen; False where none is left that nobody is at."""
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        chunk = connection.execute(query("loader", "next_unreversed"), key).fetchone()
        if chunk is None:
            return False
        connection.execute(query("loader", "reverse_chunk"), {**key, "chunk_no": chunk[0]})
    return True
