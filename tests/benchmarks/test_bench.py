"""`python -m benchmarks` as a person runs it, on a file that is too small to judge anything by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import BenchmarkError, alternatives
from benchmarks.__main__ import only_run, read_settings, run_part
from benchmarks.anchors import ANCHORS, EXECUTEMANY, FLOOR, ORIGINAL, PGLOADER
from benchmarks.faulty import FAULTY
from benchmarks.targets import OURS
from local.postgres import PostgresServer
from tests.stack import ELSEWHERE, ROOT

ROWS = 2_000
TIMEOUT_S = 600  # it is stuck, on any machine


def bench(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **ELSEWHERE, "RATES_HOME": str(home), **variables}
    command = [sys.executable, "-m", "benchmarks"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def run(home: Path) -> subprocess.CompletedProcess[str]:
    """One run that every test here looks at."""
    return bench(home, ROWS=str(ROWS), BENCH="loader")


@pytest.fixture(scope="module")
def report(run: subprocess.CompletedProcess[str], home: Path) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    return json.loads((home / "bench" / "loader.json").read_text())


def test_a_run_without_a_missed_target_ends_well(run: subprocess.CompletedProcess[str]) -> None:
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "0 of 12 targets judged, 0 missed")


def test_the_table_has_every_way_of_loading_and_fits_on_110_columns(
    run: subprocess.CompletedProcess[str], report: dict[str, Any]
) -> None:
    assert max(len(line) for line in run.stdout.splitlines()) <= 110
    for anchor in ANCHORS:
        assert anchor.name in run.stdout
    for what in (
        "whole process",
        "as it reports",
        "its peak memory",
        "its WAL",
        "its publishing",
        "reader's p99",
    ):
        assert what in run.stdout
    for verdict in report["targets"]:
        assert f"{verdict['what']} {verdict['limit']}" in run.stdout


def test_the_json_has_every_round_and_every_answer(report: dict[str, Any]) -> None:
    (size,) = report["sizes"]
    assert size["rows"] == ROWS
    assert ROWS * 0.9 < size["lane_days"] <= ROWS, (
        "of random rows so few, nearly each has a lane-day of its own"
    )
    names = {anchor.name for anchor in ANCHORS} | {OURS} | {faulty.name for faulty in FAULTY}
    assert size["runs"].keys() | size["not_run"].keys() == names
    for name in (FLOOR.name, ORIGINAL.name, EXECUTEMANY.name, OURS):
        assert len(size["runs"][name]) == size["rounds"] == 2
        assert all(each["seconds"] > 0 and each["wal_bytes"] > ROWS * 20 for each in size["runs"][name])
    for each in size["runs"][OURS]:
        assert 0 < each["reported_s"] < each["seconds"]
        assert 20_000_000 < each["peak_bytes"] < 1_000_000_000
    assert len(size["reading"]["idle_s"]) > 100
    assert len(size["reading"]["during_s"]) > 5
    assert report["server"]["fsync"] == "on"
    assert report["server"]["server_version"].startswith("18")


def test_pgloader_loads_all_of_it_where_it_is_installed_and_is_named_where_not(
    report: dict[str, Any],
) -> None:
    (size,) = report["sizes"]
    if PGLOADER.absent(ROWS) is None:
        assert len(size["runs"][PGLOADER.name]) == 2
        assert "pgloader" in report["versions"]
    else:
        assert size["not_run"][PGLOADER.name] == "pgloader is not installed"


def test_nothing_is_left_but_the_results(report: dict[str, Any], home: Path) -> None:
    assert report
    assert {path.name for path in (home / "bench").iterdir()} == {"loader.json", "lock"}
    assert [
        process for process in psutil.process_iter(["cmdline"]) if str(home) in str(process.info["cmdline"])
    ] == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ROWS": "many"}, "ROWS is 'many': numbers from 1 to 1,000,000,000 between commas are allowed"),
        ({"ROWS": "50000,"}, "ROWS is '50000,'"),
        ({"ROWS": "0"}, "ROWS is '0'"),
        ({"ROWS": "1000,-5"}, "ROWS is '1000,-5'"),
        ({"ROWS": "\u0665"}, "ROWS is '\u0665'"),
        ({"ROWS": "9999999999"}, "ROWS is '9999999999'"),
        (
            {"BENCH": "all"},
            "BENCH is 'all': loader, ingestion, delays, api, alternatives or nothing",
        ),
    ],
)
def test_a_setting_that_is_none_is_refused_by_name(variables: dict[str, str], message: str) -> None:
    with pytest.raises(BenchmarkError) as refused:
        read_settings(variables)
    assert str(refused.value).startswith(message)
    assert refused.value.exit_code == 2


def test_all_that_is_wrong_is_refused_in_one_line_before_anything_is_made(tmp_path: Path) -> None:
    refused = bench(tmp_path, BENCH="all", ROWS="x")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("bench: BENCH is 'all': ")
    assert "is allowed; ROWS is 'x'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_second_benchmark_beside_the_first_is_refused(tmp_path: Path) -> None:
    message = "another benchmark runs in"
    with only_run(tmp_path), pytest.raises(BenchmarkError, match=message) as refused, only_run(tmp_path):
        pass
    assert refused.value.exit_code == 2


def test_what_a_killed_benchmark_left_goes_with_the_next(tmp_path: Path) -> None:
    left = tmp_path / "bench" / "scratch" / "prices-5.csv"
    left.parent.mkdir(parents=True)
    left.touch()
    with only_run(tmp_path / "bench") as scratch:
        assert list(scratch.iterdir()) == []
    assert not left.parent.exists()


def test_the_alternatives_are_measured_by_name_against_the_floor(
    bare_server: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the tests' own server, in a round instead of three."""
    monkeypatch.setattr(alternatives, "ROUNDS", 1)
    monkeypatch.setattr(alternatives, "scratch_server", lambda _folder: nullcontext(bare_server))
    settings = read_settings({"BENCH": "alternatives", "ROWS": str(ROWS), "RATES_HOME": str(tmp_path)})
    (part,) = settings.parts

    assert run_part(part, settings, tmp_path) == []

    lines = capsys.readouterr().out.splitlines()
    for way in alternatives.WAYS:
        assert any(way.name in line and way.group in line for line in lines), way.name
    floor = next(line for line in lines if alternatives.WAYS[0].name in line)
    assert floor.split()[-2] == "1.000"
    assert list(tmp_path.iterdir()) == []
