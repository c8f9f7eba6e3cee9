"""The whole system answers of the sample as the original did. Then a file of prices goes through it: it
changes every answer it touches, or nothing at all."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from local.postgres import PostgresServer
from local.stack import SAMPLE
from tests.postgres import clone
from tests.stack import ROOT, Run, exported, query
from tests.system.original import (
    Original,
    Question,
    assert_answered_alike,
    assert_equal,
    assert_every_price_is_in,
    draw_questions,
    served_answers,
)
from tests.waiting import wait_until

ROWS = 50_000
LOADER = Path(sys.executable).with_name("loader")
Row = tuple[str, str, str, str]

# Everything that a load may leave behind, in one row: if it is the same, nothing was left.
TRACES = """
SELECT
    (SELECT count(*) FROM prices), (SELECT sum(price) FROM prices),
    (SELECT sum(price_count) FROM lane_month_totals, unnest(price_counts) AS price_count),
    (SELECT sum(price_sum) FROM lane_month_totals, unnest(price_sums) AS price_sum),
    (SELECT count(*) FROM lane_month_deltas), (SELECT version FROM data_version)
"""
# What the worker has not got to yet.
LEFT_TO_DO = "SELECT (SELECT count(*) FROM postings), (SELECT count(*) FROM discards)"


@dataclass(frozen=True)
class System:
    """A running stack with the sample in it, a shell set up by `make env`, and the original beside it."""

    run: Run
    environment: dict[str, str]
    original: Original
    questions: list[Question]

    def load(self, file: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(LOADER), "load", str(file), *options]
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def load_json(self, file: Path) -> tuple[int, dict[str, Any]]:
        done = self.load(file, "--json")
        return done.returncode, json.loads(done.stdout)

    def served(self) -> list[list[Any]]:
        return served_answers(self.environment["RATES_URL"], self.questions)

    def traces(self) -> tuple:
        """Once the worker has folded what was published, and thrown away what was rejected."""
        wait_until(lambda: query(self.environment, LEFT_TO_DO) == [(0, 0)])
        return query(self.environment, TRACES)[0]


@pytest.fixture(scope="module")
def system(
    server: PostgresServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    home = tmp_path_factory.mktemp("system") / "home"
    original = Original(clone(server, "template0"))
    run = Run(home, command=("make", "--silent", "up")).begin()
    try:
        original.restore(SAMPLE)
        run.until("ready in ")
        yield System(run, exported(home), original, draw_questions(original, 300, seed="a batch"))
    finally:
        run.end()
        original.database.drop()


@pytest.fixture(scope="module")
def rows(system: System) -> list[Row]:
    """Prices on the sample's lanes and on new ones, on its days and the month after."""
    rng = Random("rows")  # noqa: S311
    fetch = system.original.database.rows
    lanes = fetch("SELECT DISTINCT orig_code, dest_code FROM prices ORDER BY 1, 2")
    lanes += [(dest, orig) for orig, dest in lanes[::5]]
    ((first,),) = fetch("SELECT min(day) FROM prices")
    days = [str(first + timedelta(days=n)) for n in range(90)]
    return [(*rng.choice(lanes), rng.choice(days), str(rng.randrange(500, 9_000))) for _ in range(ROWS)]


def write(file: Path, rows: list[Row]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("orig_code", "dest_code", "day", "price"))
        writer.writerows(rows)
    return file


def test_every_price_of_the_sample_is_in_and_every_answer_is_the_originals(system: System) -> None:
    assert_every_price_is_in(system.original, system.environment)
    assert_answered_alike(system.original, system.questions, system.environment["RATES_URL"])


def test_a_batch_changes_the_answers_and_a_repeat_of_it_does_nothing(
    system: System, rows: list[Row], tmp_path: Path
) -> None:
    file = write(tmp_path / "good.csv", rows)
    before = system.served()

    status, result = system.load_json(file)

    assert (status, result["state"], result["rows"]) == (0, "published", ROWS)
    assert (result["errors"], result["error_count"]) == ([], 0)
    system.original.copy_csv(file)
    after = system.served()
    assert after != before
    assert_equal(system.questions, after, system.original.answers(system.questions))

    traces = system.traces()
    again = system.load(file)
    assert again.returncode == 0
    assert again.stdout == f"batch {result['batch']} is published already: 50,000 rows; nothing was done\n"
    assert system.load_json(file)[1]["batch"] == result["batch"]
    assert system.traces() == traces
    assert system.served() == after


def test_one_bad_row_in_the_middle_is_named_and_leaves_nothing_behind(
    system: System, rows: list[Row], tmp_path: Path
) -> None:
    bad = [*rows]
    bad[ROWS // 2] = (*rows[ROWS // 2][:3], "12.50")
    file = write(tmp_path / "bad.csv", bad)
    answers, traces = system.served(), system.traces()

    status, result = system.load_json(file)

    assert (status, result["state"], result["rows"], result["error_count"]) == (1, "rejected", 0, 1)
    assert result["errors"] == [
        {
            "file": str(file),
            "line": ROWS // 2 + 2,  # the header is line 1
            "column": "price",
            "value": "12.50",
            "reason": "expected a whole number of USD from 1 to 2147483647, in plain digits",
        }
    ]
    assert system.traces() == traces
    assert system.served() == answers
    told = system.load(file)
    assert told.returncode == 1
    assert f"{file}:25002: price is '12.50': expected a whole number of USD" in told.stderr
    assert told.stdout == ""


@pytest.mark.needs("curl")
def test_the_readmes_curl_lines_are_answered_with_prices(system: System) -> None:
    readme = (ROOT / "README.md").read_text()
    lines = [line for line in readme.splitlines() if line.startswith("curl 'http://127.0.0.1:8000/rates?")]
    assert len(lines) == 2
    for line in lines:
        command = line.replace(":8000/", f":{system.run.port}/")
        answer = subprocess.run(
            ["sh", "-c", f"{command} --silent --noproxy '*'"], capture_output=True, text=True, check=True
        )
        assert [rate for rate in json.loads(answer.stdout)["rates"] if rate["price"]]
