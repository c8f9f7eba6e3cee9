"""What the loader has to reach, and whether it did: each target over the sizes that were run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.anchors import FLOOR, MILLION, ORIGINAL, PGLOADER
from benchmarks.faulty import ALL_BAD, ALL_REJECTED, ONE_BAD, Faulty
from benchmarks.figures import MB, MS, Size, percentile, ratio

OURS = "loader load"
TWENTY_MILLION = 20 * MILLION
SIGNS: dict[str, Callable[[float, float], bool]] = {"≤": operator.le, "<": operator.lt, "≥": operator.ge}
# Of fewer, a p99 is one of the last few.
READER_QUESTIONS_MIN = 1_000


@dataclass(frozen=True)
class Verdict:
    """`met` is None where it was not judged, for `reason`."""

    what: str
    limit: str
    value: float | None
    unit: str
    met: bool | None
    reason: str = ""


@dataclass(frozen=True)
class Target:
    """`value` gets the sizes of `rows`, in that order; where it gives None, `lacking` says why."""

    what: str
    limit: str  # a sign, a number, a unit
    rows: tuple[int, ...]
    value: Callable[..., float | None]
    lacking: Callable[[Size], str] = lambda _: "it was not measured"

    def judge(self, sizes: Sequence[Size]) -> Verdict:
        sign, limit, *unit = self.limit.split()
        found = {size.rows: size for size in sizes}
        asked = [found[rows] for rows in self.rows if rows in found]
        value, reason, met = None, "", None
        if len(asked) < len(self.rows):
            missing = " and ".join(f"{rows:,}" for rows in sorted(self.rows) if rows not in found)
            reason = f"{missing} rows were not run"
        elif (value := self.value(*asked)) is None:
            reason = self.lacking(asked[0])
        else:
            met = SIGNS[sign](value, float(limit))
        return Verdict(self.what, self.limit, value, " ".join(unit), met, reason)


def verdict(what: str, limit: str, value: float | None, reason: str = "") -> Verdict:
    """With a `reason` it is not judged."""
    sign, number, *unit = limit.split()
    met = None if reason or value is None else SIGNS[sign](value, float(number))
    return Verdict(what, limit, value, " ".join(unit), met, reason)


def judge(sizes: Sequence[Size]) -> list[Verdict]:
    return [*(target.judge(sizes) for target in TARGETS), judge_reader(sizes)]


def judge_reader(sizes: Sequence[Size]) -> Verdict:
    """By the largest file, whose load is long enough for many questions."""
    largest = max(sizes, key=lambda size: size.rows)
    idle, during = ([], []) if largest.reading is None else (largest.reading.idle_s, largest.reading.during_s)
    value = ratio(percentile(during, 99), percentile(idle, 99))
    met, reason = None, ""
    if largest.rows < MILLION:
        reason = f"{largest.rows:,} rows are loaded before a reader notices"
    elif largest.reading is not None and not largest.reading.free_core:
        reason = "no core could be kept free for the reader"
    elif value is None or len(during) < READER_QUESTIONS_MIN:
        reason = f"{len(during):,} questions fell into the load, {READER_QUESTIONS_MIN:,} are needed"
    else:
        met = value < 2
    return Verdict(f"{largest.rows:,} rows: reader's p99 ÷ idle", "< 2", value, "", met, reason)


def time_to(name: str) -> Callable[[Size], float | None]:
    return lambda size: ratio(size.seconds(OURS), size.seconds(name))


def pgloader_to_time(size: Size) -> float | None:
    return ratio(size.seconds(PGLOADER.name), size.seconds(OURS))


def speed_kept(large: Size, small: Size) -> float | None:
    return ratio(large.rows_per_s(OURS), small.rows_per_s(OURS))


def peak_mb(size: Size) -> float | None:
    return ratio(size.peak_bytes(OURS), MB)


def publish_ms(size: Size) -> float | None:
    return ratio(size.publish_s(OURS), MS)


def processor_to_good(faulty: Faulty) -> Callable[[Size], float | None]:
    return lambda size: ratio(size.processor_s(faulty.name), size.processor_s(OURS))


def peak_mb_of(faulty: Faulty) -> Callable[[Size], float | None]:
    return lambda size: ratio(size.peak_bytes(faulty.name), MB)


def why_not(name: str) -> Callable[[Size], str]:
    return lambda size: size.not_run.get(name, "it was not measured")


def no_event(_: Size) -> str:
    return "`loader show --json` has no event `published`"


TARGETS = (
    Target("1M rows: ÷ original's schema", "≤ 0.15", (MILLION,), time_to(ORIGINAL.name)),
    Target("1M rows: ÷ floor", "≤ 4", (MILLION,), time_to(FLOOR.name)),
    Target("1M rows: pgloader ÷ it", "≥ 10", (MILLION,), pgloader_to_time, why_not(PGLOADER.name)),
    Target("20M rows: rows/s ÷ those at 1M", "≥ 0.8", (TWENTY_MILLION, MILLION), speed_kept),
    Target("1M rows: peak memory", "< 256 MB", (MILLION,), peak_mb),
    Target("20M rows: peak memory", "< 256 MB", (TWENTY_MILLION,), peak_mb),
    Target("1M rows, one bad: processor time ÷ good's", "≤ 1.2", (MILLION,), processor_to_good(ONE_BAD)),
    Target("1M rows, all bad: processor time ÷ good's", "≤ 1.5", (MILLION,), processor_to_good(ALL_BAD)),
    Target("1M rows, all bad: peak memory", "< 256 MB", (MILLION,), peak_mb_of(ALL_BAD)),
    Target("1M rows, all in --rejects: ÷ good's", "≤ 3", (MILLION,), processor_to_good(ALL_REJECTED)),
    Target("20M rows: publishing", "< 50 ms", (TWENTY_MILLION,), publish_ms, no_event),
)
