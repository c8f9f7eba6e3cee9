"""The results: a table for people, and the same with every single figure as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.anchors import ANCHORS, EXECUTEMANY, FLOOR, MILLION, ORIGINAL, PGLOADER
from benchmarks.faulty import FAULTY
from benchmarks.figures import MB, MS, Size, in_short, percentile, ratio
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.reader import PERIOD_S, RANGE_DAYS
from benchmarks.targets import OURS, Verdict

WIDTH = 110  # where there is no terminal to ask
HOW = (
    "Every way of loading has its turn in each round, into a fresh database, after a checkpoint; no other"
    " checkpoint falls into it. Seconds are the best of the rounds, since what else a machine does only"
    " ever adds time; memory and publishing are the worst of them. The loader and pgloader are whole"
    " processes, the others begin on an open connection; executemany inserts into the bare table. The"
    f" reader asks the API's statement for {RANGE_DAYS} days of a random lane, once what is in is folded, one"
    f" question each {PERIOD_S / MS:g} ms whether the last was answered or not, and counts from when each"
    " was due; it has one core to itself, and the load makes do with the others."
)


@dataclass(frozen=True)
class Line:
    """A row of the table: a figure, and where there is an anchor its ratio to that."""

    what: str
    value: float | None
    unit: str = "s"
    rows_per_s: float | None = None
    anchor: str = ""
    ratio: float | None = None
    not_run: str = ""  # why


def print_report(sizes: Sequence[Size], verdicts: Sequence[Verdict], settings: Mapping[str, str]) -> None:
    width = None if Console().is_terminal else WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    machine = describe_machine()
    memory_gb = machine["memory_bytes"] / 1e9
    console.print(f"\n{machine['cores']} cores of {machine['processor']}, {memory_gb:.0f} GB of memory")
    version, *rest = settings.items()
    names = ", ".join(f"{name} {value}" for name, value in rest)
    console.print(f"PostgreSQL {version[1]}: {names}\n{HOW}")
    console.print(figures_table(sizes))
    console.print(verdicts_table(verdicts))
    judged = [verdict.met for verdict in verdicts if verdict.met is not None]
    console.print(f"{len(judged)} of {len(verdicts)} targets judged, {judged.count(False)} missed")


def figures_table(sizes: Sequence[Size]) -> Table:
    """What a row shares with the one above it is said once."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rows", justify="right")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("rows/s", justify="right")
    table.add_column("against")
    table.add_column("ratio", justify="right")
    for size in sizes:
        rows, above = f"{size.rows:,}", None
        for line in lines_of(size, sizes):
            same = above is not None and line.what == above
            figures = ["", "", ""] if same else [line.what, measured(line), in_short(line.rows_per_s)]
            table.add_row(rows, *figures, line.not_run or line.anchor, in_short(line.ratio))
            rows, above = "", line.what
        table.add_section()
    return table


def measured(line: Line) -> str:
    return "not run" if line.not_run else "not told" if line.value is None else shown(line.value, line.unit)


def shown(value: float | None, unit: str) -> str:
    return f"{in_short(value)} {unit}".strip()


def lines_of(size: Size, sizes: Sequence[Size]) -> Iterator[Line]:
    yield from anchor_lines(size)
    yield from time_lines(size, sizes)
    yield from cost_lines(size)
    yield from faulty_lines(size)
    yield from reader_lines(size)


def anchor_lines(size: Size) -> Iterator[Line]:
    for anchor in ANCHORS:
        if anchor.name in size.not_run:
            yield Line(anchor.name, None, not_run=size.not_run[anchor.name])
            continue
        seconds, rows_per_s = size.seconds(anchor.name), size.rows_per_s(anchor.name)
        if anchor is FLOOR:
            yield Line(anchor.name, seconds, rows_per_s=rows_per_s)
            continue
        what = anchor.name
        if anchor.rows_max is not None and anchor.rows_max < size.rows:
            what = f"{what}, {anchor.rows_max:,} scaled"
        to_floor = ratio(seconds, size.seconds(FLOOR.name))
        yield Line(what, seconds, rows_per_s=rows_per_s, anchor="÷ floor", ratio=to_floor)


def time_lines(size: Size, sizes: Sequence[Size]) -> Iterator[Line]:
    seconds, rows_per_s, floor_s = size.seconds(OURS), size.rows_per_s(OURS), size.seconds(FLOOR.name)
    ratios = {
        "÷ floor": ratio(seconds, floor_s),
        f"÷ {ORIGINAL.name}": ratio(seconds, size.seconds(ORIGINAL.name)),
        "pgloader ÷ it": ratio(size.seconds(PGLOADER.name), seconds),
        "executemany ÷ it": ratio(size.seconds(EXECUTEMANY.name), seconds),
    }
    for other in sizes:
        if other.rows == MILLION != size.rows:
            ratios["rows/s ÷ those at 1M"] = ratio(rows_per_s, other.rows_per_s(OURS))
    for anchor, found in ratios.items():
        if found is not None:
            yield Line(f"{OURS}, whole process", seconds, rows_per_s=rows_per_s, anchor=anchor, ratio=found)
    best = size.best(OURS)
    if best is not None and best.reported_s is not None:
        reported = ratio(size.rows, best.reported_s)
        to_floor = ratio(best.reported_s, floor_s)
        yield Line(f"{OURS}, as it reports", best.reported_s, "s", reported, "÷ floor", to_floor)


def cost_lines(size: Size) -> Iterator[Line]:
    yield Line("its peak memory", ratio(size.peak_bytes(OURS), MB), "MB")
    ours, floor = size.best(OURS), size.best(FLOOR.name)
    if ours is not None and floor is not None:
        to_floor = ratio(ours.wal_bytes, floor.wal_bytes)
        yield Line("its WAL", ours.wal_bytes / size.rows, "B/row", anchor="÷ floor", ratio=to_floor)
    yield Line("its publishing", ratio(size.publish_s(OURS), MS), "ms")


def faulty_lines(size: Size) -> Iterator[Line]:
    """Processor time, which the loader's own process takes."""
    good = size.processor_s(OURS)
    for faulty in FAULTY:
        if (seconds := size.processor_s(faulty.name)) is not None:
            to_good = ratio(seconds, good)
            yield Line(f"{faulty.name}: processor", seconds, anchor="÷ good file's", ratio=to_good)


def reader_lines(size: Size) -> Iterator[Line]:
    if size.reading is None:
        return
    for percent in (50, 99):
        idle, during = (
            ratio(percentile(found, percent), MS) for found in (size.reading.idle_s, size.reading.during_s)
        )
        what = f"reader's p{percent}, {len(size.reading.during_s):,} asked"
        anchor = f"÷ {shown(idle, 'ms')} idle"
        yield Line(what, during, "ms", anchor=anchor, ratio=ratio(during, idle))


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("target")
    table.add_column("measured", justify="right")
    table.add_column("verdict")
    for verdict in verdicts:
        judged = {True: "met", False: "MISSED", None: f"not judged: {verdict.reason}"}[verdict.met]
        measured = "" if verdict.value is None else shown(verdict.value, verdict.unit)
        table.add_row(f"{verdict.what} {verdict.limit}", measured, judged)
    return table


def write_report(
    output: Path, sizes: Sequence[Size], verdicts: Sequence[Verdict], settings: Mapping[str, str]
) -> None:
    tables = [{**asdict(size), "table": [asdict(line) for line in lines_of(size, sizes)]} for size in sizes]
    write_run(output, HOW, verdicts, settings, describe_versions(), sizes=tables)


def write_run(
    output: Path,
    how: str,
    verdicts: Sequence[Verdict],
    settings: Mapping[str, str],
    versions: Mapping[str, Any],
    **results: Any,
) -> None:
    """What every part of the benchmark tells of a run, and its `results`; whole or not at all."""
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": versions,
        "server": dict(settings),
        "how": how,
        "targets": [asdict(verdict) for verdict in verdicts],
        **results,
    }
    partial = output.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    partial.replace(output)
