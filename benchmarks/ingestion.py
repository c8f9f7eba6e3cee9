"""Ingestion as a client sees it: how soon a batch is accepted and published, by how many workers, in how much
memory, and how soon the work of a killed worker goes on.

For each figure the API and its workers are started anew, beside a fresh database and bucket.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import psycopg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import BenchmarkError, databases
from benchmarks.databases import fresh_database, scratch_server
from benchmarks.figures import MB, in_short, ratio
from benchmarks.fleet import POLL_S, Fleet, running_fleet, running_storage
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.memory import watched
from benchmarks.random_prices import write_prices
from benchmarks.report import WIDTH, shown, verdicts_table, write_run
from benchmarks.targets import Verdict, verdict
from database.queries import query
from local.postgres import PostgresServer

SMALL_ROWS = 50_000
ROWS_MAX = 5_000_000
# 1 GB beside 5 million rows, which take a tenth of it: memory must not follow the file.
BIG_BYTES_A_ROW = 200
FEW, MANY = 1, 3  # workers
ROUNDS = 3
KILLS = 3
# Three workers, the database and moto cannot be quicker than one where they share two cores.
CORES_MIN = 4
HELD_TIMEOUT_S = 60
HAS_ENDED = "SELECT FROM batches WHERE id = %s AND state <> 'loading'"
IS_IN = "SELECT FROM chunks WHERE batch_no = %s AND chunk_no = %s"
HOW = (
    f"Accepting is from a request's first byte to its 202, the worst of {ROUNDS}. The spread is from the end"
    f" of the upload at the presigned address to the publishing, the best of {ROUNDS}. Memory is the most"
    " that any one process had. Recovery is from kill -9 of a worker with a chunk in hand until another"
    f" worker has written that chunk, the worst of {KILLS}. S3 and SQS are moto's, on the same cores."
)


@dataclass
class Figures:
    """Everything measured, in seconds and bytes."""

    rows: int
    accept_s: list[float] = field(default_factory=list)
    publish_s: list[float] = field(default_factory=list)  # since it was accepted
    spread_s: dict[int, list[float]] = field(default_factory=dict)  # by the number of workers
    peaks: dict[int, dict[str, int]] = field(default_factory=dict)  # by the size of the file: API, worker
    recovery_s: list[float] = field(default_factory=list)

    @property
    def big(self) -> int:
        return self.rows * BIG_BYTES_A_ROW


@dataclass(frozen=True)
class Bench:
    """What the figures are measured on, and where they are noted."""

    server: PostgresServer
    endpoint_url: str
    scratch: Path
    figures: Figures
    say: Callable[[str], None]

    @contextmanager
    def fleet(self, workers: int) -> Generator[Fleet]:
        with (
            fresh_database(self.server, databases.OURS) as database,
            running_fleet(database, self.endpoint_url, workers) as fleet,
        ):
            yield fleet

    def accepting(self) -> None:
        self.say(f"{SMALL_ROWS:,} rows: accepting them {ROUNDS} times")
        content = prices(self.scratch, SMALL_ROWS).read_bytes()
        with self.fleet(FEW) as fleet:
            for _ in range(ROUNDS):
                began = time.monotonic()
                batch = fleet.post(content, len(content))
                accepted = time.monotonic()
                fleet.wait_until_published(batch, SMALL_ROWS)
                self.figures.accept_s.append(accepted - began)
                self.figures.publish_s.append(time.monotonic() - accepted)

    def spread(self) -> None:
        file = prices(self.scratch, self.figures.rows)
        for number in range(ROUNDS):
            for workers in (FEW, MANY):
                self.say(f"{self.figures.rows:,} rows, {workers} workers: round {number + 1} of {ROUNDS}")
                with self.fleet(workers) as fleet:
                    batch = fleet.upload(file)
                    began = time.monotonic()
                    fleet.wait_until_published(batch, self.figures.rows)
                    self.figures.spread_s.setdefault(workers, []).append(time.monotonic() - began)

    def memory(self) -> None:
        """Of a file, and of one ten times as large."""
        for size in (self.figures.big // 10, self.figures.big):
            self.say(f"{size / MB:,.0f} MB: memory")
            file = prices(self.scratch, min(SMALL_ROWS, self.figures.rows))
            content, length, rows = repeated(file, size)
            with self.fleet(FEW) as fleet:
                pids = {"API": fleet.api.pid, "worker": fleet.workers[0].pid}
                with watched(pids) as self.figures.peaks[size]:
                    fleet.wait_until_published(fleet.post(content, length), rows)

    def recovery(self) -> None:
        file = prices(self.scratch, self.figures.rows)
        for number in range(KILLS):
            self.say(f"{self.figures.rows:,} rows: kill {number + 1} of {KILLS}")
            with self.fleet(2) as fleet:
                batches = [fleet.upload(file)]
                while (seconds := seconds_to_recover(fleet, batches[-1])) is None:
                    batches.append(fleet.upload(file))
                self.figures.recovery_s.append(seconds)
                for batch in batches:
                    fleet.wait_until_published(batch, self.figures.rows)


def run(row_count: int, scratch: Path, *, output: Path, say: Callable[[str], None]) -> list[Verdict]:
    """Measures, prints the table and the targets, writes `output`."""
    figures = Figures(min(row_count, ROWS_MAX))
    with scratch_server(scratch) as server:
        for measure in (Bench.accepting, Bench.spread, Bench.memory, Bench.recovery):
            with running_storage() as endpoint_url:  # anew, since moto never forgets an object
                measure(Bench(server, endpoint_url, scratch, figures, say))
        settings = databases.describe(server)
    verdicts = judge(figures, os.cpu_count() or 1)
    print_report(figures, verdicts)
    write_report(output, figures, verdicts, settings)
    return verdicts


def prices(folder: Path, row_count: int) -> Path:
    """A file of random prices, made once."""
    file = folder / f"prices-{row_count}.csv"
    if not file.exists():
        write_prices(file, row_count)
    return file


def repeated(file: Path, size: int) -> tuple[Iterator[bytes], int, int]:
    """The rows of a file over and over, as content of about `size` bytes; its length and number of rows."""
    header, _, rows = file.read_bytes().partition(b"\n")
    times = max(1, size // len(rows))

    def content() -> Iterator[bytes]:
        yield header + b"\n"
        for _ in range(times):
            yield rows

    return content(), len(header) + 1 + times * len(rows), times * rows.count(b"\n")


def seconds_to_recover(fleet: Fleet, batch: str) -> float | None:
    """Kills the first worker with a chunk in hand; None where the batch ended before it had one."""
    victim = psutil.Process(fleet.workers[0].pid)
    with fleet.database.connect() as connection:
        while connection.execute(HAS_ENDED, [batch]).fetchone() is None:
            victim.suspend()  # so that what it holds is what it is killed with
            if chunks := held_by(victim, connection):
                victim.kill()
                began = time.monotonic()
                deadline = began + HELD_TIMEOUT_S
                while not all(connection.execute(IS_IN, chunk).fetchone() is not None for chunk in chunks):
                    if time.monotonic() > deadline:
                        raise BenchmarkError(f"nobody did the chunks of a killed worker: {chunks}")
                    time.sleep(POLL_S)
                return time.monotonic() - began
            victim.resume()
            time.sleep(POLL_S)
    return None


def held_by(worker: psutil.Process, connection: psycopg.Connection) -> list[tuple[int, int]]:
    """Batch and chunk number of what it has in hand, and has not committed."""
    ports = [each.laddr.port for each in worker.net_connections() if each.laddr]
    return connection.execute(query("benchmarks", "held_chunks"), [ports]).fetchall()


# --- what is told of it ------------------------------------------------------------------------------------


def judge(figures: Figures, cores: int) -> list[Verdict]:
    few, many = (min(figures.spread_s[workers]) for workers in (FEW, MANY))
    whole = figures.rows == ROWS_MAX
    size = f"{figures.big / MB:,.0f} MB"
    small = "" if whole else f"{ROWS_MAX:,} rows were not run"
    shared = "" if cores >= CORES_MIN else f"{cores} cores for {MANY} workers, database and moto"
    peaks = figures.peaks[figures.big]
    return [
        verdict(f"{SMALL_ROWS:,} rows: accepted in", "< 1 s", max(figures.accept_s)),
        verdict(f"{MANY} workers: rows/s ÷ those of {FEW}", "≥ 1.2", few / many, small or shared),
        verdict(f"{size}: the API's peak memory", "< 256 MB", peaks["API"] / MB, small),
        verdict(f"{size}: a worker's peak memory", "< 256 MB", peaks["worker"] / MB, small),
        verdict("a killed worker's chunk is in after", "< 5 s", max(figures.recovery_s), small),
    ]


def lines_of(figures: Figures) -> Iterator[tuple[str, float, str, float | None]]:
    """What, how much of what unit, and rows a second where that is to be told."""
    yield f"{SMALL_ROWS:,} rows accepted", max(figures.accept_s), "s", None
    yield "… and published after that", max(figures.publish_s), "s", None
    for workers, seconds in figures.spread_s.items():
        best = min(seconds)
        yield f"{figures.rows:,} rows, {workers} workers", best, "s", ratio(figures.rows, best)
    for size, peaks in figures.peaks.items():
        for name, peak in peaks.items():
            yield f"{size / MB:,.0f} MB, peak memory of the {name}", peak / MB, "MB", None
    yield "a killed worker's chunk is in after", max(figures.recovery_s), "s", None


def print_report(figures: Figures, verdicts: Sequence[Verdict]) -> None:
    console = Console(
        width=None if Console().is_terminal else WIDTH, highlight=False, markup=False, emoji=False
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("rows/s", justify="right")
    for what, value, unit, rows_per_s in lines_of(figures):
        table.add_row(what, shown(value, unit), in_short(rows_per_s))
    machine = describe_machine()
    console.print(f"\n{machine['cores']} cores of {machine['processor']}\n{HOW}")
    console.print(table)
    console.print(verdicts_table(verdicts))
    judged = [each.met for each in verdicts if each.met is not None]
    console.print(f"{len(judged)} of {len(verdicts)} targets judged, {judged.count(False)} missed")


def write_report(
    output: Path, figures: Figures, verdicts: Sequence[Verdict], settings: dict[str, str]
) -> None:
    write_run(output, HOW, verdicts, settings, describe_versions(), figures=asdict(figures))
