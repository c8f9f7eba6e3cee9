"""Ingestion as it runs: the API, the loaders, S3 and SQS and PostgreSQL, each a process of its own.

A test posts batches like any client, stops, kills and starts what it likes, and looks at the ledger, the
queue and the logs afterwards.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from access.tokens import READ, WRITE, entry_of
from local.processes import ChildProcess
from tests.api.service import Service
from tests.batch_storage import BatchStorage
from tests.loader.batches import command, environment
from tests.postgres import Database
from tests.waiting import wait_until

SETTLED = {"published", "rejected", "valid", "failed", "withdrawn"}
# Stuck is what has not ended by then: a loader that is told to stop, with the chunk in hand; or a batch.
STOP_S = 60
ANSWER_S = 180
WAIT_S = 2
POLL_S = 0.05
SMALL_CHUNKS = """
CREATE FUNCTION cut_small() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.chunk_rows := {}; RETURN NEW; END';
CREATE TRIGGER cut_small BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION cut_small();
"""
Answer = dict[str, Any]


@dataclass(frozen=True)
class Bearer:
    """Whoever sends a token with a request."""

    name: str
    scopes: tuple[str, ...]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def entry(self) -> str:
        return entry_of(self.name, self.scopes, self.token)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


WRITER = Bearer("writer", (READ, WRITE))
READER = Bearer("reader", (READ,))
CALLBACK_SECRET = secrets.token_urlsafe(32)


class Loader:
    """A `loader work`, started from the main thread, and every line it has logged."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.lines: list[str] = []
        env = environment(None, **variables)
        self.process = ChildProcess(command("work"), env=env, output=self.lines.append)
        self.process.start()

    def stop(self) -> None:
        """As a deploy does it."""
        assert self.process.stop(STOP_S) == 0, "\n".join(self.lines[-20:])

    def kill(self) -> None:
        self.process.kill()


@dataclass
class Fleet:
    """The API is up; loaders there are as many as a test has started."""

    database: Database
    storage: BatchStorage
    api: Service
    variables: dict[str, str]
    loaders: list[Loader] = field(default_factory=list)
    ended: list[Loader] = field(default_factory=list)

    # --- its processes ----------------------------------------------------------------------------------

    def start_loader(self) -> Loader:
        loader = Loader(self.variables)
        self.loaders.append(loader)
        return loader

    def have_loaders(self, count: int) -> None:
        """Starts what is missing, stops what is too many."""
        while len(self.loaders) > count:
            self.end(self.loaders[-1])
        while len(self.loaders) < count:
            self.start_loader()

    def end(self, loader: Loader, *, kill: bool = False) -> None:
        self.loaders.remove(loader)
        self.ended.append(loader)
        if kill:
            loader.kill()
        else:
            loader.stop()

    # --- as a client ------------------------------------------------------------------------------------

    @property
    def client(self) -> httpx.Client:
        return self.api.client

    def post(
        self, content: bytes | Iterable[bytes], key: str = "", bearer: Bearer = WRITER, **more: Any
    ) -> httpx.Response:
        """`more` are headers, with _ for -, and `params`."""
        params = more.pop("params", {})
        headers = {name.replace("_", "-"): value for name, value in more.items()} | bearer.headers
        if key:
            headers["Idempotency-Key"] = key
        return self.client.post("/batches", content=content, headers=headers, params=params)

    def accept(self, content: bytes | Iterable[bytes], key: str = "", **more: Any) -> str:
        """The id of a batch that is new."""
        answer = self.post(content, key or str(uuid4()), **more)
        assert answer.status_code == 202, answer.text
        return answer.json()["batch"]

    def upload(self, content: bytes, key: str = "") -> str:
        """The id of a batch that was put into the bucket at a presigned address."""
        headers = WRITER.headers | {"Idempotency-Key": key or str(uuid4())}
        answer = self.client.post("/batches/uploads", headers=headers)
        assert answer.status_code == 201, answer.text
        url = answer.json()["upload"]["url"]
        put = httpx.put(url, content=content, trust_env=False, timeout=ANSWER_S)
        assert put.status_code == 200, put.text
        return answer.json()["batch"]

    def batch(self, batch: str) -> Answer:
        answer = self.client.get(f"/batches/{batch}", headers=READER.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def settled(self, batch: str, timeout_s: float = ANSWER_S) -> Answer:
        """The batch, once it has ended; asks again where the database is away."""
        deadline = time.monotonic() + timeout_s
        headers = READER.headers | {"Prefer": f"wait={WAIT_S}"}
        while True:
            answer = self.client.get(f"/batches/{batch}", headers=headers)
            assert answer.status_code in {200, 503}, answer.text
            if answer.status_code == 200 and answer.json()["state"] in SETTLED:
                return answer.json()
            assert time.monotonic() < deadline, f"no end of {answer.text} in\n{self.story()}"
            time.sleep(POLL_S)

    def published(self, batch: str, timeout_s: float = ANSWER_S) -> Answer:
        found = self.settled(batch, timeout_s)
        assert found["state"] == "published", found
        return found

    def withdraw(self, batch: str) -> None:
        answer = self.client.delete(f"/batches/{batch}", headers=WRITER.headers)
        assert answer.status_code in {200, 202}, answer.text

    # --- what is left -----------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many messages wait for a worker."""
        return self._counted("ApproximateNumberOfMessages")

    def messages(self) -> int:
        """How many there are, with those in somebody's hand."""
        return self.waiting() + self._counted("ApproximateNumberOfMessagesNotVisible")

    def _counted(self, name: str) -> int:
        queue_url = self.storage.queue_url
        found = self.storage.sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])
        return int(found["Attributes"][name])

    def objects(self) -> list[str]:
        found = self.storage.s3().list_objects_v2(Bucket=self.storage.name)
        return [each["Key"] for each in found.get("Contents", [])]

    def lines(self) -> list[str]:
        """All that the API and every loader, ended or not, have logged."""
        return [*self.api.lines, *self.loader_lines()]

    def loader_lines(self) -> list[str]:
        return [line for loader in [*self.ended, *self.loaders] for line in loader.lines]

    def events(self, **ids: str) -> list[Answer]:
        """What was logged of these ids, as it was logged."""
        logged = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [event for event in logged if ids.items() <= event.items()]

    def story(self) -> str:
        return "\n".join(line[:300] for line in self.lines()[-20:])


def cut_small(database: Database, chunk_rows: int) -> None:
    """Batches are cut into chunks of so many rows, so that few rows make many chunks."""
    with database.connect() as connection:
        connection.execute(SMALL_CHUNKS.format(chunk_rows).encode())


@contextmanager
def running_fleet(database: Database, storage: BatchStorage, **variables: str) -> Generator[Fleet]:
    """Of a database with places in it."""
    shared = storage.environment() | variables
    tokens = {"RATES_API_TOKENS": f"{WRITER.entry} {READER.entry}"}
    signing = {"RATES_CALLBACK_SECRET": CALLBACK_SECRET}
    with Service(database.environment("rates_api") | tokens | shared) as api:
        fleet = Fleet(database, storage, api, database.environment("rates_loader") | signing | shared)
        try:
            yield fleet
        finally:
            for loader in fleet.loaders:
                loader.kill()


def repeated(block: bytes, size: int, head: bytes = b"") -> Iterator[bytes]:
    """A head, and after it a block over and over, `size` bytes of it or a little more."""
    yield head
    for _ in range(-(-size // len(block))):
        yield block


def all_settled(fleet: Fleet, batches: Iterable[str], timeout_s: float) -> dict[str, Answer]:
    """Each batch once all have ended."""
    deadline = time.monotonic() + timeout_s
    return {batch: fleet.settled(batch, deadline - time.monotonic()) for batch in batches}


def wait_until_quiet(fleet: Fleet, timeout_s: float = ANSWER_S) -> None:
    wait_until(lambda: fleet.messages() == 0, timeout_s)
