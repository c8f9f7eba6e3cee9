"""The worker: takes tickets from the queue, one a free slot, and does what they are for, until told to stop.

A message says that there is something to do, the ledger says what: so one that comes late, twice or never
changes nothing (docs/decisions/0011-messages-are-tickets.md). `taken` holds the messages, `tickets` knows
what each asks for. In threads beside, `tidy` does what nobody waits for, and `callbacks` tells who wants to
know how a batch ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import psycopg

from access.signatures import CallbackSecrets
from database.connect import connect, translated_errors
from loader.allocation import give_memory_back
from loader.beside import backoff, start_beside
from loader.callbacks import deliver_callbacks
from loader.errors import Stopped
from loader.planned import TICKETS_MAX
from loader.stopping import Stop
from loader.taken import Hand
from loader.tickets import AWAY, Tickets
from loader.tidy import Tidier
from storage.bucket import Bucket
from storage.errors import StorageError, StorageUnavailable, UnknownMessage
from storage.messages import decode
from storage.settings import StorageSettings
from storage.work_queue import Received, WorkQueue
from telemetry.log import get_logger

# By itself a worker does no more at once: each slot has a chunk in memory, and all of them 256 MB.
SLOTS = 2
# How long a message is waited for; a worker that is told to stop is in here for no longer than that.
RECEIVE_WAIT_S = 2
# How often it is looked whether to stop while all slots are busy.
BUSY_S = 0.5
# For so long after the last failure nothing new is taken, unless something went well meanwhile: longer than a
# further try takes to fail.
AWAY_S = 15.0
# After so many seconds a message comes back that failed for a reason nobody expected.
RETURN_S = 5

T = TypeVar("T")

log = get_logger("rates.work")


def run_worker(
    stop: Stop,
    storage: StorageSettings,
    secrets: CallbackSecrets | None = None,
    *,
    slots: int | None = None,
    tickets_max: int = TICKETS_MAX,
) -> dict[str, int]:
    """Works until `stop` is set, through a database or storage that is away; returns what it did.

    `secrets` sign what is told of a batch's end; without any, that is left to other workers. A batch that is
    planned here has `tickets_max` messages at most.
    Raises StorageMisconfigured when there is no such queue.
    """
    give_memory_back()
    bucket, queue = Bucket(storage.bucket), WorkQueue(storage.queue_url)
    with suppress(StorageUnavailable):
        _ = queue.dead_letters
    slots = slots or SLOTS
    tickets = Tickets(bucket, queue, stop, threading.Semaphore(max(1, slots - 1)), tickets_max)
    tidier = Tidier(bucket, queue, stop)
    worker = Worker(tickets, Hand(queue), stop, slots)
    log.info("worker started", slots=slots)
    beside = [start_beside("tidy", tidier.tidy, stop)]
    if secrets is None:
        log.info("callbacks are left to other workers", reason="RATES_CALLBACK_SECRET is not set")
    else:
        tell = partial(deliver_callbacks, secrets=secrets, stop=stop.is_set)
        beside.append(start_beside("callbacks", tell, stop))
    worker.run()
    for thread in beside:
        thread.join()
    done = {"chunks": tickets.done["chunks"], "folded": tidier.done["totals folded"]}
    log.info("worker stopped", **done)
    return done


class OwnConnections:
    """A connection for each thread that asks, made anew once it was dropped; closed in the end."""

    def __init__(self) -> None:
        self._of_thread: dict[int, psycopg.Connection] = {}

    def __enter__(self) -> OwnConnections:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._of_thread.values():
            connection.close()

    def own(self) -> psycopg.Connection:
        """Raises DatabaseUnavailable."""
        thread = threading.get_ident()
        if thread not in self._of_thread:
            self._of_thread[thread] = connect("rates-worker", autocommit=True)
        return self._of_thread[thread]

    def drop(self) -> None:
        connection = self._of_thread.pop(threading.get_ident(), None)
        if connection is not None:
            connection.close()


@dataclass
class Worker:
    """The main loop and its slots, each a thread with a connection of its own."""

    tickets: Tickets
    hand: Hand
    stop: Stop
    slots: int
    connections: OwnConnections = field(default_factory=OwnConnections)
    failures: int = 0  # of the queue, one after the other
    away_until: float = 0.0  # monotonic; until then nothing new is taken
    more: bool = True  # whether there was something to do without a message, the last time

    def run(self) -> None:
        """Takes as many messages as slots are free, and none in advance: another worker may have one."""
        busy: set[Future[None]] = set()
        with self.connections, self.hand, ThreadPoolExecutor(self.slots, "slot") as executor:
            while not self.stop.is_set():
                _, busy = wait(busy, 0 if len(busy) < self.slots else BUSY_S, FIRST_COMPLETED)
                free = self.slots - len(busy)
                if self.is_away():
                    self.stop.wait(BUSY_S)
                elif free:
                    busy |= {executor.submit(self.in_slot, task) for task in self.take(free)}

    def take(self, free: int) -> list[Callable[[], None]]:
        """What the free slots are to do: a message each, or look for what there is no message for."""
        try:
            messages = self.hand.take(free, wait_s=0 if self.more else RECEIVE_WAIT_S)
        except StorageError as error:
            pause_s = backoff(self.failures)
            self.failures += 1
            log.warning("queue away", error=str(error), again_in_s=pause_s)
            self.stop.wait(pause_s)
            return []
        self.failures = 0
        if self.stop.is_set():  # whatever came in the last moment is given back with all that is in hand
            return []
        if messages:
            return [partial(self.answer, message) for message in messages]
        return [self.look] * (free if self.more else 1)

    def is_away(self) -> bool:
        return time.monotonic() < self.away_until

    # --- in a slot -----------------------------------------------------------------------------------------

    def in_slot(self, task: Callable[[], None]) -> None:
        """Nobody looks at what a slot's future holds: what a task lets through is told here."""
        try:
            task()
        except Exception:
            log.exception("slot failed")

    def answer(self, message: Received) -> None:
        """Does what a message asks for, and then, when that is committed, acknowledges it."""
        try:
            works = decode(message.body)
            done = [self.until_there(partial(self.tickets.do, work=work)) for work in works]
        except UnknownMessage as error:  # a worker of another version may know it; else it is put aside
            if message.receives == 1:
                log.warning("unknown message", message=message.message_id, error=str(error))
        except Stopped:
            self.hand.give_back(message)
        except Exception:
            log.exception("message failed", message=message.message_id, receives=message.receives)
            self.hand.return_in(message, RETURN_S)
        else:
            answer = self.hand.done if all(done) else self.hand.give_back
            answer(message)
        finally:
            self.hand.leave(message)  # whatever went wrong: else nobody would ever get it again

    def look(self) -> None:
        """Does a chunk that is left, or whatever else there is no message for."""
        try:
            self.more = self.until_there(self.tickets.do_what_is_left)
        except Stopped:
            pass
        except Exception:
            log.exception("what is left could not be done", again_in_s=RETURN_S)
            self.stop.wait(RETURN_S)

    def until_there(self, task: Callable[[psycopg.Connection], T]) -> T:
        """Tries again for as long as database or storage are away. Raises Stopped."""
        failures = 0
        while True:
            try:
                with translated_errors():
                    result = task(self.connections.own())
            except AWAY as error:
                self.connections.drop()
                pause_s = backoff(failures)
                failures += 1
                self.away_until = time.monotonic() + AWAY_S
                log.warning("database or storage away", error=str(error), again_in_s=pause_s)
                self.stop.wait(pause_s)
                if self.stop.is_set():
                    raise Stopped("while the database or storage was away") from error
            except BaseException:
                self.connections.drop()  # whatever it still holds goes with it
                raise
            else:
                self.away_until = 0.0
                return result
