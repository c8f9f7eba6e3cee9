"""What the benchmark of the API is made of: the load, the original's app, the judging; and a run of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import BenchmarkError, api, databases, wrk
from benchmarks.__main__ import read_settings
from benchmarks.api import CONTESTANTS, Bench, Plan, compare
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
from benchmarks.api_report import judge, lines_of, print_report
from benchmarks.original_api import create_app
from benchmarks.questions import Question, Rate, are_equal, draw_questions, odd_questions, rates_by
from benchmarks.servers import BARE, COLD, ORIGINAL, WARM, Server
from benchmarks.wrk import Load, read_load, write_questions
from local.stack import SAMPLE
from tests.postgres import Database
from tests.system import original as yardstick
from tests.waiting import wait_until

SAID = (
    "Running 1s test @ http://127.0.0.1:1\n  1 threads and 8 connections\n"
    '{"seconds": 1.5, "good": %d, "others": {%s}, "broken": %d,'
    ' "p50_us": 400, "p99_us": 7900, "p999_us": 17400, "max_us": 18600}\n'
)
TAG = 'W/"12-5f-1-8c"'
LANE = ("CNSGH", "EETLL")


class Answering(BaseHTTPRequestHandler):
    """304 to who knows TAG, 500 to /bad, else 200."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = self.headers["If-None-Match"] == TAG
        self.send_response(304 if known else 500 if self.path == "/bad" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  # as its base has it
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


# --- the load ----------------------------------------------------------------------------------------------


def test_what_wrk_says_is_read() -> None:
    load = read_load(SAID % (6_000, "", 0), "", 200)
    assert load == Load(6_000, 1.5, 0.0004, 0.0079, 0.0174, 0.0186)
    assert load.per_s == 4_000
    assert replace(load, cpu_s=1.2).cpu_us == pytest.approx(200)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (SAID % (5, '"503": 7', 0), r"5 answers were 200, but 0 never came, .* there were {'503': 7}"),
        (SAID % (5, "", 3), "5 answers were 200, but 3 never came, and of other statuses there were none"),
        (SAID % (0, "", 0), "0 answers were 200"),
        ("unable to connect to 127.0.0.1:1", "wrk did not get to its end: unable to connect"),
    ],
)
def test_a_load_with_another_answer_is_invalid(said: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        read_load(said, "", 200)


@pytest.mark.needs("wrk")
def test_each_question_is_asked_with_its_tag_and_each_status_counted(port: int, tmp_path: Path) -> None:
    known = write_questions(tmp_path / "known", [("/rates?orig_code=a", TAG), ("/rates?orig_code=b", TAG)])
    load = wrk.ask(port, known, 2, 1, wanted=304)
    assert load.requests > 1
    assert 0 < load.p50_s <= load.p99_s <= load.p999_s <= load.max_s < 2 * load.seconds
    mixed = write_questions(tmp_path / "mixed", [("/rates?orig_code=a", TAG), ("/bad", ""), ("/good", "")])
    with pytest.raises(BenchmarkError, match=r"answers were 200, but 0 never came") as refused:
        wrk.ask(port, mixed, 2, 1)
    assert "'304': " in str(refused.value)
    assert "'500': " in str(refused.value)


def test_without_wrk_its_package_is_named_and_a_run_of_all_does_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchmarkError, match="apt-get install wrk") as refused:
        read_settings({"BENCH": "api"})
    assert refused.value.exit_code == 2
    assert read_settings({}).parts == ("loader", "ingestion", "delays")


def test_the_large_size_is_a_hundred_million_unless_another_is_given() -> None:
    assert read_settings({}).api_rows == LARGE_ROWS == 100_000_000
    assert read_settings({"ROWS": "5000,2000"}).api_rows == 5_000


# --- questions and answers ---------------------------------------------------------------------------------


def test_questions_are_of_days_that_have_prices_and_the_same_each_time() -> None:
    first, last = date(2021, 1, 1), date(2021, 12, 31)
    drawn = draw_questions([LANE], first, last, 500, seed=1)
    assert drawn == draw_questions([LANE], first, last, 500, seed=1)
    assert all(first <= each.date_from <= each.date_to <= last for each in drawn)
    assert {(each.date_to - each.date_from).days + 1 for each in drawn} == set(range(1, 32))
    assert drawn[0].path.startswith("/rates?orig_code=CNSGH&dest_code=EETLL&date_from=2021-")


def test_the_right_answer_follows_from_the_prices_and_how_often_they_were_loaded() -> None:
    question = Question(*LANE, date(2021, 1, 1), date(2021, 1, 3))
    totals = {(*LANE, date(2021, 1, 1)): (500, 2), (*LANE, date(2021, 1, 3)): (100, 1)}
    assert rates_by(totals, 2, question) == [
        {"count": 2, "day": "2021-01-03", "price": None},
        {"count": None, "day": "2021-01-02", "price": None},
        {"count": 4, "day": "2021-01-01", "price": 250},
    ]
    assert rates_by(totals, 2, question._replace(date_to=date(2020, 1, 1))) == []


@pytest.mark.parametrize("other", [{"price": None}, {"price": 1.00001}, {"count": 4}, {"day": "2021-01-02"}])
def test_another_answer_is_no_equal(other: dict[str, Any]) -> None:
    rate = {"count": 3, "day": "2021-01-01", "price": 1.0}
    assert are_equal([rate], [rate | {"price": 1.0 + 1e-12}])
    assert not are_equal([rate], [rate | other])
    assert not are_equal([rate], [])


def test_the_small_original_answers_as_the_original_does(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = yardstick.Original(empty_database)
    original.restore(SAMPLE)
    some = api.questions_about(databases.Database(empty_database.server, empty_database.name))[:100]
    questions = [*some, *odd_questions(some[0])]
    expected = original.answers([yardstick.Question(*each) for each in questions])
    assert len([rate for answer in expected for rate in answer if rate.price]) > 500
    for name, value in empty_database.environment().items():
        monkeypatch.setenv(name, value)
    client = create_app().test_client()
    for question, right in zip(questions, expected, strict=True):
        answer = client.get(question.path)
        assert answer.status_code == 200
        rates = [{"day": rate.day.isoformat(), "price": rate.price, "count": rate.count} for rate in right]
        assert are_equal(answer.get_json()["rates"], rates), question
    path = some[0].path
    for bad in (path.replace("date_from=2", "date_from=x"), path.replace("orig_code", "orig"), "/rates"):
        assert client.get(bad).status_code == 400


# --- the judging -------------------------------------------------------------------------------------------


def size(prices: int, **per_s: float) -> Size:
    """Where a question takes as long as its turn among 8."""
    made = Size(prices, "made up")
    names = {
        "bare": BARE_FALCON,
        "original": THE_ORIGINAL,
        "cold": OURS_COLD,
        "warm": OURS_WARM,
        "known": KNOWN,
    }
    for name, value in per_s.items():
        for noise in (0.5, 1, 1, 1, 2):
            times = [8 / value * slower for slower in (1, 2, 3, 4)]
            made.add(names[name], 8, Load(int(value * noise * 10), 10, *times))
    return made


def figures(**others: Any) -> Figures:
    """As good as the targets ask, and a little better."""
    small = size(56_689, bare=7_000, original=700, cold=5_800, warm=6_300, known=7_000)
    large = size(LARGE_ROWS, bare=7_000, cold=5_000, warm=6_300, known=7_000)
    made = Figures(LARGE_ROWS, reference=True, try_only=False, free_core=True, sizes=[small, large])
    made.start_s = {WARM.name: [0.9, 0.9, 1.5]}
    return replace(made, **others)


def met(found: Figures) -> list[bool | None]:
    return [verdict.met for verdict in judge(found)]


def test_every_target_is_met_by_good_figures() -> None:
    assert met(figures()) == [True] * 9


def test_a_figure_beyond_its_limit_is_missed() -> None:
    small = size(56_689, bare=7_000, original=700, cold=3_400, warm=3_450, known=3_400)
    large = size(LARGE_ROWS, cold=2_800, warm=2_800)
    assert met(figures(sizes=[small, large], start_s={WARM.name: [0.9, 1.0, 1.1]})) == [False] * 9


def test_what_was_not_asked_for_is_not_judged() -> None:
    assert met(figures(try_only=True)) == [None] * 9
    shared = judge(figures(free_core=False))
    assert {(verdict.met, verdict.reason) for verdict in shared} == {
        (None, "no core could be kept free for the servers")
    }
    of_the_sample = judge(figures(reference=False))
    assert of_the_sample[0].reason == "56,689 prices of the sample are scanned sooner"
    assert [verdict.met for verdict in of_the_sample] == [None, *[True] * 8]
    smaller = judge(figures(asked_rows=20_000_000))
    assert [verdict.met for verdict in smaller] == [*[True] * 6, None, None, True]
    assert smaller[6].reason == "100,000,000 prices were not asked for"


def test_as_many_prices_as_could_be_loaded_in_time_are_judged() -> None:
    fewer = size(60_000_000, cold=2_800, warm=6_300)
    verdict = judge(figures(sizes=[figures().sizes[0], fewer]))[6]
    assert (verdict.what, verdict.met) == ("cold: p50 at 60,000,000 prices ÷ at 56,689", False)


def test_the_table_has_medians_and_ratios_to_both_anchors() -> None:
    lines = {line.what: line for line in lines_of(figures().sizes[0])}
    assert lines[OURS_COLD].per_s == 5_800
    assert lines[OURS_COLD].to_bare == pytest.approx(5_800 / 7_000)
    assert lines[OURS_COLD].to_original == pytest.approx(5_800 / 700)
    assert (lines[BARE_FALCON].to_bare, lines[THE_ORIGINAL].to_original) == (None, None)


def test_the_report_fits_on_110_columns_and_says_what_the_prices_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = figures()
    found.sizes[1].add("original, index", 8, found.sizes[1].loads[OURS_COLD][8][0])
    print_report(found, judge(found), {"server_version": "18"})
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 110
    assert "100,000,000 prices: made up" in shown
    assert "original, index" in shown
    assert shown.splitlines()[-1] == "9 of 9 targets judged, 0 missed"


# --- a run -------------------------------------------------------------------------------------------------


@pytest.mark.needs("wrk")
def test_a_run_compares_the_answers_and_asks_each_in_its_turn(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its smallest: the sample, and a file that is loaded twice."""
    asked = tuple(each for each in CONTESTANTS if each.name in (THE_ORIGINAL, OURS_COLD, KNOWN))
    plan = Plan(
        servers=1,
        rounds=1,
        warm_up_s=0,
        connections=(1,),
        contestants=asked,
        starts=1,
        started=(ORIGINAL,),
    )
    measured = Figures(4_000, reference=False, try_only=True, free_core=True)
    bench = Bench(database.server, tmp_path, plan, measured, say=lambda _line: None)
    for name, value in {"FILE_ROWS": 2_000, "QUESTIONS": 50, "COMPARED": 20}.items():
        monkeypatch.setattr(api, name, value)
    monkeypatch.setattr(databases, "OURS", database.name)
    with database.connect() as connection:
        databases.insert_ports(connection)
    bench.dumped(SAMPLE)
    replace(bench, plan=replace(plan, servers=2)).many(4_000)
    small, large = measured.sizes
    assert (small.loads.keys(), large.loads.keys()) == (
        {THE_ORIGINAL, OURS_COLD, KNOWN},
        {OURS_COLD, KNOWN},
    )
    assert (small.source, large.prices) == ("sample.sql", 4_000)
    for size, servers in ((small, 1), (large, 2)):
        for by_number in size.loads.values():
            assert [load.requests > 0 for load in by_number[1]] == [True] * servers
    assert large.loads[KNOWN][1][0].cpu_s is not None
    assert 0 < measured.start_s[ORIGINAL.name][0] < 60
    assert 10_000_000 < measured.worker_bytes[ORIGINAL.name] < 200_000_000


def test_a_server_and_its_processes_keep_to_the_core_that_is_theirs(database: Database) -> None:
    core = max(psutil.Process().cpu_affinity() or [])
    with Server(BARE, database.environment(), core) as server:
        question = Question(*LANE, date(2021, 1, 1), date(2021, 1, 1))
        server.start(question)
        first = psutil.Process(server.process.pid)
        kept = [process.cpu_affinity() for process in (first, *first.children())]
        # The system counts it in hundredths of a second.
        before = server.cpu_s()
        wait_until(lambda: bool(server.get(question.path)) and server.cpu_s() > before)
    assert len(kept) > 1
    assert kept == [[core]] * len(kept)


class Wrong(Server):
    """Of no prices, whatever is asked."""

    def rates(self, question: Question) -> list[Rate]:
        return [{"count": None, "day": str(question.date_from), "price": None}]


def test_who_answers_something_else_ends_the_run() -> None:
    day = date(2021, 1, 1)
    question, servers = Question(*LANE, day, day), {COLD: Wrong(COLD, {})}
    right = [{"count": 3, "day": "2021-01-01", "price": 2.0}]
    with pytest.raises(BenchmarkError, match="ours, keeping nothing answers /rates"):
        compare([question], [right], servers)
    compare([question], [servers[COLD].rates(question)], servers)
