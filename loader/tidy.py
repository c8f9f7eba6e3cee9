"""Behind the chunks, in a thread of its own: what nobody waits for, and what nobody else would notice.

Every few seconds it ends withdrawals that were cut short, folds the totals of published batches into the
base, throws away rows that count no more, and notes which batches will be late. Every few minutes one of all
workers compares bucket and ledger: a batch whose event was lost is planned all the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from uuid import UUID

import psycopg

from database.queries import query
from loader.compact import fold_all
from loader.deadlines import note_late
from loader.discard import discard_all
from loader.stopping import Stop
from loader.withdraw import carry_out_all
from storage.bucket import Bucket
from storage.errors import StorageError
from storage.layout import BATCHES, batch_of, manifest_key
from storage.messages import PlanBatch
from storage.work_queue import WorkQueue
from telemetry.log import get_logger

SWEEP_S = 300.0
SWEEP_AGAIN_S = 30.0  # where the bucket could not be read
# Younger ones have an event that is on its way; older ones have had it, or a dead letter, for as long as the
# queue keeps either.
SWEPT_AGES = timedelta(minutes=1), timedelta(days=4)
# A batch that was sent waits its turn behind whatever is in the queue; then it may have been lost again.
SENT_AGAIN_S = 3600.0
ASKED_AT_ONCE = 1_000
log = get_logger("rates.tidy")

Chore = Callable[[psycopg.Connection, Callable[[], bool]], int]
CHORES: dict[str, Chore] = {
    "batches withdrawn": lambda connection, stop: carry_out_all(connection, stop=stop),
    "totals folded": lambda connection, stop: fold_all(connection, stop=stop),
    "chunks thrown away": lambda connection, stop: discard_all(connection, stop=stop),
    "batches late": lambda connection, _stop: len(note_late(connection)),
}


@dataclass
class Tidier:
    """What a worker tidies. `done` counts by the names of CHORES."""

    bucket: Bucket
    queue: WorkQueue
    stop: Stop
    done: Counter[str] = field(default_factory=Counter)
    sweep_at: float = 0.0  # monotonic
    sent: dict[UUID, float] = field(default_factory=dict)  # by the sweep, and when

    def tidy(self, connection: psycopg.Connection) -> None:
        """Does what there is to do, in steps it may be stopped between."""
        for what, chore in CHORES.items():
            count = chore(connection, self.stop.is_set)
            self.done[what] += count
            if count:
                log.info(what, count=count)
        if time.monotonic() >= self.sweep_at:
            self.sweep(connection)

    def sweep(self, connection: psycopg.Connection) -> None:
        """One of all workers does, as long as it lives: a hundred thousand objects take seconds to list."""
        now = time.monotonic()
        self.sweep_at = now + SWEEP_S
        if connection.execute(query("loader", "lock_sweep")).fetchone() != (True,):
            return
        self.sent = {batch: at for batch, at in self.sent.items() if at > now - SENT_AGAIN_S}
        try:
            sent = self.send_forgotten(connection)
        except StorageError as error:
            log.warning("bucket not swept", error=str(error), again_in_s=SWEEP_AGAIN_S)
            self.sweep_at = time.monotonic() + SWEEP_AGAIN_S
            return
        dropped = connection.execute(query("loader", "forget_ended_plans")).rowcount
        if sent or dropped:
            log.info("bucket swept", batches_sent=sent, chunks_dropped=dropped)

    def send_forgotten(self, connection: psycopg.Connection) -> int:
        """Sends again what was accepted and never got into the ledger; returns how many batches that were."""
        sent = 0
        accepted = accepted_batches(self.bucket, datetime.now(UTC))
        while not self.stop.is_set() and (ids := list(islice(accepted, ASKED_AT_ONCE))):
            found = connection.execute(query("loader", "unknown_batches"), {"ids": ids})
            unknown = [batch for (batch,) in found if batch not in self.sent]
            self.queue.send(PlanBatch(batch) for batch in unknown)
            self.sent |= dict.fromkeys(unknown, time.monotonic())
            sent += len(unknown)
        return sent


def accepted_batches(bucket: Bucket, now: datetime) -> Iterator[UUID]:
    """The batches with a manifest of SWEPT_AGES and something beside it, as a listing alone tells them."""
    youngest, oldest = (now - age for age in SWEPT_AGES)
    for batch, objects in groupby(bucket.list(BATCHES), key=lambda found: batch_of(found.key)):
        if batch is None:
            continue
        ages = {found.key: found.modified_at for found in objects}
        manifest_at = ages.pop(manifest_key(batch), None)
        if ages and manifest_at is not None and oldest <= manifest_at <= youngest:
            yield batch
