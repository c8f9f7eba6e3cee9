"""`python -m benchmarks`, which `make bench` runs: a part's table on stdout, its JSON below `.local/bench/`.

BENCH names one part, ROWS other sizes. Exit codes: 0 no target missed, 1 a target missed or a load that went
wrong, 2 usage.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError, alternatives, api, delays, ingestion, loader, wrk
from benchmarks.api_figures import LARGE_ROWS
from benchmarks.targets import MILLION, Verdict
from local import LocalError
from local.environment import forget_other_systems
from local.state import try_lock

HOME = ".local"
ROWS = "50000,1000000,20000000"
ROWS_MAX = 1_000_000_000
INTERRUPTED = 130


@dataclass(frozen=True)
class Settings:
    parts: tuple[str, ...]
    row_counts: tuple[int, ...]
    folder: Path  # where results stay
    api_rows: int = LARGE_ROWS  # the largest of the sizes, where any was given


def main() -> int:
    try:
        settings = read_settings(os.environ)
        if settings.parts == BY_DEFAULT[:-1]:
            say(f"bench: api is left out: {wrk.MISSING}")
        forget_other_systems()
        with only_run(settings.folder) as scratch:
            verdicts = [verdict for part in settings.parts for verdict in run_part(part, settings, scratch)]
    except (BenchmarkError, LocalError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return exit_status(verdicts)


def run_part(part: str, settings: Settings, scratch: Path) -> list[Verdict]:
    """In a folder of its own, since each has a server in it; it goes with the part."""
    folder = scratch / part
    folder.mkdir()
    try:
        return PARTS[part](settings, folder)
    finally:
        shutil.rmtree(folder)


def run_loader(settings: Settings, scratch: Path) -> list[Verdict]:
    return loader.run(settings.row_counts, scratch, output=settings.folder / "loader.json", say=say)


def run_ingestion(settings: Settings, scratch: Path) -> list[Verdict]:
    """For the largest size, or what is enough of it."""
    rows = settings.row_counts[-1]
    return ingestion.run(rows, scratch, output=settings.folder / "ingestion.json", say=say)


def run_delays(settings: Settings, scratch: Path) -> list[Verdict]:
    """Of a few prices, whatever the sizes."""
    return delays.run(scratch, output=settings.folder / "delays.json", say=say)


def run_api(settings: Settings, scratch: Path) -> list[Verdict]:
    """For the dump's prices, and for so many more."""
    return api.run(settings.api_rows, scratch, output=settings.folder / "api.json", say=say)


def run_alternatives(settings: Settings, scratch: Path) -> list[Verdict]:
    """For one size; it judges nothing."""
    row_count = MILLION if MILLION in settings.row_counts else settings.row_counts[-1]
    alternatives.run(row_count, scratch, say=say)
    return []


PARTS: dict[str, Callable[[Settings, Path], list[Verdict]]] = {
    "loader": run_loader,
    "ingestion": run_ingestion,
    "delays": run_delays,
    "api": run_api,
    "alternatives": run_alternatives,
}
# What was not chosen is measured when somebody asks for it by name.
BY_DEFAULT = ("loader", "ingestion", "delays", "api")


def exit_status(verdicts: list[Verdict]) -> int:
    return 1 if any(verdict.met is False for verdict in verdicts) else 0


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises BenchmarkError, with exit code 2 and all that is wrong at once."""
    bench, rows = environ.get("BENCH") or "", environ.get("ROWS") or ROWS
    faults = []
    if bench and bench not in PARTS:
        faults.append(f"BENCH is {bench!r}: {', '.join(PARTS)} or nothing, for what has targets, is allowed")
    words = [word.strip().replace("_", "") for word in rows.split(",")]
    # Python takes digits of any script for a number.
    row_counts = sorted({int(word) for word in words if word.isascii() and word.isdecimal()})
    if len(row_counts) != len(set(words)) or not all(0 < count <= ROWS_MAX for count in row_counts):
        faults.append(f"ROWS is {rows!r}: numbers from 1 to {ROWS_MAX:,} between commas are allowed, {ROWS}")
    if bench == "api" and not wrk.is_there():
        faults.append(wrk.MISSING)
    if faults:
        raise BenchmarkError("; ".join(faults), 2)
    folder = Path(environ.get("RATES_HOME") or HOME) / "bench"
    parts = (bench,) if bench else tuple(part for part in BY_DEFAULT if part != "api" or wrk.is_there())
    api_rows = row_counts[-1] if environ.get("ROWS") else LARGE_ROWS
    return Settings(parts, tuple(row_counts), folder.resolve(), api_rows)


@contextmanager
def only_run(folder: Path) -> Generator[Path]:
    """A scratch folder for one run at a time: two would measure each other. What a killed run left goes."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    with (folder / "lock").open("w") as lock:
        if not try_lock(lock.fileno()):
            raise BenchmarkError(f"another benchmark runs in {folder}: wait for it", 2)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
