"""What is judged of delays, on figures that are made up; and a run of it at its smallest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import BenchmarkError, databases, delays
from benchmarks.delays import STARTS, Answer, Bench, Figures, delay_s, judge, start_again, write_file
from benchmarks.targets import Verdict
from local.postgres import PostgresServer, free_port
from tests.postgres import PASSWORD, clone, make_template

# In place of the local stack's command: says that it is ready, and runs until it is told to stop.
STACK = "import time; print('rates    | ready in {} s: http://127.0.0.1:1', flush=True); time.sleep(600)"


def figures() -> Figures:
    """As quick as the targets ask, and a little better, but for one in ten."""
    changes = [0.001] * 8 + [0.099, 0.5]
    return Figures(changes, changes, changes * 2, back_s=[0.2, 4.9], start_s=[3.0, 4.9])


def met(found: list[Verdict]) -> list[bool | None]:
    return [verdict.met for verdict in found]


def test_every_target_is_met_by_good_figures() -> None:
    assert met(judge(figures())) == [True] * 5


def test_a_figure_beyond_its_limit_is_missed() -> None:
    bad = [0.001] * 8 + [0.1] * 2
    assert met(judge(Figures(bad, bad, bad, back_s=[0.2, 5.0], start_s=[3.0, 5.0]))) == [False] * 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """One that may be killed."""
    with PostgresServer(tmp_path / "postgres", free_port(), PASSWORD, settings={"fsync": "off"}) as server:
        yield server


def test_each_change_and_each_outage_is_measured_by_what_the_api_answers(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = clone(server, make_template(server))
    with database.connect() as connection:
        databases.insert_ports(connection)
    monkeypatch.setattr(delays, "ROUNDS", 1)
    monkeypatch.setattr(delays, "KILLS", 1)
    measured, said = Figures(), []
    ours = databases.Database(server, database.name)
    bench = Bench(ours, write_file(tmp_path / "prices.csv"), measured, said.append)

    bench.changes()
    bench.outages()

    found = (measured.published_s, measured.withdrawn_s, measured.corrected_s, measured.back_s)
    assert [len(each) for each in found] == [1, 1, 2, 1]
    assert all(seconds >= 0 for each in found for seconds in each)
    assert said == ["change 1 of 1: publish, correct, withdraw", "PostgreSQL is killed: 1 of 1"]


def test_the_last_answer_without_a_change_counts() -> None:
    """The change was about to be committed at 100."""
    answers = [
        Answer(99.9, 100.1, 200, 6, None),
        Answer(100.2, 100.3, 200, 6, None),
        Answer(100.25, 100.4, 200, 7, 3),
    ]
    assert delay_s(answers, 7, 100.0, seen=3) == pytest.approx(0.2)
    assert delay_s(answers[2:], 7, 100.0, seen=3) == 0


def test_an_answer_that_is_not_what_it_says_ends_the_run() -> None:
    with pytest.raises(BenchmarkError, match="1 answers of version 7 have other counts than None"):
        delay_s([Answer(100.25, 100.4, 200, 7, 3)], 7, 100.0, seen=None)


def test_the_starts_of_the_stack_after_its_first_are_what_it_says_of_them(tmp_path: Path) -> None:
    measured, said = Figures(), []
    start_again(tmp_path, measured, said.append, [sys.executable, "-c", STACK.format("1.5")])
    assert measured.start_s == [1.5] * STARTS
    assert len(said) == STARTS + 1


def test_a_stack_that_does_not_start_ends_the_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no port')"]
    with pytest.raises(BenchmarkError, match="the local stack did not start: no port"):
        start_again(tmp_path, Figures(), print, command)
