"""`make up` on a dump answers as the original service did: the sample always, the reference where it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from local.postgres import PostgresServer
from local.stack import SAMPLE
from tests.postgres import clone
from tests.stack import Run, exported, query
from tests.system.original import Original, Question, assert_equal, draw_questions, served_answers

QUESTIONS = 600


@dataclass(frozen=True)
class Served:
    """A dump that a running stack has imported, and the same dump as the original held it."""

    run: Run
    original: Original
    questions: list[Question]


@pytest.fixture(
    scope="module", params=["sample", pytest.param("reference", marks=pytest.mark.needs("reference"))]
)
def served(
    request: pytest.FixtureRequest,
    server: PostgresServer,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    dump = SAMPLE if request.param == "sample" else Path(os.environ["REFERENCE_DUMP"]).resolve()
    home = tmp_path_factory.mktemp(request.param) / "home"
    original = Original(clone(server, "template0"))
    run = Run(home, dump=dump, command=("make", "--silent", "up")).begin()
    try:
        original.restore(dump)
        run.until("ready in ")
        yield Served(run, original, draw_questions(original, QUESTIONS, seed=request.param))
    finally:
        run.end()
        original.database.drop()


def test_every_price_of_the_dump_is_served(served: Served) -> None:
    expected = served.original.database.rows("SELECT count(*), sum(price) FROM prices")
    variables = exported(served.run.home)
    assert query(variables, "SELECT count(*), sum(price) FROM prices") == expected
    totals = (
        "SELECT sum(price_count)::bigint, sum(price_sum)::bigint FROM ("
        "SELECT price_sums, price_counts FROM lane_month_totals UNION ALL"
        " SELECT price_sums, price_counts FROM lane_month_deltas"
        ") AS all_totals, unnest(price_sums, price_counts) AS of_day (price_sum, price_count)"
    )
    assert query(variables, totals) == expected


def test_every_answer_equals_the_originals(served: Served) -> None:
    expected = served.original.answers(served.questions)
    rates = [rate for answer in expected for rate in answer]
    # The questions are worth asking: many days of each kind, and some ranges that are reversed.
    assert len([rate for rate in rates if rate.price]) > 1_000
    assert len([rate for rate in rates if rate.count and not rate.price]) > 200
    assert len([rate for rate in rates if not rate.count]) > 200
    assert len([answer for answer in expected if not answer]) > 50

    assert_equal(
        served.questions, served_answers(f"http://127.0.0.1:{served.run.port}", served.questions), expected
    )


@pytest.mark.needs("reference")
def test_the_yardstick_gives_the_answer_that_was_observed(server: PostgresServer, template: str) -> None:
    original = Original(clone(server, "template0"))
    original.restore(Path(os.environ["REFERENCE_DUMP"]).resolve())
    day = date(2021, 1, 31)
    try:
        ((rate,),) = original.answers([Question("CNGGZ", "EETLL", day, day)])
    finally:
        original.database.drop()
    assert (rate.day, rate.count) == (day, 3)
    assert rate.price == pytest.approx(1154.3333333333333)
