"""What is judged of ingestion, on figures that are made up; and a file that is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ingestion import ROWS_MAX, Figures, judge, repeated
from benchmarks.targets import Verdict

GB = 1_000_000_000


def figures(rows: int = ROWS_MAX) -> Figures:
    """As quick and as small as the targets ask, and a little better."""
    return Figures(
        rows,
        accept_s=[0.1, 0.9],
        publish_s=[0.5],
        spread_s={1: [12.0, 15.0], 3: [9.0, 16.0]},
        peaks={GB // 10: {"API": 90_000_000, "worker": 200_000_000}, rows * 200: peaks(255)},
        recovery_s=[1.0, 4.9],
    )


def peaks(mb: int) -> dict[str, int]:
    return {"API": mb * 1_000_000, "worker": mb * 1_000_000}


def met(found: list[Verdict]) -> list[bool | None]:
    return [verdict.met for verdict in found]


def test_every_target_is_met_by_good_figures() -> None:
    assert met(judge(figures(), cores=4)) == [True] * 5


def test_a_figure_beyond_its_limit_is_missed() -> None:
    bad = figures()
    bad.accept_s.append(1.0)
    bad.spread_s[3] = [10.1]
    bad.peaks[GB] = peaks(256)
    bad.recovery_s.append(5.0)
    assert met(judge(bad, cores=4)) == [False] * 5


def test_workers_that_share_two_cores_with_all_else_are_not_compared() -> None:
    spread = judge(figures(), cores=2)[1]
    assert (spread.met, spread.reason) == (None, "2 cores for 3 workers, database and moto")


def test_of_fewer_rows_only_accepting_is_judged() -> None:
    assert met(judge(figures(1_000), cores=4)) == [True, None, None, None, None]


@pytest.mark.parametrize("size", [10, 1_000])
def test_a_repeated_file_is_as_long_as_it_says(size: int, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_bytes(b"head\n" + b"1,2,3,4\n" * 10)
    content, length, rows = repeated(file, size)
    sent = b"".join(content)
    assert (len(sent), sent.count(b"\n") - 1) == (length, rows)
    assert rows == max(10, size // 80 * 10)
