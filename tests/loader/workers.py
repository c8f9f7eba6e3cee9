"""Workers for tests: as a real process with the lines it logs, and within the test's own process."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from loader.ledger import Order, open_batch
from loader.work import run_worker
from storage.errors import UnknownMessage
from storage.layout import batch_id_of
from storage.messages import Work, decode
from storage.settings import StorageSettings
from tests.batch_storage import BatchStorage
from tests.loader.batches import TIMEOUT_S, Row, begin
from tests.loader.planning import accept
from tests.loader.plans import HEADER, state_of
from tests.postgres import Database
from tests.waiting import wait_until

STARTED, STOPPED = "worker started", "worker stopped"


class Worker:
    """A running `loader work` and the lines it has logged, each one JSON."""

    def __init__(self, process: subprocess.Popen[str], *, as_json: bool = False) -> None:
        self.process = process
        self.lines: list[str] = []
        stream = process.stderr if as_json else process.stdout
        assert stream is not None
        self._reader = threading.Thread(target=lambda: self.lines.extend(iter(stream.readline, "")))
        self._reader.start()

    def logged(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in list(self.lines)]

    def find(self, event: str, **about: object) -> list[dict[str, Any]]:
        """The lines of an event, with these values."""
        return [
            line
            for line in self.logged()
            if line["event"] == event and all(line.get(name) == value for name, value in about.items())
        ]

    def says(self, part: str) -> bool:
        return any(part in line for line in list(self.lines))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(TIMEOUT_S)
        self._reader.join()
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._reader.join()


@contextmanager
def worker(
    database: Database, storage: BatchStorage, *arguments: str, wait: bool = True, **more: str
) -> Generator[Worker]:
    with begin("work", *arguments, database=database, **{**storage.environment(), **more}) as process:
        running = Worker(process, as_json="--json" in arguments)
        try:
            if wait:
                wait_until(lambda: running.says(STARTED) or process.poll() is not None)
            yield running
        finally:
            running.kill()


@dataclass
class WorkerHere:
    """A worker within the test's own process, which may be told to stop at any moment."""

    storage: BatchStorage
    slots: int | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    done: dict[str, int] = field(default_factory=dict)
    raised: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> WorkerHere:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            settings = StorageSettings(self.storage.name, self.storage.queue_url)
            self.done = run_worker(self.stop, settings, slots=self.slots)
        except BaseException as error:
            self.raised.append(error)

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> dict[str, int]:
        self.stop.set()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "it does not stop"
        assert self.raised == []
        return self.done


def csv(rows: Iterable[Row]) -> bytes:
    return (HEADER + "".join(",".join(str(value) for value in row) + "\n" for row in rows)).encode()


def send(
    database: Database,
    storage: BatchStorage,
    key: str,
    rows: Iterable[Row],
    *,
    chunk_rows: int | None = None,
    **more: Any,
) -> UUID:
    """Accepts a batch as the API does; opened before, so that it is cut small, where `chunk_rows` says so."""
    if chunk_rows is not None:
        values = {"sha256": "ab" * 32, "deadline": None, "dry_run": False, **more}
        order = Order(
            key,
            bytes.fromhex(values["sha256"]),
            "prices.csv",
            chunk_rows,
            id=batch_id_of(key),
            deadline=values["deadline"],
            dry_run=values["dry_run"],
        )
        with database.connect("rates_loader") as connection:
            open_batch(connection, order)
    return accept(storage.bucket, csv(rows), key, **more).batch


def ends(database: Database, batch: UUID, state: str) -> Callable[[], bool]:
    return lambda: state_of(database, batch) == state


def queued(storage: BatchStorage) -> list[Work | str]:
    """What can be taken from the queue by now, unknown messages as they are; it stays there."""
    taken = []
    while messages := storage.queue.receive(10, wait_s=0, visibility_s=30):
        taken += messages
    found: list[Work | str] = []
    for message in taken:
        storage.queue.give_back(message)
        try:
            found += decode(message.body)
        except UnknownMessage:
            found.append(message.body)
    return found


def lose_messages(storage: BatchStorage) -> None:
    """All that can be taken from the queue by now."""
    while messages := storage.queue.receive(10, wait_s=0, visibility_s=30):
        for message in messages:
            storage.queue.done(message)


def message_count(storage: BatchStorage, queue_url: str | None = None) -> tuple[int, int]:
    """How many messages wait in the queue, or in another one, and how many somebody has in hand."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = storage.sqs().get_queue_attributes(QueueUrl=queue_url or storage.queue_url, AttributeNames=names)[
        "Attributes"
    ]
    return int(found[names[0]]), int(found[names[1]])
