"""The loader against other ways of loading the same file, as somebody who runs its command sees it.

For each size: one file of random prices; rounds, in each of which every way of loading has its turn in a
fresh database after a checkpoint, and what it loaded is counted, or for the loader compared with the file; at
last one more load beside a reader. Files with faults have their turns too, up to a million rows. Then the
table, the targets and the JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import BenchmarkError, databases
from benchmarks.anchors import ANCHORS, MILLION, SLOW_ROWS_MAX, Anchor, count_prices
from benchmarks.cores import free_core
from benchmarks.databases import Database, checkpoint, fresh_database, scratch_server, wal_position
from benchmarks.faulty import FAULTY, run_faulty
from benchmarks.figures import Reading, Run, Size
from benchmarks.process import Ended, run_process
from benchmarks.random_prices import DAYS, LaneDay, Total, random_lanes, totals_of, write_prices
from benchmarks.reader import ask, reader_beside
from benchmarks.report import print_report, write_report
from benchmarks.targets import OURS, Verdict, judge
from database.queries import query
from loader.compact import fold_all
from local.environment import API_ROLE, LOADER_ROLE
from local.postgres import PostgresServer

IDLE_S = 10.0
# Of fewer rows than a million nothing is judged, and of so few the rounds are as of the largest files.
TRY_IDLE_S, TRY_ROWS_MAX = 1.0, 10_000
# Above this, the answers of a few lanes are checked instead of all.
ALL_LANES_ROWS_MAX = 1_000_000
FEW_LANES = 20
# Slower than this is not slow but stuck.
ROWS_PER_S_MIN = 5_000
START_TIMEOUT_S = 60


def run(
    row_counts: tuple[int, ...], scratch: Path, *, output: Path, say: Callable[[str], None]
) -> list[Verdict]:
    """Measures, prints the table and the targets, writes `output`."""
    with scratch_server(scratch) as server:
        sizes = [measure(server, row_count, scratch, say) for row_count in row_counts]
        settings = databases.describe(server)
    verdicts = judge(sizes)
    print_report(sizes, verdicts, settings)
    write_report(output, sizes, verdicts, settings)
    return verdicts


def rounds_of(row_count: int) -> int:
    return 3 if TRY_ROWS_MAX < row_count <= SLOW_ROWS_MAX else 2


def measure(server: PostgresServer, row_count: int, scratch: Path, say: Callable[[str], None]) -> Size:
    file = scratch / f"prices-{row_count}.csv"
    say(f"{row_count:,} rows: making the file")
    write_prices(file, row_count)
    totals = totals_of(file)
    size = Size(row_count, len(totals), file.stat().st_size, rounds_of(row_count))
    for anchor in ANCHORS:
        if reason := anchor.absent(row_count):
            size.not_run[anchor.name] = reason
    for number in range(1, size.rounds + 1):
        say(f"{row_count:,} rows: round {number} of {size.rounds}")
        for anchor in ANCHORS:
            if anchor.name not in size.not_run:
                size.runs.setdefault(anchor.name, []).append(run_anchor(server, anchor, file, row_count))
        for faulty in FAULTY if row_count <= SLOW_ROWS_MAX else ():
            size.runs.setdefault(faulty.name, []).append(run_faulty(server, faulty, file))
        with fresh_database(server, databases.OURS) as database:
            size.runs.setdefault(OURS, []).append(run_ours(database, file, totals))
            if number == size.rounds:
                say(f"{row_count:,} rows: once more beside a reader")
                idle_s = IDLE_S if row_count >= MILLION else TRY_IDLE_S
                size.reading = read_beside_load(database, file, totals, idle_s)
    file.unlink()
    return size


def run_anchor(server: PostgresServer, anchor: Anchor, file: Path, row_count: int) -> Run:
    expected = min(row_count, anchor.rows_max or row_count)
    with fresh_database(server, anchor.template) as database:
        checkpoint(server)
        before = wal_position(server)
        seconds = anchor.load(database, file)
        wal_bytes = wal_position(server) - before
        with database.connect() as connection:
            loaded = count_prices(connection)
    if loaded != expected:
        raise BenchmarkError(f"{anchor.name}: {loaded:,} of {expected:,} rows are there")
    scale = row_count / expected
    return Run(seconds * scale, wal_bytes * scale)


def run_ours(database: Database, file: Path, totals: dict[LaneDay, Total]) -> Run:
    checkpoint(database.server)
    before = wal_position(database.server)
    ended, said = load(database, file, key="timed")
    wal_bytes = wal_position(database.server) - before
    check_load(database, said, totals, loads=1)
    return Run(
        ended.seconds,
        wal_bytes,
        reported_s=said["seconds"],
        peak_bytes=ended.peak_bytes,
        publish_s=publish_s(show(database, said["batch"])),
        processor_s=ended.processor_s,
    )


def read_beside_load(database: Database, file: Path, totals: dict[LaneDay, Total], idle_s: float) -> Reading:
    """Loads the file a second time, so that the reader's lanes have prices before and during it.

    The first one is folded by then, as a worker would have done.
    """
    with database.connect() as connection:
        fold_all(connection)
        connection.execute("VACUUM ANALYZE")
    checkpoint(database.server)
    with free_core(database.server) as core, reader_beside(database, core) as answers:
        idle_from = time.monotonic()
        time.sleep(idle_s)
        idle_to = time.monotonic()
        ended, said = load(database, file, key="beside a reader")
    check_load(database, said, totals, loads=2)
    return Reading(
        idle_s=[seconds for due, seconds in answers if idle_from <= due < idle_to],
        during_s=[seconds for due, seconds in answers if ended.began <= due < ended.ended],
        free_core=core is not None,
    )


def load(database: Database, file: Path, *, key: str) -> tuple[Ended, dict[str, Any]]:
    """The process, and what it said in JSON."""
    command = ["load", str(file), "--key", key, "--json"]
    timeout_s = START_TIMEOUT_S + file.stat().st_size / 20 / ROWS_PER_S_MIN  # a line is of 20 bytes and more
    return loader(database, command, timeout_s)


def show(database: Database, batch: str) -> dict[str, Any]:
    return loader(database, ["show", batch, "--json"], START_TIMEOUT_S)[1]


def withdraw(database: Database, key: str) -> dict[str, Any]:
    return loader(database, ["withdraw", key, "--json"], START_TIMEOUT_S)[1]


def loader(database: Database, arguments: list[str], timeout_s: float) -> tuple[Ended, dict[str, Any]]:
    command = [sys.executable, "-m", "loader", *arguments]
    ended = run_process(command, environment=database.environment(LOADER_ROLE), timeout_s=timeout_s)
    if ended.exit_status != 0:
        said = ended.stderr.strip() or ended.stdout.strip()
        raise BenchmarkError(f"loader {arguments[0]} ended with {ended.exit_status}: {said}")
    return ended, json.loads(ended.stdout)


def publish_s(shown: dict[str, Any]) -> float | None:
    """How long the publishing transaction took, by the batch's own events; None where it tells none."""
    seconds = [event["seconds"] for event in shown.get("events", ()) if event["event"] == "published"]
    return seconds[0] if seconds else None


def check_load(database: Database, said: dict[str, Any], totals: dict[LaneDay, Total], *, loads: int) -> None:
    """Raises BenchmarkError unless the file is in so many times: by its rows, and by what readers are told.

    A load that is quick because it does something else must not look good.
    """
    row_count = sum(count for _, count in totals.values())
    if (said["state"], said["rows"]) != ("published", row_count):
        raise BenchmarkError(f"the load ended {said['state']} with {said['rows']:,} of {row_count:,} rows")
    expected = {lane_day: (usd * loads, count * loads) for lane_day, (usd, count) in totals.items()}
    lanes = random_lanes() if row_count <= ALL_LANES_ROWS_MAX else random_lanes()[:FEW_LANES]
    answered: dict[LaneDay, Total] = {}
    with database.connect() as connection:
        recounted = connection.execute(query("benchmarks", "recount")).fetchall()
    with database.connect(API_ROLE) as connection:
        for lane in lanes:
            for day, usd, count in ask(connection, lane, DAYS[0], DAYS[-1]):
                answered[*lane, day] = (usd, count)
    refuse_difference(
        expected, {(orig, dest, day): (usd, n) for orig, dest, day, usd, n in recounted}, "rows"
    )
    asked = {lane_day: total for lane_day, total in expected.items() if lane_day[:2] in set(lanes)}
    refuse_difference(asked, answered, "answers")


def refuse_difference(expected: dict[LaneDay, Total], found: dict[LaneDay, Total], what: str) -> None:
    if expected != found:
        wrong = [
            lane_day
            for lane_day in expected.keys() | found.keys()
            if expected.get(lane_day) != found.get(lane_day)
        ]
        first = min(wrong)
        raise BenchmarkError(
            f"the {what} of {len(wrong):,} lane-days are not the file's, the first {first}:"
            f" sum and count are {found.get(first)}, {expected.get(first)} was expected"
        )
