"""What the loader is compared with: other ways of getting the same file into the same server.

Each loads into a fresh database of its template and returns the seconds it took; `benchmarks.loader` gives
them and the loader their turns. None of them names a faulty row, totals anything or publishes all at once.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psycopg

from benchmarks import BenchmarkError, databases
from benchmarks.databases import Database
from benchmarks.process import run_process

MILLION = 1_000_000
BLOCK_BYTES = 256 * 1024
COPY = "COPY prices (orig_code, dest_code, day, price) FROM STDIN (FORMAT csv, HEADER true)"
INSERT = "INSERT INTO prices (orig_code, dest_code, day, price) VALUES (%s, %s, %s, %s)"
EXECUTEMANY_ROWS_MAX = 100_000
# Above this, those that check and index each row take minutes.
SLOW_ROWS_MAX = MILLION
PGLOADER_TIMEOUT_S = 600
# pgloader's own batching is left as it comes.
PGLOADER_COMMAND = """
LOAD CSV FROM '{file}' HAVING FIELDS (orig_code, dest_code, day, price)
INTO {address} TARGET TABLE public.prices TARGET COLUMNS (orig_code, dest_code, day, price)
WITH skip header = 1, fields terminated by ',';
"""


@dataclass(frozen=True)
class Anchor:
    """`load` puts a file's first `rows_max` rows into a database of `template` and returns the seconds."""

    name: str
    template: str
    load: Callable[[Database, Path], float]
    rows_max: int | None = None  # of a file: its first ones are loaded, and the time is scaled to all
    file_rows_max: int | None = None  # larger files are not run
    program: str | None = None

    def absent(self, row_count: int) -> str | None:
        """Why it is not run on a file of so many rows; None where it is."""
        if self.program and shutil.which(self.program) is None:
            return f"{self.program} is not installed"
        if self.file_rows_max is not None and row_count > self.file_rows_max:
            return f"too slow: up to {self.file_rows_max / MILLION:g}M rows"
        return None


def copy_file(database: Database, file: Path) -> float:
    """The file's bytes as they are, through a connection that is open already."""
    with database.connect() as connection, connection.cursor() as cursor, file.open("rb") as blocks:
        began = time.monotonic()
        with cursor.copy(COPY) as copy:
            while block := blocks.read(BLOCK_BYTES):
                copy.write(block)
        return time.monotonic() - began


def insert_rows(database: Database, file: Path) -> float:
    """The first EXECUTEMANY_ROWS_MAX rows, read beforehand, in one transaction."""
    with file.open(newline="") as lines:
        rows = list(islice(csv.reader(lines), 1, 1 + EXECUTEMANY_ROWS_MAX))
    with database.connect() as connection, connection.cursor() as cursor:
        began = time.monotonic()
        with connection.transaction():
            cursor.executemany(INSERT, rows)
        return time.monotonic() - began


def run_pgloader(database: Database, file: Path) -> float:
    """The whole process, as for the loader."""
    command_file = file.with_suffix(".pgloader")
    command_file.touch(mode=0o600)  # the address has the password
    command_file.write_text(PGLOADER_COMMAND.format(file=file, address=address(database)))
    command = ["pgloader", "--root-dir", str(file.parent / "pgloader"), str(command_file)]
    ended = run_process(command, environment={}, timeout_s=PGLOADER_TIMEOUT_S)
    if ended.exit_status != 0:
        raise BenchmarkError(f"pgloader ended with {ended.exit_status}: {ended.stdout}{ended.stderr}")
    return ended.seconds


def address(database: Database) -> str:
    names = database.environment()
    return "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**names)


def count_prices(connection: psycopg.Connection) -> int:
    return connection.execute("SELECT count(*) FROM prices").fetchall()[0][0]


FLOOR = Anchor("COPY, bare table (the floor)", databases.BARE, copy_file)
ORIGINAL = Anchor("COPY, original's schema", databases.ORIGINAL, copy_file, file_rows_max=SLOW_ROWS_MAX)
PGLOADER = Anchor(
    "pgloader, original's schema",
    databases.ORIGINAL,
    run_pgloader,
    file_rows_max=SLOW_ROWS_MAX,
    program="pgloader",
)
EXECUTEMANY = Anchor(
    "executemany",
    databases.BARE,
    insert_rows,
    rows_max=EXECUTEMANY_ROWS_MAX,
    file_rows_max=SLOW_ROWS_MAX,
)
ANCHORS = (FLOOR, ORIGINAL, PGLOADER, EXECUTEMANY)
