"""What was measured for one size of file; `benchmarks.targets` judges it and `benchmarks.report` shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

MB, MS = 1_000_000, 0.001


@dataclass(frozen=True)
class Run:
    """One way of loading, once."""

    seconds: float  # scaled to the whole file where only a part of it was loaded
    wal_bytes: float  # likewise
    reported_s: float | None = None  # what the loader says of itself; the process takes longer
    peak_bytes: int | None = None
    publish_s: float | None = None
    processor_s: float | None = None  # of the loader's process


@dataclass(frozen=True)
class Reading:
    """A reader's answers with nothing beside it and during a load: seconds from when each was due."""

    idle_s: Sequence[float]
    during_s: Sequence[float]
    free_core: bool  # whether nothing else ran where the reader did


@dataclass
class Size:
    """Everything about one file; `runs` and `not_run` (with the reason) by the name of the way of loading."""

    rows: int
    lane_days: int
    file_bytes: int
    rounds: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    reading: Reading | None = None

    def best(self, name: str) -> Run | None:
        """The quickest of the rounds: on a machine that does other things too, those only ever add time."""
        return min(self.runs.get(name, []), key=lambda run: run.seconds, default=None)

    def seconds(self, name: str) -> float | None:
        run = self.best(name)
        return None if run is None else run.seconds

    def processor_s(self, name: str) -> float | None:
        """The least of the rounds, as `best` is the quickest."""
        found = [run.processor_s for run in self.runs.get(name, []) if run.processor_s is not None]
        return min(found, default=None)

    def rows_per_s(self, name: str) -> float | None:
        return ratio(self.rows, self.seconds(name))

    def peak_bytes(self, name: str) -> int | None:
        """The highest of the rounds: a promise about memory is about the worst of them."""
        peaks = [run.peak_bytes for run in self.runs.get(name, []) if run.peak_bytes is not None]
        return max(peaks, default=None)

    def publish_s(self, name: str) -> float | None:
        """The longest of the rounds, for the same reason."""
        found = [run.publish_s for run in self.runs.get(name, []) if run.publish_s is not None]
        return max(found, default=None)


def ratio(value: float | None, anchor: float | None) -> float | None:
    return value / anchor if value is not None and anchor else None


def percentile(seconds: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` of all do not exceed; None of nothing."""
    if not seconds:
        return None
    return sorted(seconds)[math.ceil(percent / 100 * len(seconds)) - 1]


def in_short(value: float | None) -> str:
    """Three digits or more; nothing of nothing."""
    if value is None:
        return ""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
