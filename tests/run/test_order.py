"""A mistake shows soon: quick files come first, and a failure is told when it happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.house.files import ROOT
from tests.run import order
from tests.run.order import QUICK_S, place, seconds_of_files
from tests.run.sample import run_pytest

FAILING = """
def test_good():
    pass

def test_bad():
    assert 1 == 2, "not the same"
"""


def test_quick_files_come_first_and_of_the_long_ones_the_longest() -> None:
    seconds = [30, 0, QUICK_S, QUICK_S - 1, 70]
    assert sorted(seconds, key=place)[2:] == [70, 30, QUICK_S]
    assert {*sorted(seconds, key=place)[:2]} == {0, QUICK_S - 1}


def test_each_file_that_is_known_to_be_long_is_there() -> None:
    known = seconds_of_files()
    assert len(known) > 20
    assert [file for file in known if not (ROOT / file).is_file()] == []


def test_a_failure_is_told_at_once_with_how_to_run_it_again(tmp_path: Path) -> None:
    for options in ((), ("-n", "1")):
        said = run_pytest(tmp_path, FAILING, *options)[1]
        head, _, rest = said.partition("= FAILURES =")
        assert "FAILED test_sample.py::test_bad: AssertionError: not the same\n" in head
        assert "  again: .venv/bin/python -m pytest test_sample.py::test_bad\n" in head
        assert "all that failed again: make test FAILED=1\n" in rest


def test_nothing_is_told_of_a_run_that_passes(tmp_path: Path) -> None:
    assert "again" not in run_pytest(tmp_path, FAILING, "-k", "good")[1]


def test_the_times_of_a_run_can_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seconds.json"
    file.write_text('{"tests/api/test_rates.py": 9, "tests/gone.py": 5, "tests/run/test_order.py": 3}')
    monkeypatch.setattr(order, "SECONDS_FILE", file)
    recorder = order.Recorder()
    for nodeid, duration in (("tests/run/test_order.py::a", 4.0), ("tests/run/test_order.py::b", 2.4)):
        place_in_file = (nodeid, None, "")
        report = pytest.TestReport(nodeid, place_in_file, {}, "passed", None, "call", duration=duration)
        recorder.pytest_runtest_logreport(report)
    recorder.pytest_sessionfinish()
    assert json.loads(file.read_text()) == {"tests/api/test_rates.py": 9, "tests/run/test_order.py": 6}
