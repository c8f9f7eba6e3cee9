"""The API and some workers as processes of their own, beside a database, a bucket and a queue."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from access.tokens import READ, WRITE, entry_of
from benchmarks import BenchmarkError
from benchmarks.databases import Database
from benchmarks.process import inherited
from local.environment import API_ROLE, LOADER_ROLE
from local.object_storage import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, answers, create_batch_storage
from local.postgres import HOST, free_port
from local.processes import ChildProcess
from local.stack import answers_ready

START_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 600  # to a request that sends a gigabyte
ENDED_TIMEOUT_S = 900
POLL_S = 0.01
BLOCK_BYTES = 256 * 1024
READY = "worker started"
NUMBERS = count(1)


@dataclass
class Fleet:
    """`client` asks the API with a token that may write."""

    database: Database
    environment: dict[str, str]
    api: ChildProcess
    client: httpx.Client
    workers: list[ChildProcess] = field(default_factory=list)

    def start_worker(self) -> ChildProcess:
        """Returns once it is at work."""
        lines: list[str] = []
        environment = {**self.environment, **self.database.environment(LOADER_ROLE)}
        worker = ChildProcess([sys.executable, "-m", "loader", "work"], env=environment, output=lines.append)
        self.workers.append(worker)
        worker.start()
        wait_for("the worker", worker, lambda: any(READY in line for line in lines))
        return worker

    def post(self, content: bytes | Iterable[bytes], size: int) -> str:
        """The id of the batch, once it is accepted."""
        headers = {"Content-Length": str(size), "Idempotency-Key": secrets.token_hex(8)}
        return answer_of(self.client.post("/batches", content=content, headers=headers))["batch"]

    def upload(self, file: Path) -> str:
        """The id of the batch, once its file is in the bucket, put there at a presigned address."""
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        place = answer_of(self.client.post("/batches/uploads", headers=headers))
        answer = httpx.put(
            place["upload"]["url"],
            content=blocks_of(file),
            headers={"Content-Length": str(file.stat().st_size)},
            timeout=ANSWER_TIMEOUT_S,
            trust_env=False,
        )
        if not answer.is_success:
            raise BenchmarkError(f"S3 answered an upload with {answer.status_code}: {answer.text}")
        return place["batch"]

    def wait_until_published(self, batch: str, rows: int) -> None:
        """Asks the database, whose answer costs less than the API's. Raises BenchmarkError."""
        deadline = time.monotonic() + ENDED_TIMEOUT_S
        state = None
        with self.database.connect() as connection:
            while state in (None, "loading"):
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"a batch was still {state} after {ENDED_TIMEOUT_S} s")
                time.sleep(POLL_S)
                question = "SELECT state, row_count FROM batches WHERE id = %s"
                state, row_count = connection.execute(question, [batch]).fetchone() or (None, 0)
        if (state, row_count) != ("published", rows):
            raise BenchmarkError(f"a batch ended {state} with {row_count:,} of {rows:,} rows")


@contextmanager
def running_storage() -> Generator[str]:
    """The address of S3 and SQS."""
    port = free_port()
    storage = ChildProcess([sys.executable, "-m", "local.object_storage", str(port)], env=inherited())
    storage.start()
    try:
        wait_for("S3 and SQS", storage, lambda: answers(port))
        yield f"http://{HOST}:{port}"
    finally:
        storage.kill()


@contextmanager
def running_fleet(database: Database, endpoint_url: str, workers: int) -> Generator[Fleet]:
    """The API and so many workers, with a bucket and queues of their own."""
    name, token, port = f"bench-{next(NUMBERS)}", secrets.token_urlsafe(32), free_port()
    environment = {
        **inherited(),
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "BATCH_BUCKET": name,
        "BATCH_QUEUE_URL": create_batch_storage(endpoint_url, name),
        "RATES_API_TOKENS": entry_of("bench", (READ, WRITE), token),
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:api.server", "api.wsgi:app"]
    api = ChildProcess(
        [*command, f"--bind={HOST}:{port}"], env={**environment, **database.environment(API_ROLE)}
    )
    client = httpx.Client(
        base_url=f"http://{HOST}:{port}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=ANSWER_TIMEOUT_S,
        trust_env=False,
    )
    fleet = Fleet(database, environment, api, client)
    with ExitStack() as ends:
        ends.enter_context(client)
        ends.callback(lambda: [worker.kill() for worker in fleet.workers])
        ends.callback(api.kill)
        api.start()
        wait_for("the API", api, lambda: answers_ready(port))
        for _ in range(workers):
            fleet.start_worker()
        yield fleet


def wait_for(what: str, process: ChildProcess, condition: Callable[[], bool]) -> None:
    """Raises BenchmarkError."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if not process.running or time.monotonic() > deadline:
            if not process.running:
                process.wait()  # which reads its last lines
            raise BenchmarkError(f"{what} did not start: {' '.join(process.last_lines)}")
        time.sleep(POLL_S)


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """Raises BenchmarkError where it is an error."""
    if not response.is_success:
        raise BenchmarkError(f"the API answered with {response.status_code}: {response.text}")
    return response.json()


def blocks_of(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            yield block
