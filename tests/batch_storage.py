"""S3 and SQS for tests: moto's server, once a run, and for each test a bucket and queues of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from local.object_storage import (
    ACCESS_KEY_ID,
    REGION,
    SECRET_ACCESS_KEY,
    answers,
    client,
    create_bucket_and_queues,
)
from local.postgres import free_port
from storage import clients
from storage.bucket import Bucket
from storage.work_queue import WorkQueue
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = count(1)


@dataclass(frozen=True)
class BatchStorage:
    """A versioned bucket that tells its queue of what is put below batches/, and a queue of dead letters."""

    endpoint_url: str
    name: str
    queue_url: str

    def environment(self) -> dict[str, str]:
        """What points the API, a loader or boto3 at it."""
        return {
            **server_environment(self.endpoint_url),
            "BATCH_BUCKET": self.name,
            "BATCH_QUEUE_URL": self.queue_url,
        }

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Points the test's own process at it; its clients stay where they are of the same server."""
        for name, value in self.environment().items():
            patch.setenv(name, value)
        if any(clients.client(name).meta.endpoint_url != self.endpoint_url for name in ("s3", "sqs")):
            clients.client.cache_clear()

    @property
    def bucket(self) -> Bucket:
        return Bucket(self.name)

    @property
    def queue(self) -> WorkQueue:
        return WorkQueue(self.queue_url)

    def s3(self) -> Any:
        return kept_client("s3", self.endpoint_url)

    def sqs(self) -> Any:
        return kept_client("sqs", self.endpoint_url)

    def dead_letters(self) -> list[str]:
        """The bodies of all that lie there; they stay there."""
        url = self.sqs().get_queue_url(QueueName=f"{self.name}-dead")["QueueUrl"]
        found: list[str] = []
        while (
            more := self.sqs()
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=2)
            .get("Messages")
        ):
            found += [message["Body"] for message in more]
        return found


@contextmanager
def running_server() -> Generator[str]:
    """The address of moto's server while the block runs."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "local.object_storage", str(port)], cwd=ROOT)
    try:
        wait_until(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def server_environment(endpoint_url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def new_storage(endpoint_url: str) -> BatchStorage:
    name = f"rates-test-{next(NUMBERS)}"
    s3, sqs = kept_client("s3", endpoint_url), kept_client("sqs", endpoint_url)
    return BatchStorage(endpoint_url, name, create_bucket_and_queues(s3, sqs, name))


@cache
def kept_client(service: str, endpoint_url: str) -> Any:
    """One for all tests of a process: to make one takes 40 ms."""
    return client(service, endpoint_url)
