"""Going on with what was given up, once its cause is mended: failed batches, and the queue's dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.errors import UsageError
from loader.ledger import Batch, record_event
from loader.planned import TICKETS_MAX
from loader.withdraw import find_by_name
from storage.errors import UnknownMessage
from storage.layout import batch_of
from storage.messages import DoChunk, NewObject, PlanBatch, Work, decode
from storage.work_queue import AT_ONCE_MAX, WorkQueue

# A letter that is being moved, or looked at, is nobody else's for so long.
VISIBILITY_S = 10
RECEIVE_WAIT_S = 1  # so that all of a queue's servers are asked


@dataclass(frozen=True)
class Redriven:
    """The batches that are loading again, and how many dead letters went back to the queue."""

    batches: list[UUID]
    dead_letters: int


def redrive(
    connection: psycopg.Connection,
    queue: WorkQueue,
    name: str | None = None,
    *,
    tickets_max: int = TICKETS_MAX,
) -> Redriven:
    """Goes on with the failed batch of this id or key and its dead letters, or with all of both.

    `connection` is in autocommit. Raises UsageError where there is no such batch, or it has not failed; one
    that is loading is left as it is.
    """
    failed = failed_batches(connection) if name is None else one_failed(connection, name)
    redriven = [batch.id for batch in failed if begin_again(connection, queue, batch, tickets_max)]
    return Redriven(redriven, send_dead_letters_again(queue, None if name is None else failed[0].id))


def failed_batches(connection: psycopg.Connection) -> list[Batch]:
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(query("loader", "failed_batches")).fetchall()


def one_failed(connection: psycopg.Connection, name: str) -> list[Batch]:
    batch = find_by_name(connection, name)
    if batch is None:
        raise UsageError(f"no batch has the id or key {name!r}; `loader batches` lists them")
    if batch.state not in {"failed", "loading"}:
        raise UsageError(f"batch {batch.id} is {batch.state}; only one that has failed can be gone on with")
    if batch.state == "failed" and batch.id not in {one.id for one in failed_batches(connection)}:
        raise UsageError(f"batch {batch.id} has nothing to go on with; send its content under another key")
    return [batch]


def begin_again(connection: psycopg.Connection, queue: WorkQueue, batch: Batch, tickets_max: int) -> bool:
    """Sets a batch loading with all its tries before it; False where it has not failed.

    Its messages follow the commit: without them workers find what is left by themselves, only later.
    """
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        if not connection.execute(query("loader", "resume_batch"), key).rowcount:
            return False
        connection.execute(query("loader", "forget_plan_attempts"), key)
        chunks = connection.execute(query("loader", "forget_chunk_attempts"), key).fetchall()
        record_event(connection, batch, "redriven")
    tickets = [DoChunk(batch.id, chunk_no) for (chunk_no,) in chunks[:tickets_max]]
    works: list[Work] = [PlanBatch(batch.id), *tickets]
    queue.send(works)
    return True


def send_dead_letters_again(queue: WorkQueue, batch: UUID | None) -> int:
    """Those of a batch, or all of them; returns how many. Of all, those go too that nobody knows what to do
    with; those of other batches are seen again after VISIBILITY_S."""
    dead_letters, count = queue.dead_letters, 0
    others: set[str] = set()
    again = False  # so many are left that the first come round again before the last
    while not again and (
        letters := dead_letters.receive(AT_ONCE_MAX, wait_s=RECEIVE_WAIT_S, visibility_s=VISIBILITY_S)
    ):
        for letter in letters:
            if batch is None or is_of(letter.body, batch):
                dead_letters.move(letter, queue)
                count += 1
            else:
                again |= letter.message_id in others
                others.add(letter.message_id)
    return count


def is_of(body: str, batch: UUID) -> bool:
    """Whether a message is for this batch alone."""
    try:
        works = decode(body)
    except UnknownMessage:
        return False
    return {batch_of(work.key) if isinstance(work, NewObject) else work.batch for work in works} == {batch}
