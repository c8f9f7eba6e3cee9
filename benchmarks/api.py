"""The rates API as its clients see it, beside a Falcon app that does nothing and the service it replaces.

For the dump's prices and for very many: every server is started, what they answer is compared, and then each
has its turn in every round at each number of connections. How soon a server answers, and the memory of its
processes, are measured before, with nothing beside it. `api_report` judges and shows what was measured.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import BenchmarkError, databases, wrk
from benchmarks.anchors import MILLION
from benchmarks.api_figures import (
    BARE_FALCON,
    COLD_IN_TWO_PROCESSES,
    COLD_ON_GRANIAN,
    FALCON_ON_GRANIAN,
    INDEXED,
    KNOWN,
    OURS_COLD,
    OURS_WARM,
    THE_ORIGINAL,
    WARM_ON_GRANIAN,
    Figures,
    Size,
)
from benchmarks.api_report import judge, print_report, write_report
from benchmarks.cores import free_core
from benchmarks.databases import Database, checkpoint, fresh_database, scratch_server
from benchmarks.loader import load, loader
from benchmarks.process import ROOT
from benchmarks.questions import Question, Rate, are_equal, draw_questions, odd_questions, rates_by
from benchmarks.random_prices import DAYS, SEED, random_lanes, totals_of, write_prices
from benchmarks.servers import (
    BARE,
    COLD,
    COLD_IN_TWO,
    GRANIAN_BARE,
    GRANIAN_COLD,
    GRANIAN_WARM,
    ORIGINAL,
    ORIGINAL_INDEXED,
    WARM,
    Kind,
    Server,
)
from benchmarks.targets import Verdict
from loader.compact import fold_all
from local.environment import API_ROLE
from local.postgres import PostgresServer
from local.stack import SAMPLE

REFERENCE_DUMP = ROOT.parent / "shared" / "reference" / "rates.sql"
QUESTIONS = 1_000  # their answers take 5 MB of the 32 that a process of ours keeps
COMPARED = 200
# A file of so many is loaded again and again, under another key each time.
FILE_ROWS = 10 * MILLION
LOAD_S_MAX = 600.0
IMPORT_TIMEOUT_S = 120
LANE_INDEX = "CREATE INDEX ON prices (orig_code, dest_code, day)"
TOTALS = "VACUUM ANALYZE lane_month_totals, lane_month_deltas, postings, region_ports, ports"


@dataclass(frozen=True)
class Contestant:
    """A server and how it is asked: where `known`, with the ETag of the answer, which is to be a 304."""

    name: str
    kind: Kind
    known: bool = False


CONTESTANTS = (
    Contestant(BARE_FALCON, BARE),
    Contestant(THE_ORIGINAL, ORIGINAL),
    Contestant(INDEXED, ORIGINAL_INDEXED),
    Contestant(OURS_COLD, COLD),
    Contestant(OURS_WARM, WARM),
    Contestant(KNOWN, WARM, known=True),
    Contestant(COLD_IN_TWO_PROCESSES, COLD_IN_TWO),
    Contestant(FALCON_ON_GRANIAN, GRANIAN_BARE),
    Contestant(COLD_ON_GRANIAN, GRANIAN_COLD),
    Contestant(WARM_ON_GRANIAN, GRANIAN_WARM),
)


@dataclass(frozen=True)
class Plan:
    """Rounds are many and short, since what else a machine does falls upon some of them. Servers are started
    anew some times: how one happens to lie in memory makes it a tenth quicker or slower for its life."""

    servers: int = 4
    rounds: int = 3  # of each
    seconds: int = 1
    warm_up_s: int = 3
    connections: Sequence[int] = (1, 8, 64)
    contestants: Sequence[Contestant] = CONTESTANTS
    starts: int = 7
    started: Sequence[Kind] = (ORIGINAL, WARM, GRANIAN_WARM)


# Enough to see that it works, and not to judge anything by.
TRY_ROWS = MILLION
TRY = Plan(servers=1, rounds=1, warm_up_s=1, starts=1)


@dataclass(frozen=True)
class Bench:
    postgres: PostgresServer
    scratch: Path
    plan: Plan
    figures: Figures
    say: Callable[[str], None]
    core: int | None = None  # for the servers

    def dumped(self, dump: Path) -> None:
        """The dump's prices: in the original's tables as they are, in those with an index, and in ours."""
        with (
            self.restored(dump) as original,
            self.restored(dump, LANE_INDEX) as indexed,
            fresh_database(self.postgres, databases.OURS) as ours,
        ):
            loader(ours, ["import", str(dump), "--json"], IMPORT_TIMEOUT_S)
            fold(ours)
            environments = dict.fromkeys([*self.kinds(), *self.plan.started], ours.environment(API_ROLE))
            environments |= {ORIGINAL: original.environment(), ORIGINAL_INDEXED: indexed.environment()}
            asked = questions_about(original)
            self.starting(environments, asked)
            size = Size(count_of(original), dump.name)
            self.figures.sizes.append(size)
            some = to_compare(asked)
            with Server(ORIGINAL, environments[ORIGINAL], self.core) as server:
                server.start(asked[0])
                right = [server.rates(question) for question in some]
            self.measure(size, environments, asked, right)

    def many(self, row_count: int) -> None:
        """So many random prices, or what of them could be loaded in time, in our tables."""
        file_rows = min(row_count, FILE_ROWS)
        file = self.scratch / "prices.csv"
        self.say(f"{row_count:,} prices: making a file of {file_rows:,}")
        write_prices(file, file_rows)
        with fresh_database(self.postgres, databases.OURS) as database:
            times = self.load(database, file, row_count // file_rows)
            asked = draw_questions(random_lanes(), DAYS[0], DAYS[-1], QUESTIONS, SEED)
            size = Size(file_rows * times, f"{file_rows:,} random prices, {times} times")
            self.figures.sizes.append(size)
            kinds = [kind for kind in self.kinds() if kind not in (ORIGINAL, ORIGINAL_INDEXED)]
            environments = dict.fromkeys(kinds, database.environment(API_ROLE))
            totals = totals_of(file)
            right = [rates_by(totals, times, question) for question in to_compare(asked)]
            self.measure(size, environments, asked, right)

    def load(self, database: Database, file: Path, times: int) -> int:
        """How often the file is in, once LOAD_S_MAX are over or it is in so many times."""
        began = time.monotonic()
        for done in range(1, times + 1):
            self.say(f"loading {done} of {times}, {time.monotonic() - began:.0f} s so far")
            load(database, file, key=f"api {done}")
            fold(database)
            taken = time.monotonic() - began
            if taken + taken / done > LOAD_S_MAX:
                break
        self.figures.load_s = time.monotonic() - began
        with database.connect() as connection:
            # All of it, or the server does so by itself while questions are asked.
            connection.execute("VACUUM ANALYZE")
        checkpoint(self.postgres)
        return done

    @contextmanager
    def restored(self, dump: Path, index: str = "") -> Generator[Database]:
        with fresh_database(self.postgres, "template0") as database:
            restore(database, dump)
            with database.connect() as connection:
                if index:
                    connection.execute(index.encode())
                connection.execute("VACUUM ANALYZE")
            yield database

    def kinds(self) -> list[Kind]:
        return list(dict.fromkeys(contestant.kind for contestant in self.plan.contestants))

    def starting(self, environments: Mapping[Kind, Mapping[str, str]], asked: Sequence[Question]) -> None:
        """Each alone on the machine, but for the database."""
        file = questions_file(self.scratch, asked)
        for number in range(1, self.plan.starts + 1):
            self.say(f"starting each server: {number} of {self.plan.starts}")
            for kind in self.plan.started:
                with Server(kind, environments[kind], self.core) as server:
                    seconds = server.start(asked[0])
                    self.figures.start_s.setdefault(kind.name, []).append(seconds)
                    if number == self.plan.starts:
                        wrk.ask(server.port, file, max(self.plan.connections), self.plan.seconds)
                        self.figures.worker_bytes[kind.name] = server.worker_bytes()

    @contextmanager
    def running(
        self, kinds: Sequence[Kind], environments: Mapping[Kind, Mapping[str, str]], first: Question
    ) -> Generator[dict[Kind, Server]]:
        with ExitStack() as ends:
            servers = {
                kind: ends.enter_context(Server(kind, environments[kind], self.core)) for kind in kinds
            }
            for server in servers.values():
                server.start(first)
            yield servers

    def measure(
        self,
        size: Size,
        environments: Mapping[Kind, Mapping[str, str]],
        asked: Sequence[Question],
        right: Sequence[Sequence[Rate]],
    ) -> None:
        """Of the servers that have an environment; `right` are the answers to those that are compared."""
        kinds = [kind for kind in self.kinds() if kind in environments]
        for number in range(self.plan.servers):
            with self.running(kinds, environments, asked[0]) as servers:
                if number == 0:
                    compare(to_compare(asked), right, servers)
                self.ask(size, servers, asked, number * self.plan.rounds)

    def ask(
        self, size: Size, servers: Mapping[Kind, Server], asked: Sequence[Question], rounds_before: int
    ) -> None:
        file = questions_file(self.scratch, asked)
        tags = [servers[WARM].tag(question) for question in asked] if WARM in servers else []
        known = self.scratch / "known"
        wrk.write_questions(known, [(question.path, tag) for question, tag in zip(asked, tags, strict=False)])
        for server in servers.values() if self.plan.warm_up_s else ():
            # Each is asked every question many times over. What a process does once, in its first seconds
            # (to connect, and to load what a batch will need), is told by how soon it starts.
            wrk.ask(server.port, file, max(self.plan.connections), self.plan.warm_up_s)
        for number in range(rounds_before + 1, rounds_before + self.plan.rounds + 1):
            self.say(f"{size.prices:,} prices: round {number} of {self.plan.rounds * self.plan.servers}")
            for connections in self.plan.connections:
                # There and back, so that nobody always comes behind the same one.
                for contestant in self.plan.contestants[:: 1 if number % 2 else -1]:
                    if contestant.kind not in servers:
                        continue
                    server, about = servers[contestant.kind], known if contestant.known else file
                    wanted, before = 304 if contestant.known else 200, server.cpu_s()
                    load = wrk.ask(
                        server.port, about, connections, self.plan.seconds, wanted=wanted, seed=number
                    )
                    size.add(contestant.name, connections, replace(load, cpu_s=server.cpu_s() - before))


def run(row_count: int, scratch: Path, *, output: Path, say: Callable[[str], None]) -> list[Verdict]:
    """Measures, prints the table and the targets, writes `output`."""
    dump = dump_to_ask()
    plan = TRY if row_count < TRY_ROWS else Plan()
    with scratch_server(scratch) as postgres, free_core(postgres) as core:
        figures = Figures(
            row_count,
            reference=dump != SAMPLE,
            try_only=row_count < TRY_ROWS,
            free_core=core is not None,
        )
        bench = Bench(postgres, scratch, plan, figures, say, core)
        bench.dumped(dump)
        bench.many(row_count)
        settings = databases.describe(postgres)
    verdicts = judge(figures)
    print_report(figures, verdicts, settings)
    write_report(output, figures, verdicts, settings)
    return verdicts


def dump_to_ask() -> Path:
    """REFERENCE_DUMP, or the reference where it lies beside the project, or else the bundled sample."""
    named = os.environ.get("REFERENCE_DUMP")
    if named:
        return Path(named).resolve()
    return REFERENCE_DUMP if named is None and REFERENCE_DUMP.is_file() else SAMPLE


def restore(database: Database, dump: Path) -> None:
    """As `psql` makes it."""
    command = [str(database.server.bin_dir / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    ended = subprocess.run(
        [*command, f"--file={dump}"],
        env={**os.environ, **database.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise BenchmarkError(f"{dump} could not be restored: {ended.stderr.strip()}")


def fold(database: Database) -> None:
    """As a worker would have done."""
    with database.connect() as connection:
        fold_all(connection)
        connection.execute(TOTALS)


def count_of(database: Database) -> int:
    with database.connect() as connection:
        return connection.execute("SELECT count(*) FROM prices").fetchall()[0][0]


def questions_about(original: Database) -> list[Question]:
    with original.connect() as connection:
        lanes = connection.execute(
            "SELECT DISTINCT orig_code, dest_code FROM prices ORDER BY 1, 2"
        ).fetchall()
        ((first_day, last_day),) = connection.execute("SELECT min(day), max(day) FROM prices").fetchall()
    return draw_questions(lanes, first_day, last_day, QUESTIONS, SEED)


def to_compare(asked: Sequence[Question]) -> list[Question]:
    return [*asked[:COMPARED], *odd_questions(asked[0])]


def questions_file(folder: Path, asked: Sequence[Question]) -> Path:
    return wrk.write_questions(folder / "questions", [(question.path, "") for question in asked])


def compare(
    questions: Sequence[Question], expected: Sequence[Sequence[Rate]], servers: Mapping[Kind, Server]
) -> None:
    """Raises BenchmarkError: who is quick because it answers something else must not look good."""
    for kind, server in servers.items():
        if kind in (BARE, GRANIAN_BARE):
            continue
        for question, right in zip(questions, expected, strict=True):
            found = server.rates(question)
            if not are_equal(found, right):
                raise BenchmarkError(f"{kind.name} answers {question.path} with {found}; {right} is right")
