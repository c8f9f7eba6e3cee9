"""A reader beside the load, in a process of its own: `python -m benchmarks.reader`.

It asks the API's own statement on a fixed schedule, whether or not the last answer has come, and counts each
answer's time from the moment its question was due: a stall delays, and counts for, all that fall into it.
It prints `ready`, asks until its stdin is closed, then prints [due, seconds] of each question.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import date
from random import Random

import psutil
import psycopg

from api.store import CONNECTION_SETTINGS
from api.totals import read_totals
from benchmarks import BenchmarkError
from benchmarks.cores import keep_to
from benchmarks.databases import Database
from benchmarks.process import ROOT
from benchmarks.random_prices import DAYS, SEED, Lane, Total, random_lanes
from database.connect import connect
from database.queries import query
from local.environment import API_ROLE

PERIOD_S = 0.005
RANGE_DAYS = 31
WARM_UP = 100  # questions before the first that counts: the server's caches, and the statement prepared
STOP_TIMEOUT_S = 60
# On its core it goes before the system's own threads, which write out what the load wrote and cannot be told
# to do so elsewhere: a turn on the core was all that the slow answers had waited for.
FIRST = -20

Answer = tuple[float, float]  # due on the clock of time.monotonic, seconds from then


def ask(
    connection: psycopg.Connection, lane: Lane, date_from: date, date_to: date
) -> list[tuple[date, *Total]]:
    """The totals of a lane as the API reads them."""
    return read_totals(connection, *lane, date_from, date_to).days(date_to)


def main() -> None:
    random, lanes = Random(SEED), random_lanes()

    def ask_something() -> None:
        first = random.randrange(len(DAYS) - RANGE_DAYS + 1)
        ask(connection, random.choice(lanes), DAYS[first], DAYS[first + RANGE_DAYS - 1])

    with connect("rates-reader", autocommit=True, settings=CONNECTION_SETTINGS) as connection:
        for _ in range(WARM_UP):
            ask_something()
        print("ready", flush=True)
        answers: list[Answer] = []
        due = time.monotonic() + PERIOD_S
        while not stdin_closed_within(due - time.monotonic()):
            ask_something()
            answers.append((due, time.monotonic() - due))
            due += PERIOD_S
        # What is overdue at the end has waited so long at least. A reader that fell behind could take as
        # long again to ask all of it.
        stopped = time.monotonic()
        while due < stopped:
            answers.append((due, stopped - due))
            due += PERIOD_S
    json.dump(answers, sys.stdout)


def stdin_closed_within(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], max(0.0, seconds))[0])


@contextmanager
def reader_beside(database: Database, core: int | None) -> Generator[list[Answer]]:
    """Runs the reader, on a core of its own if there is one; the list is filled when the context ends."""
    answers: list[Answer] = []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.reader"],
        env={**os.environ, **database.environment(API_ROLE)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is its parent's business
    ) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise BenchmarkError("the reader could not begin; what it said stands above")
            if core is not None:
                with database.connect() as connection:
                    answering = connection.execute(query("benchmarks", "answering"), [API_ROLE]).fetchall()
                for pid in (process.pid, *(pid for (pid,) in answering)):
                    keep_to(psutil.Process(pid), [core])
                    with suppress(psutil.AccessDenied):  # only root may
                        psutil.Process(pid).nice(FIRST)
            yield answers
            output, _ = process.communicate(timeout=STOP_TIMEOUT_S)
            answers += [(due, seconds) for due, seconds in json.loads(output)]
        finally:
            process.kill()


if __name__ == "__main__":
    main()
