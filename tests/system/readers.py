"""Clients that ask the same all the time, each of another worker, and what they were told and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import NamedTuple

import psutil

from local.postgres import HOST
from tests.api.service import Service
from tests.waiting import TIMEOUT_S

PAUSE_S = 0.004


class Seen(NamedTuple):
    """An answer: between `sent` and `come` (of `time.time`) the data was at `version`, and had `counts`."""

    worker: int
    sent: float
    come: float
    status: int
    version: int
    tag: str
    counts: tuple[int | None, ...]


@dataclass
class Reader:
    """Asks one worker, the process `pid`."""

    connection: HTTPConnection
    pid: int
    seen: list[Seen] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def run(self, questions: Sequence[str], stop: threading.Event) -> None:
        try:
            for question in cycle(questions):
                if stop.wait(PAUSE_S):
                    break
                self.seen.append(self.ask(question))
        except (OSError, HTTPException) as error:
            self.faults.append(error)

    def ask(self, question: str, **headers: str) -> Seen:
        sent = time.time()
        self.connection.request("GET", question, headers={"Accept": "application/json"} | headers)
        answer = self.connection.getresponse()
        body = answer.read()
        come = time.time()
        version, tag = int(answer.headers["Data-Version"] or -1), answer.headers["ETag"] or ""
        counts = tuple(rate["count"] for rate in json.loads(body)["rates"]) if answer.status == 200 else ()
        return Seen(self.pid, sent, come, answer.status, version, tag, counts)


def reader_of_each_worker(services: Sequence[Service], workers: int) -> list[Reader]:
    """A connection stays with the worker that has accepted it; so many are made that each worker has one."""
    readers: list[Reader] = []
    for service in services:
        found: dict[int, Reader] = {}
        deadline = time.monotonic() + TIMEOUT_S
        while len(found) < workers:
            assert time.monotonic() < deadline, "a worker takes no connection"
            connection = HTTPConnection(HOST, service.port, timeout=TIMEOUT_S)
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            pid = owner_of(connection, service)
            if pid in found:
                connection.close()
            else:
                found[pid] = Reader(connection, pid)
        readers += found.values()
    return readers


def owner_of(connection: HTTPConnection, service: Service) -> int:
    port = connection.sock.getsockname()[1]
    for worker in psutil.Process(service.process.pid).children():
        if any(each.raddr and each.raddr.port == port for each in worker.net_connections("tcp")):
            return worker.pid
    raise AssertionError("no worker has the connection")


@contextmanager
def reading(readers: Sequence[Reader], *questions: str) -> Generator[list[Reader]]:
    """All of them ask until the block ends."""
    stop = threading.Event()
    threads = [threading.Thread(target=reader.run, args=(questions, stop)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield list(readers)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for reader in readers:
            reader.connection.close()
    assert not [reader.faults for reader in readers if reader.faults]
