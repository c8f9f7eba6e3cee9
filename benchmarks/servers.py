"""What is asked: HTTP servers as processes of their own, with as many processes and threads each.

`api` has them side by side and gives each its turns; idle, they cost nothing that could be seen.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psutil

from benchmarks import BenchmarkError
from benchmarks.cores import keep_to
from benchmarks.memory import pss_bytes
from benchmarks.process import inherited
from benchmarks.questions import Question, Rate
from local.postgres import HOST, free_port
from local.processes import ChildProcess

# As a task of one vCPU has them; the original as it was measured.
PROCESSES, THREADS = 1, 4
ORIGINAL_PROCESSES, ORIGINAL_THREADS = 2, 2
START_TIMEOUT_S = 60
POLL_S = 0.002
# A bucket and a queue that nobody has: nothing here asks for either.
NOWHERE = {
    "AWS_ENDPOINT_URL": f"http://{HOST}:1",
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nobody",
    "AWS_DEFAULT_REGION": "eu-north-1",
    "BATCH_BUCKET": "nowhere",
    "BATCH_QUEUE_URL": f"http://{HOST}:1/nowhere",
    "RATES_API_TOKENS": "",
}
# Every setting of ours that would change what is measured, as it is by default.
OURS = {**NOWHERE, "WEB_CONCURRENCY": str(PROCESSES), "API_THREADS": str(THREADS), "API_DRAIN_S": "0"}
KEEP_NOTHING = {"RATES_ANSWERS_BYTES_MAX": "0"}
GUNICORN_AS_OURS = ("gunicorn", "--config=python:api.server", "--bind={address}")
GUNICORN_AS_IT_COMES = (
    "gunicorn",
    "--bind={address}",
    f"--workers={ORIGINAL_PROCESSES}",
    f"--threads={ORIGINAL_THREADS}",
)
GRANIAN = (
    "granian",
    "--interface=wsgi",
    "--http=1",
    f"--workers={PROCESSES}",
    f"--blocking-threads={THREADS}",
    f"--host={HOST}",
    "--port={port}",
)


@dataclass(frozen=True, eq=False)
class Kind:
    """A module of Python and its arguments, and the environment besides the database's."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


BARE = Kind("bare Falcon", (*GUNICORN_AS_OURS, "benchmarks.bare:app"), OURS)
ORIGINAL = Kind("original", (*GUNICORN_AS_IT_COMES, "benchmarks.original_api:create_app()"))
ORIGINAL_INDEXED = Kind("original, index", ORIGINAL.command)
COLD = Kind("ours, keeping nothing", (*GUNICORN_AS_OURS, "api.wsgi:app"), {**OURS, **KEEP_NOTHING})
COLD_IN_TWO = Kind("ours, two processes", COLD.command, {**COLD.environment, "WEB_CONCURRENCY": "2"})
WARM = Kind("ours", COLD.command, OURS)
GRANIAN_BARE = Kind("bare Falcon on granian", (*GRANIAN, "benchmarks.bare:app"), OURS)
GRANIAN_COLD = Kind(
    "ours on granian, keeping nothing", (*GRANIAN, "benchmarks.granian_app:app"), {**OURS, **KEEP_NOTHING}
)
GRANIAN_WARM = Kind("ours on granian", GRANIAN_COLD.command, OURS)


class Server:
    """One of a kind, which asks the database that libpq's variables name. It keeps to `core`, where there is
    one, and is killed at its end."""

    def __init__(self, kind: Kind, database: Mapping[str, str], core: int | None = None) -> None:
        self.kind, self.core = kind, core
        self.port = free_port()
        address = f"{HOST}:{self.port}"
        command = [part.format(address=address, port=self.port) for part in kind.command]
        environment = {**inherited(), **kind.environment, **database}
        self.process = ChildProcess([sys.executable, "-m", *command], env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()

    def start(self, question: Question) -> float:
        """Seconds from the start of the process to its first good answer. Raises BenchmarkError."""
        last: Exception | None = None
        began = time.monotonic()
        self.process.start()
        if self.core is not None:  # as will all that it starts
            keep_to(psutil.Process(self.process.pid), [self.core])
        while time.monotonic() < began + START_TIMEOUT_S and self.process.running:
            try:
                self.get(question.path)
                return time.monotonic() - began
            except (OSError, http.client.HTTPException, BenchmarkError) as error:
                last = error
            time.sleep(POLL_S)
        said = " ".join(self.process.last_lines)
        raise BenchmarkError(f"{self.kind.name} did not start: {last} {said}")

    def rates(self, question: Question) -> list[Rate]:
        return self.get(question.path)[0]["rates"]

    def tag(self, question: Question) -> str:
        return self.get(question.path)[1]

    def get(self, path: str) -> tuple[dict[str, Any], str]:
        """The answer and its ETag, if it has one. Raises BenchmarkError where it is an error."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=START_TIMEOUT_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise BenchmarkError(f"{self.kind.name} answered {path} with {answer.status}: {body.decode()}")
        return json.loads(body), answer.headers.get("ETag", "")

    def cpu_s(self) -> float:
        """What the processes that answer have taken of the processors in their lives."""
        times = [worker.cpu_times() for worker in psutil.Process(self.process.pid).children()]
        return sum(each.user + each.system for each in times)

    def worker_bytes(self) -> int:
        """Memory (PSS) of the process that takes most of those that answer."""
        return max(pss_bytes(worker) for worker in psutil.Process(self.process.pid).children())
