"""What is told of the API: the targets, the table, and the same with every single figure as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.api_figures import (
    BARE_FALCON,
    KNOWN,
    LARGE_ROWS,
    OURS_COLD,
    OURS_WARM,
    THE_ORIGINAL,
    Figures,
    Size,
)
from benchmarks.figures import MB, MS, in_short, ratio
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.report import WIDTH, verdicts_table, write_run
from benchmarks.servers import ORIGINAL_PROCESSES, ORIGINAL_THREADS, THREADS, WARM
from benchmarks.targets import Verdict, verdict

JUDGED = 8  # connections
PACKAGES = ("falcon", "flask", "granian", "gunicorn", "psycopg2-binary")
HOW = (
    "wrk asks random lanes for 1 to 31 days, each connection its next question once the last is answered."
    " Every server has its turn in each round and is started anew every few; figures are the medians of the"
    " rounds. A server has a core to itself, as a task of one vCPU has; wrk and PostgreSQL have the others."
    f" It has one process of {THREADS} threads, or two where it says two, but the original has"
    f" {ORIGINAL_PROCESSES} of {ORIGINAL_THREADS}; it runs on gunicorn but where it says granian. Cold keeps"
    " no answer, warm has given each before, 304 is asked with the ETag of the answer. The original's table"
    " is as it was dumped, without an index, or with one on lane and day. CPU is of the processes that"
    " answer, without PostgreSQL's. A start is from the process to its first good answer; memory (PSS) is of"
    " the largest process that answers, after the load of most connections."
)


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    what: str
    connections: int
    per_s: float | None
    to_bare: float | None
    to_original: float | None
    p50_s: float | None
    p99_s: float | None
    p999_s: float | None
    cpu_us: float | None


def judge(figures: Figures) -> list[Verdict]:
    small, large = figures.sizes[0], figures.sizes[-1]
    why_not = "a try: one round of a second" if figures.try_only else ""
    if not (why_not or figures.free_core):
        why_not = "no core could be kept free for the servers"
    dump = (
        why_not
        if figures.reference
        else why_not or f"{small.prices:,} prices of the sample are scanned sooner"
    )
    # What is less since the time for loading was over is as much as was to be asked for.
    too_small = "" if figures.asked_rows >= LARGE_ROWS else f"{LARGE_ROWS:,} prices were not asked for"

    def per_s(name: str, anchor: str) -> float | None:
        return ratio(small.per_s(name, JUDGED), small.per_s(anchor, JUDGED))

    def p99(name: str) -> float | None:
        return ratio(small.p99_s(name, JUDGED), small.p99_s(BARE_FALCON, JUDGED))

    def p50(name: str) -> float | None:
        return ratio(large.p50_s(name, JUDGED), small.p50_s(name, JUDGED))

    grown = f"p50 at {large.prices:,} prices ÷ at {small.prices:,}"
    return [
        verdict("cold: requests/s ÷ original", "≥ 8", per_s(OURS_COLD, THE_ORIGINAL), dump),
        verdict("warm: requests/s ÷ bare Falcon", "≥ 0.85", per_s(OURS_WARM, BARE_FALCON), why_not),
        verdict("cold: requests/s ÷ bare Falcon", "≥ 0.6", per_s(OURS_COLD, BARE_FALCON), why_not),
        verdict("cold: p99 ÷ bare Falcon", "≤ 2", p99(OURS_COLD), why_not),
        verdict("warm: p99 ÷ bare Falcon", "≤ 2", p99(OURS_WARM), why_not),
        verdict("304: p99 ÷ bare Falcon", "≤ 2", p99(KNOWN), why_not),
        verdict(f"cold: {grown}", "≤ 1.2", p50(OURS_COLD), why_not or too_small),
        verdict(f"warm: {grown}", "≤ 1.2", p50(OURS_WARM), why_not or too_small),
        verdict("from process start to the first good answer", "< 1 s", start_s(figures, WARM.name), why_not),
    ]


def start_s(figures: Figures, name: str) -> float | None:
    found = figures.start_s.get(name)
    return median(found) if found else None


def lines_of(size: Size) -> Iterator[Line]:
    """By the number of connections, so that what is compared stands together."""
    connections = dict.fromkeys(number for by_number in size.loads.values() for number in by_number)
    for number in connections:
        for name in size.loads:
            per_s = size.per_s(name, number)
            to = {
                anchor: None if name == anchor else ratio(per_s, size.per_s(anchor, number))
                for anchor in (BARE_FALCON, THE_ORIGINAL)
            }
            yield Line(
                name,
                number,
                per_s,
                to[BARE_FALCON],
                to[THE_ORIGINAL],
                size.p50_s(name, number),
                size.p99_s(name, number),
                size.p999_s(name, number),
                size.cpu_us(name, number),
            )


def print_report(figures: Figures, verdicts: Sequence[Verdict], settings: Mapping[str, str]) -> None:
    width = None if Console().is_terminal else WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    machine = describe_machine()
    console.print(f"\n{machine['cores']} cores of {machine['processor']}")
    console.print(f"PostgreSQL {settings['server_version']}\n{HOW}")
    for size in figures.sizes:
        console.print(f"{size.prices:,} prices: {size.source}")
    console.print(f"The last of them were loaded and folded in {figures.load_s:.0f} s.")
    console.print(requests_table(figures.sizes))
    console.print(processes_table(figures))
    console.print(verdicts_table(verdicts))
    judged = [each.met for each in verdicts if each.met is not None]
    console.print(f"{len(judged)} of {len(verdicts)} targets judged, {judged.count(False)} missed")


def requests_table(sizes: Sequence[Size]) -> Table:
    """What a row shares with the one above it is said once."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("prices", "at once"):
        table.add_column(name, justify="right")
    table.add_column("what")
    for name in ("req/s", "÷ bare", "÷ original", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs"):
        table.add_column(name, justify="right")
    for size in sizes:
        prices, above = f"{size.prices:,}", None
        for line in lines_of(size):
            if above not in (None, line.connections):
                table.add_section()
            connections = "" if line.connections == above else str(line.connections)
            times = (in_short(ratio(value, MS)) for value in (line.p50_s, line.p99_s, line.p999_s))
            ratios = (in_short(line.to_bare), in_short(line.to_original))
            table.add_row(
                prices, connections, line.what, in_short(line.per_s), *ratios, *times, in_short(line.cpu_us)
            )
            prices, above = "", line.connections
        table.add_section()
    return table


def processes_table(figures: Figures) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("server")
    table.add_column("start s", justify="right")
    table.add_column("memory a process MB", justify="right")
    for name in figures.start_s:
        memory = ratio(figures.worker_bytes.get(name), MB)
        table.add_row(name, in_short(start_s(figures, name)), in_short(memory))
    return table


def write_report(
    output: Path, figures: Figures, verdicts: Sequence[Verdict], settings: Mapping[str, str]
) -> None:
    tables = [{**asdict(size), "table": [asdict(line) for line in lines_of(size)]} for size in figures.sizes]
    versions = describe_versions(*PACKAGES, programs=("wrk",))
    write_run(output, HOW, verdicts, settings, versions, figures={**asdict(figures), "sizes": tables})
