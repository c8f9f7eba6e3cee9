"""How long a change takes: a publish, a withdrawal or a correction until it is in every answer, PostgreSQL's
return until the API serves again, the local stack's second start until it is ready.

The API is asked all the time, over several connections at once; what it answered when is looked at later.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks import BenchmarkError, databases
from benchmarks.databases import Database, fresh_database, scratch_server
from benchmarks.figures import MS, percentile
from benchmarks.fleet import wait_for
from benchmarks.loader import load, withdraw
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.process import ROOT, inherited
from benchmarks.questions import Question
from benchmarks.report import WIDTH, verdicts_table, write_run
from benchmarks.servers import THREADS, WARM, Server
from benchmarks.targets import Verdict, verdict
from local.environment import API_ROLE
from local.postgres import HOST, free_port
from local.processes import ChildProcess

ROUNDS = 10
KILLS = 3
STARTS = 3  # of the local stack, besides its first one
# As many as a server's threads: each has its own connection to the database to lose.
READERS = THREADS
PAUSE_S = 0.002
# What is slower is not slow but stuck.
TIMEOUT_S = 60
# So many answers of each reader say that all is well.
ANSWERS_MIN = 50
# The percentile that is judged: a machine that does much else may not run a thread for longer than that.
SHARE = 90
PRICES = 3
LANE = ("CNSGH", "EETLL")
DAY = date(2021, 1, 1)
# Regions above the lane's ports. A correction moves one of these out of its region, the next one back.
QUESTION = Question("china_main", "northern_europe", DAY, DAY)
MOVE = "UPDATE ports SET parent_slug = %s WHERE code = %s"
MOVES = ("north_america", "baltic_states")
NOW = "SELECT version, extract(epoch FROM changed_at)::float FROM data_version"
STACK = (sys.executable, "-m", "local", "up")
READY = " ready in "
HOW = (
    f"{READERS} connections ask the same question all the time; each change changes its answer. The delay of"
    " a change is from when its transaction was about to commit until the last question that still got the"
    f" old answer: {SHARE} % of {ROUNDS} publishes, as many withdrawals and twice as many corrections of a"
    " port's region took no longer. PostgreSQL is killed with all its processes; the delay is from when it"
    f" accepts connections again until the last answer that was no 200, the worst of {KILLS}. A start of the"
    f" local stack is what it says itself, the worst of {STARTS}."
)


class Answer(NamedTuple):
    """By `time.time`, which is PostgreSQL's clock too; `version` and `count` only where it is a 200."""

    sent: float
    come: float
    status: int
    version: int
    count: int | None


@dataclass
class Figures:
    """Everything measured, in seconds."""

    published_s: list[float] = field(default_factory=list)
    withdrawn_s: list[float] = field(default_factory=list)
    corrected_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)


class Reader(threading.Thread):
    """Asks until it is told to stop, over one connection as long as that holds."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self.stop = stop
        self.answers: list[Answer] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stop.wait(PAUSE_S):
                self.answers.append(self.ask())
        except (OSError, http.client.HTTPException) as error:
            self.fault = error
        finally:
            self.connection.close()

    def ask(self) -> Answer:
        sent = time.time()
        self.connection.request("GET", QUESTION.path)
        answer = self.connection.getresponse()
        body, come = answer.read(), time.time()
        if answer.status != http.HTTPStatus.OK:
            return Answer(sent, come, answer.status, 0, None)
        (rate,) = json.loads(body)["rates"]
        return Answer(sent, come, answer.status, int(answer.headers["Data-Version"]), rate["count"])


@contextmanager
def reading(server: Server) -> Generator[list[Reader]]:
    stop = threading.Event()
    readers = [Reader(server.port, stop) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        yield readers
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def wait_until(readers: Sequence[Reader], is_so: Callable[[Sequence[Answer]], bool]) -> None:
    """Until it is so of what each of them was answered last. Raises BenchmarkError."""
    deadline = time.monotonic() + TIMEOUT_S
    while not all(is_so(reader.answers[-ANSWERS_MIN:]) for reader in readers):
        for reader in readers:
            if reader.fault is not None:
                raise BenchmarkError(f"the API did not answer: {reader.fault!r}")
        if time.monotonic() > deadline:
            last = [reader.answers[-1:] for reader in readers]
            raise BenchmarkError(f"not as it should be after {TIMEOUT_S} s, the last answers: {last}")
        time.sleep(PAUSE_S)


@dataclass(frozen=True)
class Bench:
    """`file` has PRICES prices of LANE and DAY; `database` is used by this run alone."""

    database: Database
    file: Path
    figures: Figures
    say: Callable[[str], None]

    def changes(self) -> None:
        """Each of them alternates between no price and all of them."""
        with Server(WARM, self.database.environment(API_ROLE)) as server:
            server.start(QUESTION)
            with reading(server) as readers:
                for number in range(ROUNDS):
                    self.say(f"change {number + 1} of {ROUNDS}: publish, correct, withdraw")
                    key = f"delays {number}"
                    publish, withdraw_it = partial(self.publish, key), partial(self.withdraw, key)
                    self.change(readers, publish, PRICES, self.figures.published_s)
                    for slug, seen in zip(MOVES, (None, PRICES), strict=True):
                        move = partial(self.correct, slug)
                        self.change(readers, move, seen, self.figures.corrected_s)
                    self.change(readers, withdraw_it, None, self.figures.withdrawn_s)

    def change(
        self, readers: Sequence[Reader], change: Callable[[], None], seen: int | None, delays_s: list[float]
    ) -> None:
        """Notes how long after the change an answer was asked for that did not have it yet."""
        change()
        with self.database.connect() as connection:
            ((version, changed_at),) = connection.execute(NOW).fetchall()
        wait_until(readers, lambda last: len(last) > 0 and last[-1].version == version)
        answers = [answer for reader in readers for answer in list(reader.answers)]
        delays_s.append(delay_s(answers, version, changed_at, seen=seen))

    def publish(self, key: str) -> None:
        load(self.database, self.file, key=key)

    def withdraw(self, key: str) -> None:
        withdraw(self.database, key)

    def correct(self, slug: str) -> None:
        with self.database.connect() as connection:
            connection.execute(MOVE, [slug, LANE[1]])

    def outages(self) -> None:
        with Server(WARM, self.database.environment(API_ROLE)) as server:
            server.start(QUESTION)
            with reading(server) as readers:
                for number in range(KILLS):
                    self.say(f"PostgreSQL is killed: {number + 1} of {KILLS}")
                    wait_until(readers, are_well)
                    self.database.server.kill()
                    wait_until(readers, is_away)
                    self.database.server.start()
                    back = time.time()
                    wait_until(readers, are_well)
                    answers = [answer for reader in readers for answer in list(reader.answers)]
                    failed = [each.come for each in answers if each.status != http.HTTPStatus.OK]
                    self.figures.back_s.append(max(0.0, max(failed) - back))


def delay_s(answers: Sequence[Answer], version: int, changed_at: float, *, seen: int | None) -> float:
    """From `changed_at` until the last question that still got an answer older than this version.

    Raises BenchmarkError where one that says it is of this version has another count than `seen`: an API that
    is quick because it calls old answers new must not look good.
    """
    wrong = [each for each in answers if each.version == version and each.count != seen]
    if wrong:
        raise BenchmarkError(f"{len(wrong)} answers of version {version} have other counts than {seen}")
    return max((0.0, *(each.sent - changed_at for each in answers if each.version < version)))


def are_well(last: Sequence[Answer]) -> bool:
    return len(last) == ANSWERS_MIN and {answer.status for answer in last} == {http.HTTPStatus.OK}


def is_away(last: Sequence[Answer]) -> bool:
    return len(last) > 0 and last[-1].status == http.HTTPStatus.SERVICE_UNAVAILABLE


def start_again(
    home: Path, figures: Figures, say: Callable[[str], None], command: Sequence[str] = STACK
) -> None:
    """Starts the local stack in a new folder, and then again and again."""
    for number in range(STARTS + 1):
        say(f"starting the local stack: {number} of {STARTS}" if number else "the local stack's first start")
        seconds = start_stack(home, command)
        if number:
            figures.start_s.append(seconds)


def start_stack(home: Path, command: Sequence[str] = STACK) -> float:
    """What it says that it took to be ready; stopped at once. Raises BenchmarkError."""
    lines: list[str] = []
    own = {"RATES_HOME": str(home), "PORT": str(free_port()), "DUMP": "", "PYTHONPATH": str(ROOT)}
    stack = ChildProcess(command, env={**inherited(), **own}, output=lines.append)
    stack.start()
    try:
        wait_for("the local stack", stack, lambda: any(READY in line for line in list(lines)))
    finally:
        stack.stop()
    told = next(line for line in lines if READY in line)
    return float(told.partition(READY)[2].partition(" s")[0])


def run(scratch: Path, *, output: Path, say: Callable[[str], None]) -> list[Verdict]:
    """Measures, prints the targets, writes `output`."""
    figures = Figures()
    file = write_file(scratch / "delays.csv")
    with (
        scratch_server(scratch) as server,
        fresh_database(server, databases.OURS) as database,
    ):
        bench = Bench(database, file, figures, say)
        bench.changes()
        bench.outages()
        settings = databases.describe(server)
    start_again(scratch / "stack", figures, say)
    verdicts = judge(figures)
    print_report(verdicts)
    write_run(output, HOW, verdicts, settings, describe_versions(), figures=asdict(figures))
    return verdicts


def write_file(file: Path) -> Path:
    rows = [f"{','.join(LANE)},{DAY},{1_000 + number}" for number in range(PRICES)]
    file.write_text("\n".join(["orig_code,dest_code,day,price", *rows, ""]))
    return file


# --- what is told of it ------------------------------------------------------------------------------------


def judge(figures: Figures) -> list[Verdict]:
    return [
        verdict("a publish is in every answer after", "< 100 ms", most_ms(figures.published_s)),
        verdict("a withdrawal is in every answer after", "< 100 ms", most_ms(figures.withdrawn_s)),
        verdict("a correction is in every answer after", "< 100 ms", most_ms(figures.corrected_s)),
        verdict("served again after PostgreSQL is back in", "< 5 s", max(figures.back_s)),
        verdict("local stack: a second start", "< 5 s", max(figures.start_s)),
    ]


def most_ms(delays_s: Sequence[float]) -> float | None:
    delay_s = percentile(delays_s, SHARE)
    return None if delay_s is None else delay_s / MS


def print_report(verdicts: Sequence[Verdict]) -> None:
    console = Console(
        width=None if Console().is_terminal else WIDTH, highlight=False, markup=False, emoji=False
    )
    machine = describe_machine()
    console.print(f"\n{machine['cores']} cores of {machine['processor']}\n{HOW}")
    console.print(verdicts_table(verdicts))
    missed = [each.met for each in verdicts].count(False)
    console.print(f"{len(verdicts)} of {len(verdicts)} targets judged, {missed} missed")
