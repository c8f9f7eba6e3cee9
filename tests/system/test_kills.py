"""`kill -9` of the loader's processes and of PostgreSQL, at random moments: a batch ends whole or not at all.

Loads, withdrawals and workers run side by side and are killed while they start, between and within chunks,
while they publish, fold, take back and throw away. What must be true is looked at after each round.

By default each moment in the life of each process (MOMENTS) is hit at least twice, and the server is killed
at each of them once. RATES_KILLS and RATES_SERVER_KILLS ask for so many in all; a nightly run for a hundred,
and for twenty of the server.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import psutil
import psycopg
import pytest

from loader.load import Options, load
from loader.sources import Files
from loader.withdraw import withdraw
from local.postgres import PostgresServer, free_port
from tests.batch_storage import BatchStorage
from tests.examples import nightly
from tests.loader.batches import TIMEOUT_S, begin, chunk_held, write_csv
from tests.postgres import PASSWORD, Database, clone, make_template
from tests.processes import with_argument
from tests.system.left_behind import THIS, left_behind
from tests.waiting import wait_until

FILES = 2
ROWS = 6_000
CHUNK_ROWS = 300
CHUNKS = ROWS // CHUNK_ROWS
WORKERS = 2
CUT = ("--chunk-rows", str(CHUNK_ROWS), "--workers", str(WORKERS))
# So many lanes that a fold, and a reversal, takes several transactions.
CODES = [f"PT{number:03}" for number in range(30)]

# What says that a moment has come.
ANY_TIME = "SELECT true"
CHUNKS_ARE_IN = "SELECT count(*) >= %(chunks)s FROM chunks JOIN batches USING (batch_no) WHERE key = %(key)s"
LOADED = "SELECT count(*) FROM batch_events JOIN batches ON id = batch_id WHERE key = %s AND event = 'loaded'"
ALL_IS_LOADED = f"SELECT ({LOADED.replace('%s', '%(key)s')}) > %(before)s"
WITHDRAWAL_IS_ASKED = "SELECT count(withdrawn_by) > 0 FROM batches WHERE key = %(key)s"
WORKER_IS_THERE = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'rates-worker'
"""
# Moments in the life of a process, by its command, and within how many seconds after them it is killed.
MOMENTS = {
    ("load", "starting"): (ANY_TIME, 0.6),
    ("load", "among chunks"): (CHUNKS_ARE_IN, 0.02),
    ("load", "publishing"): (ALL_IS_LOADED, 0.01),
    ("withdraw", "withdrawing"): (WITHDRAWAL_IS_ASKED, 0.1),
    ("work", "working"): (WORKER_IS_THERE, 0.3),
}
Moment = tuple[str, str]
POLL_S = 0.002
# At least so often at each of them, and so often in all.
KILLS_EACH = 2
KILLS = int(os.environ.get("RATES_KILLS") or (100 if nightly else KILLS_EACH * len(MOMENTS)))
SERVER_KILLS_EACH = 1
SERVER_KILLS = int(
    os.environ.get("RATES_SERVER_KILLS") or (20 if nightly else SERVER_KILLS_EACH * len(MOMENTS))
)

# What says of rows, in whatever order, that they are the same: a row more, less or other changes it.
PRINT = "count(*), coalesce(sum(hashtextextended(concat_ws(',', orig_code, dest_code, day, price), 0)), 0)"
EXPECTED = f"""
SELECT {PRINT} FROM unnest(%s::text[], %s::text[], %s::date[], %s::integer[])
AS given (orig_code, dest_code, day, price)
"""
FOUND = f"""
SELECT batches.key, {PRINT} FROM batches LEFT JOIN prices USING (batch_no)
WHERE state = 'published' GROUP BY batches.key
"""
RELATIONS = """
SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1, 2
"""
SESSIONS = f"SELECT count(*) FROM pg_stat_activity WHERE usename = 'rates_loader' AND datid = {THIS}"
UNDONE = """
SELECT (SELECT count(*) FROM postings) + (SELECT count(*) FROM discards)
    + (SELECT count(*) FROM batches WHERE withdrawn_by IS NOT NULL AND state <> 'withdrawn')
"""
EMPTIED = ("prices", "lane_month_totals", "lane_month_deltas", "postings", "discards")

Row = tuple[str, str, date, int]


def draw_rows(seed: int) -> list[Row]:
    chance = Random(seed)  # noqa: S311
    return [
        (
            chance.choice(CODES),
            chance.choice(CODES),
            date(2021, 1, 1) + timedelta(chance.randrange(59)),
            chance.randrange(1, 5000),
        )
        for _ in range(ROWS)
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kills")
    return [write_csv(folder / f"{number}.csv", draw_rows(number)) for number in range(FILES)]


@dataclass
class Running:
    """A process of the loader, and when it is to be killed."""

    moment: Moment
    process: subprocess.Popen[str]
    values: dict[str, Any]
    delay_s: float
    due_at: float | None = None

    def is_due(self, watch: psycopg.Connection) -> bool:
        """Whether its moment has come, `delay_s` ago."""
        has_come, _ = MOMENTS[self.moment]
        if self.due_at is None and watch.execute(has_come.encode(), self.values).fetchone() == (True,):
            self.due_at = time.monotonic() + self.delay_s
        return self.due_at is not None and time.monotonic() >= self.due_at

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> int:
        """Its exit status; it told whatever it had to tell in words."""
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in errors, errors
        assert self.process.returncode in (0, 3, -signal.SIGKILL, -signal.SIGTERM), errors
        return self.process.returncode


@dataclass
class Life:
    """A database with a few batches that are loaded, folded, withdrawn and loaded again under another key."""

    database: Database
    storage: BatchStorage
    files: list[Path]
    chance: Random
    kills_each: int = 0  # so often each moment is to be hit
    kills: int = 0  # and all together
    hit: Counter[Moment] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.keys = [str(number) for number in range(FILES)]
        with self.database.connect() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute("INSERT INTO regions VALUES ('world', 'World', NULL)")
            cursor.executemany("INSERT INTO ports VALUES (%s, %s, 'world')", [(code, code) for code in CODES])
            # In the same transaction, which then raises it no more: only what changes prices is counted.
            cursor.execute("UPDATE data_version SET version = 0")
        columns = [[list(column) for column in zip(*draw_rows(n), strict=True)] for n in range(FILES)]
        self.prints = [self.database.rows(EXPECTED, *of_file)[0] for of_file in columns]
        self.relations = self.database.rows(RELATIONS)

    def number(self, key: str) -> int:
        """Of the file that is loaded under this key."""
        return int(key.rstrip("+"))

    def keys_published(self) -> list[str]:
        """Gives what was withdrawn a new key; the keys of what is published."""
        states = dict(self.database.rows("SELECT key, state FROM batches"))
        self.keys = [f"{key}+" if states.get(key) == "withdrawn" else key for key in self.keys]
        return [key for key in self.keys if states.get(key) == "published"]

    def chunks_in(self, key: str) -> int:
        query = "SELECT count(*) FROM chunks JOIN batches USING (batch_no) WHERE key = %s"
        return self.database.rows(query, key)[0][0]

    # --- what is run, and when it is killed ----------------------------------------------------------------

    @property
    def goes_on(self) -> bool:
        return bool(self.lacking()) or self.hit.total() < self.kills

    def lacking(self) -> list[Moment]:
        """The moments that have not been hit often enough."""
        return [moment for moment in MOMENTS if self.hit[moment] < self.kills_each]

    def draw(self, *moments: Moment) -> Moment:
        """One of them, of those that are lacking if there are any."""
        return self.chance.choice([each for each in moments if each in self.lacking()] or moments)

    def begin_round(self) -> list[Running]:
        """A load or two of one batch, often beside a worker, sometimes beside the withdrawal of another."""
        published = self.keys_published()
        wanted = {command for command, _ in self.lacking()}
        if "withdraw" in wanted and not published:
            published.append(self.publish(self.chance.choice(self.keys)))
        missing = [key for key in self.keys if key not in published]
        begun = []
        if missing and (not wanted or "load" in wanted):
            key = self.chance.choice(missing)
            begun += [self.begin_load(key) for _ in range(self.chance.choice((1, 1, 1, 2)))]
        if published and (not missing or "withdraw" in wanted or self.chance.random() < 0.4):
            key = self.chance.choice(published)
            begun.append(self.begin(("withdraw", "withdrawing"), key, key=key))
        if not begun or "work" in wanted or self.chance.random() < 0.4:
            begun.append(self.begin(("work", "working")))
        return begun

    def publish(self, key: str) -> str:
        """By the test's own process, which nobody kills; gives the key."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.database.environment("rates_loader").items():
                patch.setenv(name, value)
            result = load(Files([self.files[self.number(key)]]), Options(key, WORKERS, CHUNK_ROWS))
        assert (result.state, result.rows) == ("published", ROWS)
        return key

    def begin_load(self, key: str) -> Running:
        chunks_in = self.chunks_in(key)
        ((loaded_before,),) = self.database.rows(LOADED, key)
        values = {
            "key": key,
            "before": loaded_before,
            "chunks": min(chunks_in + self.chance.randint(1, CHUNKS), CHUNKS),
        }
        moments = [moment for moment in MOMENTS if moment[0] == "load"]
        if chunks_in == CHUNKS:
            moments.remove(("load", "among chunks"))
        return self.begin(self.draw(*moments), self.files[self.number(key)], *CUT, "--key", key, **values)

    def begin(self, moment: Moment, *arguments: str | Path, **values: Any) -> Running:
        _, within_s = MOMENTS[moment]
        process = begin(moment[0], *arguments, database=self.database, **self.storage.environment())
        return Running(moment, process, values, self.chance.uniform(0, within_s))

    def kill_loaders(self) -> None:
        """A round of which every process is killed, or was quicker."""
        begun = self.begin_round()
        with self.database.connect() as watch:
            while not all(running.is_over for running in begun):
                for running in begun:
                    if not running.is_over and running.is_due(watch):
                        running.process.kill()
                time.sleep(POLL_S)
        ends = [(running.moment, running.end()) for running in begun]
        self.hit.update(moment for moment, status in ends if status == -signal.SIGKILL)

    def kill_server(self) -> None:
        """A round in which the server is killed, or stopped at once, when the moment of one of them comes."""
        begun = self.begin_round()
        aim = self.draw(*(running.moment for running in begun))
        (victim, *_) = [running for running in begun if running.moment == aim]
        server = self.database.server
        with self.database.connect() as watch:
            while not (is_due := victim.is_due(watch)) and not victim.is_over:
                time.sleep(POLL_S)
        if is_due and not victim.is_over:
            self.hit[aim] += 1
        (server.kill, lambda: server.stop("immediate"))[self.hit.total() % 2]()
        for running in begun:
            if running.moment[0] == "work":
                running.process.terminate()
            running.end()
        server.start()

    # --- what must be true ---------------------------------------------------------------------------------

    def check(self) -> None:
        """Each batch is in whole or not at all, and nothing is left of what was killed."""
        wait_until(lambda: self.database.rows(SESSIONS) == [(0,)])
        assert left_behind(self.database) == {}, f"after kills at {self.hit}"
        for key, *of_rows in self.database.rows(FOUND):
            assert tuple(of_rows) == self.prints[self.number(key)], f"batch {key} is not the rows of its file"
        assert self.database.rows(RELATIONS) == self.relations

    def work_until_done(self) -> None:
        worker = self.begin(("work", "working"))
        wait_until(lambda: self.database.rows(UNDONE) == [(0,)])
        worker.process.terminate()
        worker.end()

    def end(self) -> None:
        """What was killed goes on: all is published once, and all of it can be taken back."""
        self.work_until_done()
        self.keys_published()
        for key in self.keys:
            self.publish(key)
        self.check()
        assert sorted(key for key, *_ in self.database.rows(FOUND)) == sorted(self.keys)
        with self.database.connect("rates_loader") as connection:
            for key in self.keys:
                assert withdraw(connection, key).state == "withdrawn"
        self.check()
        self.work_until_done()
        self.check()
        assert self.database.rows("SELECT DISTINCT state FROM batches") == [("withdrawn",)]
        for table in EMPTIED:
            assert self.database.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


def test_loads_workers_and_withdrawals_killed_at_every_moment_leave_batches_whole_or_out(
    server: PostgresServer, template: str, storage: BatchStorage, files: list[Path]
) -> None:
    database = clone(server, template)
    life = Life(database, storage, files, Random(0), KILLS_EACH, KILLS)  # noqa: S311
    while life.goes_on:
        life.kill_loaders()
        life.check()
    life.end()
    database.drop()


def test_postgresql_killed_at_every_moment_keeps_batches_whole_or_out(
    storage: BatchStorage, tmp_path: Path, files: list[Path]
) -> None:
    with PostgresServer(
        tmp_path / "postgres", free_port(), PASSWORD
    ) as server:  # as durable as in production
        chance = Random("server")  # noqa: S311
        database = clone(server, make_template(server))
        life = Life(database, storage, files, chance, SERVER_KILLS_EACH, SERVER_KILLS)
        while life.goes_on:
            life.kill_server()
            life.check()
        life.end()


def wal_writer(server: PostgresServer) -> psutil.Process:
    return with_argument("walwriter", psutil.Process(server.pid).children(recursive=True))


def test_chunks_that_a_server_loses_in_a_crash_are_loaded_again(
    storage: BatchStorage, tmp_path: Path, files: list[Path]
) -> None:
    """They commit without waiting for the disk. Here nothing else writes it either: the server's own process
    for that stands still, and the load is not over before the server is killed, which would write it all."""
    settings = {"autovacuum": "off"}
    with PostgresServer(tmp_path / "postgres", free_port(), PASSWORD, settings=settings) as server:
        life = Life(clone(server, make_template(server)), storage, files, Random("lost"))  # noqa: S311
        with chunk_held(life.database, CHUNKS - 1):
            wal_writer(server).suspend()
            load = begin("load", files[0], *CUT, "--key", "0", database=life.database)
            wait_until(lambda: life.chunks_in("0") >= CHUNKS // 2)
            seen = life.chunks_in("0")
            server.kill()
            load.communicate(timeout=TIMEOUT_S)
        server.start()

        assert life.chunks_in("0") < seen
        life.check()
        life.end()
