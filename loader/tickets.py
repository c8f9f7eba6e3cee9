"""What each message asks for, and what is to be done without one: `work` calls this in its slots.

Everything here may be done twice, at once or late: the ledger says what is left of it to do.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Literal
from uuid import UUID

import psycopg

from database.connect import translated_errors
from database.errors import DatabaseUnavailable, SchemaMissing
from loader.accepted import accepted_batch, find_accepted, open_accepted
from loader.errors import LoaderError, Stopped, UsageError, one_line
from loader.ledger import Batch
from loader.plan import plan_batch
from loader.planned import ATTEMPTS_MAX, TICKETS_MAX, PlannedChunk, forget_chunk_objects
from loader.publish import give_up
from loader.schedule import (
    do_chunk,
    end_if_done,
    more_than_tickets,
    next_chunk,
    record_failure,
    release,
    take_back_attempt,
    undecided_batches,
    unplanned_batches,
)
from loader.stopping import Stop
from loader.withdraw import find_by_name, withdraw
from storage.bucket import Bucket
from storage.errors import ObjectChanged, ObjectMissing, StorageError, StorageUnavailable
from storage.layout import manifest_key
from storage.manifest import Manifest
from storage.messages import DoChunk, NewObject, PlanBatch, WithdrawBatch, Work
from storage.work_queue import WorkQueue
from telemetry.log import bound, get_logger
from telemetry.metrics import emit

# Of so many picks one goes by fairness alone, so that batches with deadlines do not hold up all the others.
FAIR_EVERY = 4
# A chunk that failed is tried again after 1, 2, 4 … times so long; meanwhile nobody else tries it either.
FAILURE_PAUSE_S = 1.0
# Nobody's fault: they pass, and a try that they cut short counts as none.
AWAY = (DatabaseUnavailable, SchemaMissing, StorageUnavailable)

log = get_logger("rates.work")


@dataclass
class Tickets:
    """Threads share it, each with a connection of its own, in autocommit. All of it raises what AWAY lists.

    `done` counts chunks.
    """

    bucket: Bucket
    queue: WorkQueue
    stop: Stop
    planners: threading.Semaphore  # as many as may plan while there are chunks to be done
    tickets_max: int = TICKETS_MAX  # of a batch
    done: Counter[str] = field(default_factory=Counter)
    picks: Iterator[int] = field(default_factory=count)
    owed: deque[PlannedChunk] = field(default_factory=deque)  # whose last try has to be taken back

    def do(self, connection: psycopg.Connection, work: Work) -> bool:
        """Does what a message asks for; False where there is still something to do for it. Raises Stopped."""
        match work:
            case DoChunk():
                done = self.do_next_chunk(connection)
                return done == "none" or (
                    done == "done" and not more_than_tickets(connection, self.tickets_max)
                )
            case NewObject(key):
                return self.plan_in_turn(connection, find_accepted(self.bucket, key))
            case PlanBatch(batch):
                return self.plan_in_turn(connection, find_accepted(self.bucket, manifest_key(batch)))
            case WithdrawBatch(batch, by):
                self.withdraw(connection, batch, by)
        return True

    def do_what_is_left(self, connection: psycopg.Connection) -> bool:
        """What was planned and whose message was lost, a chunk at a time; False where there was none.

        Where there is none, batches whose planner or last worker died are gone on with. Raises Stopped.
        """
        if self.do_next_chunk(connection) != "none":
            return True
        for batch in unplanned_batches(connection):
            if not self.plan_in_turn(connection, accepted_batch(self.bucket, batch)):
                return True
        return False

    # --- a chunk -------------------------------------------------------------------------------------------

    def do_next_chunk(self, connection: psycopg.Connection) -> Literal["none", "done", "failed"]:
        """The chunk that is next by now, and the end of its batch, if it was the last one of it."""
        if self.stop.is_set():
            raise Stopped("before a chunk")
        self.pay_owed(connection)
        planned = next_chunk(connection, fair=next(self.picks) % FAIR_EVERY == FAIR_EVERY - 1)
        if planned is None:
            for batch in undecided_batches(connection):
                self.end(connection, batch)
            return "none"
        with bound(batch=planned.batch.id, chunk=planned.chunk_no, request_id=planned.request_id):
            try:
                done = self.do_claimed(connection, planned)
            finally:
                with suppress(psycopg.Error):  # a connection that broke has let go of it
                    release(connection, planned)
        self.end(connection, planned.batch)
        return "done" if done else "failed"

    def do_claimed(self, connection: psycopg.Connection, planned: PlannedChunk) -> bool:
        """False where it failed, and has been kept from all others for a while."""
        if planned.attempts > ATTEMPTS_MAX:
            ended_with = planned.failure or "no worker lived to see its end"
            self.give_up_for(connection, planned, f"was tried {ATTEMPTS_MAX} times: {ended_with}")
            return True
        try:
            with translated_errors():
                do_chunk(connection, self.bucket, planned)
        except AWAY as error:
            self.owed.append(planned)
            if isinstance(error, StorageUnavailable):  # the database may be there
                self.pay_owed(connection)
            raise
        except (ObjectMissing, ObjectChanged) as error:
            self.give_up_for(connection, planned, f"cannot be read: {error}")
        except Exception as error:
            return self.failed(connection, planned, error)
        else:
            self.done["chunks"] += 1
        return True

    def failed(self, connection: psycopg.Connection, planned: PlannedChunk, error: Exception) -> bool:
        """After a try that ended with what nobody expected; False where there will be another one."""
        log.exception("chunk failed", attempts=planned.attempts)
        failure = record_failure(connection, planned, error)
        if planned.attempts >= ATTEMPTS_MAX:
            self.give_up_for(connection, planned, f"was tried {ATTEMPTS_MAX} times: {failure}")
            return True
        self.stop.wait(FAILURE_PAUSE_S * 2 ** (planned.attempts - 1))
        return False

    def pay_owed(self, connection: psycopg.Connection) -> None:
        with suppress(IndexError):
            while planned := self.owed.popleft():
                try:
                    take_back_attempt(connection, planned)
                except psycopg.Error:
                    self.owed.append(planned)
                    raise

    # --- a batch -------------------------------------------------------------------------------------------

    def plan_in_turn(self, connection: psycopg.Connection, manifest: Manifest | None) -> bool:
        """Plans a batch, unless all slots but one are planning and there are chunks to be done: then it does
        one of those, and the batch is still to be planned. Large batches would keep all others waiting."""
        in_turn = self.planners.acquire(blocking=False)
        try:
            if not in_turn and self.do_next_chunk(connection) != "none":
                return False
            self.plan(connection, manifest)
        finally:
            if in_turn:
                self.planners.release()
        return True

    def plan(self, connection: psycopg.Connection, manifest: Manifest | None) -> None:
        """Cuts a batch, or what is not cut of it yet; nothing where there is none, or nothing of it."""
        if manifest is None:
            return
        with bound(batch=manifest.batch, request_id=manifest.request_id):
            batch = plan_batch(
                connection,
                self.bucket,
                manifest,
                send=self.send_tickets,
                stop=self.stop.is_set,
                given_up=lambda reason: self.tell_given_up(PlanBatch(manifest.batch), reason),
            )
            if batch is not None:
                self.end(connection, batch)

    def send_tickets(self, chunks: list[DoChunk]) -> None:
        """For the first chunks of a batch; those of its others are the same ones, put back."""
        self.queue.send([chunk for chunk in chunks if chunk.chunk < self.tickets_max])

    def end(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Ends a batch if all of it is done. One that cannot be ended is given up: whoever finds nothing else
        to do would meet it first, again and again."""
        try:
            with translated_errors():
                ending = end_if_done(connection, batch, self.stop.is_set)
        except (*AWAY, Stopped):
            raise
        except LoaderError as error:
            self.give_up(connection, batch, PlanBatch(batch.id), str(error))
            return
        except Exception as error:
            log.exception("batch not ended")
            reason = f"could not be ended: {one_line(error)}"
            self.give_up(connection, batch, PlanBatch(batch.id), reason)
            return
        if ending is not None:
            self.forget_objects(batch.id)

    def give_up_for(self, connection: psycopg.Connection, planned: PlannedChunk, reason: str) -> None:
        """For the sake of a chunk."""
        work = DoChunk(planned.batch.id, planned.chunk_no)
        self.give_up(connection, planned.batch, work, f"chunk {planned.chunk_no} {reason}")

    def give_up(self, connection: psycopg.Connection, batch: Batch, work: Work, reason: str) -> None:
        """Ends a batch that cannot be gone on with, where people see it; `loader redrive` goes on with it."""
        if give_up(connection, batch, reason):
            self.tell_given_up(work, reason)

    def tell_given_up(self, work: Work, reason: str) -> None:
        log.error("batch given up", reason=reason)
        emit("batch failed", {"batches_failed": (1, "Count")})
        try:
            self.queue.send_dead_letter(work, reason)
        except StorageError as error:
            log.error("dead letter not sent", error=str(error))

    def forget_objects(self, batch: UUID) -> None:
        try:
            forget_chunk_objects(self.bucket, batch)
        except StorageError as error:  # the bucket's own rules do it in the end
            log.warning("chunk objects not deleted", error=str(error))

    def withdraw(self, connection: psycopg.Connection, batch: UUID, by: str) -> None:
        """Takes a batch back, and one that is not begun yet before it is."""
        with bound(batch=batch):
            try:
                if find_by_name(connection, str(batch)) is None:
                    self.open_unknown(connection, batch)
                withdrawal = withdraw(connection, str(batch), by=by, stop=self.stop.is_set)
            except UsageError as error:
                log.warning("batch not withdrawn", reason=str(error), by=by)
                return
            if not withdrawal.repeat:
                log.info("batch withdrawn", rows=withdrawal.rows, by=by)
            self.forget_objects(batch)

    def open_unknown(self, connection: psycopg.Connection, batch: UUID) -> None:
        """So that there is something to withdraw, whenever the content comes."""
        manifest = accepted_batch(self.bucket, batch)
        if manifest is not None:
            open_accepted(connection, manifest)
