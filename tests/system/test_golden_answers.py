"""`make up` on the reference answers as the original did; `test_a_batch` asks the same of the sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from local.postgres import PostgresServer
from tests.postgres import clone
from tests.stack import Run, exported
from tests.system.original import (
    Original,
    Question,
    assert_answered_alike,
    assert_every_price_is_in,
    draw_questions,
)

QUESTIONS = 600


@pytest.fixture(scope="module")
def original(server: PostgresServer, template: str) -> Iterator[Original]:
    original = Original(clone(server, "template0"))
    original.restore(reference_dump())
    yield original
    original.database.drop()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A stack that has imported the reference."""
    home = tmp_path_factory.mktemp("reference") / "home"
    run = Run(home, dump=reference_dump(), command=("make", "--silent", "up")).begin()
    try:
        run.until("ready in ")
        yield run
    finally:
        run.end()


def reference_dump() -> Path:
    return Path(os.environ["REFERENCE_DUMP"]).resolve()


@pytest.mark.needs("reference")
def test_every_price_of_the_dump_is_served(run: Run, original: Original) -> None:
    assert_every_price_is_in(original, exported(run.home))


@pytest.mark.needs("reference")
def test_every_answer_equals_the_originals(run: Run, original: Original) -> None:
    questions = draw_questions(original, QUESTIONS, seed="reference")
    assert_answered_alike(original, questions, f"http://127.0.0.1:{run.port}")


@pytest.mark.needs("reference")
def test_the_yardstick_gives_the_answer_that_was_observed(original: Original) -> None:
    day = date(2021, 1, 31)
    ((rate,),) = original.answers([Question("CNGGZ", "EETLL", day, day)])
    assert (rate.day, rate.count) == (day, 3)
    assert rate.price == pytest.approx(1154.3333333333333)
