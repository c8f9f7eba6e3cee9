"""The API is replaced, task by task, under load, as a deploy does it: no request is lost.

RATES_ROLLING_RESTARTS says how often all of it is replaced (once, and gentler; three times in a nightly run),
RATES_ROLLING_REQUESTS at how many requests at least.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random

from infra import timeouts
from local.postgres import HOST
from tests.api.service import Service
from tests.examples import nightly
from tests.postgres import Database
from tests.system.changes import Changes
from tests.system.crowd import crowd
from tests.waiting import TIMEOUT_S, wait_until

RESTARTS = int(os.environ.get("RATES_ROLLING_RESTARTS") or (3 if nightly else 1))
REQUESTS = int(os.environ.get("RATES_ROLLING_REQUESTS") or (10_000 if nightly else 500))
TASKS = 2 if RESTARTS > 1 else 1
CLIENTS = 8
PAUSE_S = 0 if RESTARTS > 1 else 0.1
# How long a load balancer goes on sending requests to a task that was told to stop, and how long that serves:
# by so much longer that a client which was held up in between is served, too.
DEREGISTERED_S = (3.0, timeouts.LEARNED_S) if RESTARTS > 1 else (0.2, 1.0)
DRAIN_S = timeouts.DRAIN_S if RESTARTS > 1 else 8
STOPPED_S = DRAIN_S + 60
# Where a port has many answers: some are kept, some are not yet.
PATH = "/rates?date_from=2021-01-01&date_to=2021-01-{:02}&orig_code={}&dest_code={}"
CODES = ("CNSGH", "CNNGB", "DEHAM", "EETLL", "asia", "europe", "world")


@dataclass
class Balancer:
    """Sends requests to tasks over connections that it keeps, and never one again after a failure."""

    tasks: list[Service]
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def run(self, seed: int, stop: threading.Event) -> None:
        chance = Random(seed)  # noqa: S311
        connections: dict[int, HTTPConnection] = {}
        while not stop.wait(PAUSE_S):
            port = chance.choice(self.tasks).port
            if port not in connections:
                connections[port] = HTTPConnection(HOST, port, timeout=TIMEOUT_S)
            path = PATH.format(chance.randint(1, 31), chance.choice(CODES), chance.choice(CODES))
            try:
                connections[port].request("GET", path)
                answer = connections[port].getresponse()
                answer.read()
                self.statuses[answer.status] += 1
            except (OSError, HTTPException) as error:
                self.failures.append(f"{error!r} of {port} at {time.monotonic():.3f}")
                connections.pop(port).close()
        for connection in connections.values():
            connection.close()

    def replace(self, old: Service, new: Service, chance: Random) -> None:
        """The new one takes requests before the old one is told to go; both are running."""
        wait_until(lambda: new.get("/health/ready").status_code == 200)
        self.tasks = [*self.tasks, new]
        old.client.close()
        old.process.signal(signal.SIGTERM)
        time.sleep(chance.uniform(*DEREGISTERED_S))
        self.tasks = [task for task in self.tasks if task is not old]
        assert old.process.wait(STOPPED_S) == 0
        assert "Traceback" not in "\n".join(old.lines)


def test_replacing_every_task_under_load_loses_no_request(database: Database) -> None:
    Changes(database).publish()
    environment = database.environment("rates_api") | {"API_DRAIN_S": str(DRAIN_S)}
    chance = Random("restarts")  # noqa: S311
    running = [Service(environment).__enter__() for _ in range(TASKS)]
    balancer = Balancer([*running])
    try:
        with crowd(balancer.run, CLIENTS):
            for _ in range(RESTARTS):
                for old in balancer.tasks:
                    new = Service(environment).__enter__()
                    running.append(new)
                    balancer.replace(old, new, chance)
            wait_until(lambda: balancer.statuses.total() >= REQUESTS, 600)
    finally:
        for service in running:
            service.__exit__(None, None, None)
    print(dict(balancer.statuses))  # noqa: T201  # shown by pytest -rP
    assert not balancer.failures
    assert balancer.statuses.keys() == {200}
