"""Verdicts on figures that are made up: met, missed, and not judged for a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.anchors import ANCHORS, EXECUTEMANY, FLOOR, ORIGINAL, PGLOADER
from benchmarks.faulty import ALL_BAD, ALL_REJECTED, ONE_BAD, Faulty
from benchmarks.figures import Reading, Run, Size, in_short, percentile
from benchmarks.targets import OURS, Verdict, judge

QUESTIONS = 1_000


def good(rows: int) -> Size:
    """As quick as the targets ask, and a little better."""
    floor_s = rows / 3_000_000
    size = Size(rows, rows, rows * 30, rounds=2)
    for name, times in ((FLOOR.name, 1), (ORIGINAL.name, 40), (PGLOADER.name, 60), (EXECUTEMANY.name, 40)):
        size.runs[name] = [Run(floor_s * times, rows * 70), Run(floor_s * times * 1.5, rows * 70)]
    size.runs[OURS] = [
        Run(floor_s * 3.5, rows * 90, floor_s * 3, 200_000_000, 0.004, floor_s * 3),
        Run(floor_s * 5, rows * 90, floor_s * 4, 210_000_000, 0.009),
    ]
    for faulty, times in ((ONE_BAD, 3.3), (ALL_BAD, 4), (ALL_REJECTED, 8)):
        size.runs[faulty.name] = [Run(1, 0, peak_bytes=200_000_000, processor_s=floor_s * times)]
    size.reading = Reading([0.001] * QUESTIONS, [0.0015] * QUESTIONS, free_core=True)
    return size


def verdict(what: str, *sizes: Size) -> Verdict:
    (found,) = [each for each in judge(sizes) if what in each.what]
    return found


def test_every_target_is_met_by_good_figures() -> None:
    verdicts = judge([good(1_000_000), good(20_000_000)])
    assert [each.met for each in verdicts] == [True] * 12
    assert command.exit_status(verdicts) == 0


@pytest.mark.parametrize(
    ("what", "rows", "run"),
    [
        ("1M rows: ÷ original's schema", 1_000_000, Run(40 / 3 * 0.151, 0)),
        ("1M rows: ÷ floor", 1_000_000, Run(4.01 / 3, 0)),
        ("1M rows: pgloader ÷ it", 1_000_000, Run(60 / 3 / 9.9, 0)),
        ("20M rows: rows/s ÷ those at 1M", 20_000_000, Run(20 / 3 * 3.5 / 0.79, 0)),
        ("1M rows: peak memory", 1_000_000, Run(1, 0, peak_bytes=256_000_000)),
        ("20M rows: peak memory", 20_000_000, Run(1, 0, peak_bytes=300_000_000)),
        ("20M rows: publishing", 20_000_000, Run(1, 0, publish_s=0.05)),
    ],
)
def test_a_figure_beyond_its_limit_is_missed_and_ends_the_run_with_1(what: str, rows: int, run: Run) -> None:
    sizes = {size: good(size) for size in (1_000_000, 20_000_000)}
    sizes[rows].runs[OURS] = [run]
    verdicts = judge([*sizes.values()])
    assert {each.what: each.met for each in verdicts}[what] is False
    assert command.exit_status(verdicts) == 1


@pytest.mark.parametrize(("faulty", "times"), [(ONE_BAD, 1.21), (ALL_BAD, 1.51), (ALL_REJECTED, 3.01)])
def test_faults_that_cost_too_much_beside_a_good_file_are_a_miss(faulty: Faulty, times: float) -> None:
    size = good(1_000_000)
    size.runs[faulty.name] = [Run(1, 0, processor_s=times)]  # as many seconds as the good one takes
    assert [each.what for each in judge([size]) if each.met is False] == [
        each.what for each in judge([size]) if each.value == pytest.approx(times)
    ]


def test_time_is_the_best_of_the_rounds_and_memory_and_publishing_the_worst() -> None:
    sizes = [good(1_000_000), good(20_000_000)]
    assert verdict("÷ floor", *sizes).value == pytest.approx(3.5)
    assert verdict("20M rows: peak", *sizes).value == 210
    assert verdict("publishing", *sizes).value == pytest.approx(9)
    assert verdict("publishing", *sizes).unit == "ms"


def test_a_size_that_was_not_run_leaves_its_targets_unjudged() -> None:
    verdicts = judge([good(50_000)])
    assert [each.met for each in verdicts[:-1]] == [None] * 11
    assert verdict("1M rows: ÷ floor", good(50_000)).reason == "1,000,000 rows were not run"
    assert verdict("20M rows: rows/s", good(50_000)).reason == "1,000,000 and 20,000,000 rows were not run"
    assert verdict("20M rows: rows/s", good(1_000_000)).reason == "20,000,000 rows were not run"
    assert command.exit_status(verdicts) == 0


def test_without_pgloader_its_target_is_not_judged() -> None:
    size = good(1_000_000)
    del size.runs[PGLOADER.name]
    size.not_run[PGLOADER.name] = "pgloader is not installed"
    found = verdict("pgloader", size)
    assert (found.met, found.reason) == (None, "pgloader is not installed")


def test_without_the_event_publishing_is_not_judged() -> None:
    size = good(20_000_000)
    size.runs[OURS] = [Run(1, 0)]
    found = verdict("publishing", size)
    assert (found.met, found.reason) == (None, "`loader show --json` has no event `published`")


def test_a_reader_twice_as_slow_beside_a_load_is_a_miss_where_it_has_a_core() -> None:
    size = good(1_000_000)
    idle, during = [0.001] * QUESTIONS, [0.001] * (QUESTIONS - 11) + [0.002] * 11
    size.reading = Reading(idle, during, free_core=True)
    assert verdict("reader's p99", size).met is False
    size.reading = Reading(idle, during, free_core=False)
    shown = verdict("reader's p99", size)
    assert (shown.value, shown.met, shown.reason) == (2, None, "no core could be kept free for the reader")


def test_a_reader_with_too_few_questions_is_not_judged() -> None:
    size = good(1_000_000)
    size.reading = Reading([0.001] * QUESTIONS, [0.005] * (QUESTIONS - 1), free_core=True)
    assert verdict("reader's p99", size).reason == "999 questions fell into the load, 1,000 are needed"


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert (percentile(hundred, 50), percentile(hundred, 99), percentile([7.0], 99)) == (50, 99, 7)
    assert percentile([], 50) is None


def test_figures_are_shown_with_three_digits_or_more() -> None:
    assert [in_short(value) for value in (0.0914, 3.5, 42.25, 1234567.8, None)] == [
        "0.091",
        "3.500",
        "42.2",
        "1,234,568",
        "",
    ]


def test_what_is_not_installed_or_takes_minutes_is_not_run_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert PGLOADER.absent(1_000) == "pgloader is not installed"
    reasons = [anchor.absent(20_000_000) for anchor in ANCHORS if anchor is not PGLOADER]
    assert reasons == [None, *["too slow: up to 1M rows"] * 2]
    assert ORIGINAL.absent(1_000_000) is None
