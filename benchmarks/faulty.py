"""The loader on files with faults: the benchmark's file with one bad row, or with all of them bad.

Each is loaded into a fresh database beside the good file, and every fault that is told is counted again.
Compared is the processor time of the loader's process: what else a machine does adds little to it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import polars as pl

from benchmarks import BenchmarkError, databases
from benchmarks.databases import checkpoint, fresh_database, wal_position
from benchmarks.figures import Run
from benchmarks.process import run_process
from local.environment import LOADER_ROLE
from local.postgres import PostgresServer

REJECTED = 1
TIMEOUT_S = 300
# A column's bad value, and how many rows have it.
Faults: TypeAlias = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Faulty:
    """A way to spoil the file, and whether its bad rows are written down."""

    name: str
    spoil: Callable[[pl.DataFrame], tuple[pl.DataFrame, Faults]]
    rejects: bool = False


def spoil_one(rows: pl.DataFrame) -> tuple[pl.DataFrame, Faults]:
    in_the_middle = pl.int_range(pl.len()) == pl.len() // 2
    price = pl.when(in_the_middle).then(pl.lit("0")).otherwise("price").alias("price")
    return rows.with_columns(price), Counter({("price", "0"): 1})


def spoil_all(rows: pl.DataFrame) -> tuple[pl.DataFrame, Faults]:
    """As a spreadsheet spells days, and small letters."""
    day = pl.col("day").str.strptime(pl.Date).dt.strftime("%d/%m/%Y")
    spoilt = rows.with_columns(day, pl.col("dest_code").str.to_lowercase())
    faults: Faults = Counter()
    for column in ("day", "dest_code"):
        faults.update({(column, value): count for value, count in spoilt[column].value_counts().iter_rows()})
    return spoilt, faults


ONE_BAD = Faulty("load, one bad row", spoil_one)
ALL_BAD = Faulty("load, all bad", spoil_all)
ALL_REJECTED = Faulty("load --rejects, all bad", spoil_all, rejects=True)
FAULTY = (ONE_BAD, ALL_BAD, ALL_REJECTED)


def run_faulty(server: PostgresServer, faulty: Faulty, file: Path) -> Run:
    """Raises BenchmarkError where the loader does not tell every fault, or write down every bad row."""
    rows, faults = faulty.spoil(pl.read_csv(file, infer_schema=False))
    spoilt, rejects = file.with_suffix(".bad.csv"), file.with_suffix(".rejects.csv")
    rows.write_csv(spoilt)
    command = [sys.executable, "-m", "loader", "load", str(spoilt), "--json"]
    command += ["--rejects", str(rejects)] if faulty.rejects else []
    try:
        with fresh_database(server, databases.OURS) as database:
            checkpoint(server)
            before = wal_position(server)
            environment = database.environment(LOADER_ROLE)
            ended = run_process(command, environment=environment, timeout_s=TIMEOUT_S)
            wal_bytes = wal_position(server) - before
        if ended.exit_status != REJECTED:
            raise BenchmarkError(f"{faulty.name}: ended with {ended.exit_status}: {ended.stderr.strip()}")
        said = json.loads(ended.stdout)
        told = {(kind["column"], kind["value"]): kind["count"] for kind in said["error_kinds"]}
        if told != faults or said["error_count"] != faults.total():
            raise BenchmarkError(f"{faulty.name}: {told} are not the faults of the file")
        if faulty.rejects and (lines := rejects.read_bytes().count(b"\n")) != rows.height + 1:
            raise BenchmarkError(f"{faulty.name}: {lines - 1:,} of {rows.height:,} bad rows are written down")
    finally:
        spoilt.unlink()
        rejects.unlink(missing_ok=True)
    return Run(ended.seconds, wal_bytes, said["seconds"], ended.peak_bytes, processor_s=ended.processor_s)
