"""The original service as a yardstick: a dump's own tables, its own SQL, and questions to put to both."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import httpx
import pytest

from tests.postgres import Database
from tests.stack import query

ANSWER = Path(__file__).with_name("original.sql").read_bytes()
PRICES = "SELECT count(*), sum(price) FROM prices"
TOTALS = (
    "SELECT sum(price_count)::bigint, sum(price_sum)::bigint FROM ("
    "SELECT price_sums, price_counts FROM lane_month_totals UNION ALL"
    " SELECT price_sums, price_counts FROM lane_month_deltas"
    ") AS all_totals, unnest(price_sums, price_counts) AS of_day (price_sum, price_count)"
)
UNKNOWN_CODES = ["XXXXX", "cnsgh", "nowhere", "Ørsta", "a'b\"c;--", "NULL", "%", " "]


class Question(NamedTuple):
    orig_code: str
    dest_code: str
    date_from: date
    date_to: date


class Rate(NamedTuple):
    day: date
    price: float | None
    count: int | None


@dataclass(frozen=True)
class Original:
    """A database that holds a dump as `psql` made it, without anything of this project."""

    database: Database

    def restore(self, dump: Path) -> None:
        self._psql(f"--file={dump}")

    def copy_csv(self, file: Path) -> None:
        """Adds the rows of a file, columns in the contract's order."""
        columns = "(orig_code, dest_code, day, price)"
        self._psql(f"--command=\\copy public.prices {columns} from '{file}' with (format csv, header)")

    def _psql(self, *arguments: str) -> None:
        psql = self.database.server.bin_dir / "psql"
        subprocess.run(
            [psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *arguments],
            env=self.database.environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def answers(self, questions: list[Question]) -> list[list[Rate]]:
        with self.database.connect() as connection:
            return [
                [Rate(*row) for row in connection.execute(ANSWER, question._asdict())]
                for question in questions
            ]


def assert_every_price_is_in(original: Original, variables: Mapping[str, str]) -> None:
    """And in the totals, in the database that libpq's variables name."""
    expected = original.database.rows(PRICES)
    assert query(variables, PRICES) == query(variables, TOTALS) == expected


def assert_answered_alike(original: Original, questions: list[Question], url: str) -> None:
    """By the system at `url`. The questions are worth asking: many days of each kind, and reversed ranges."""
    expected = original.answers(questions)
    rates = [rate for answer in expected for rate in answer]
    assert len([rate for rate in rates if rate.price]) > 1_000
    assert len([rate for rate in rates if rate.count and not rate.price]) > 200
    assert len([rate for rate in rates if not rate.count]) > 200
    assert len([answer for answer in expected if not answer]) > 50
    assert_equal(questions, served_answers(url, questions), expected)


def served_answers(url: str, questions: list[Question]) -> list[list[Rate]]:
    """What the running system answers, over HTTP."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        return [served_answer(client, question) for question in questions]


def served_answer(client: httpx.Client, question: Question) -> list[Rate]:
    parameters = {name: str(value) for name, value in question._asdict().items()}
    answer = client.get("/rates", params=parameters)
    assert answer.status_code == 200, (question, answer.text)
    rates = answer.json()["rates"]
    assert all(list(rate) == ["count", "day", "price"] for rate in rates)
    return [Rate(date.fromisoformat(rate["day"]), rate["price"], rate["count"]) for rate in rates]


def assert_equal(questions: list[Question], served: list[list[Rate]], expected: list[list[Rate]]) -> None:
    """Days, their order and counts exactly; prices to a relative 1e-9."""
    for question, ours, theirs in zip(questions, served, expected, strict=True):
        assert [(rate.day, rate.count) for rate in ours] == [(rate.day, rate.count) for rate in theirs], (
            question
        )
        for our, their in zip(ours, theirs, strict=True):
            assert our.price == (their.price and pytest.approx(their.price, rel=1e-9, abs=0)), (question, our)


def draw_questions(original: Original, number: int, seed: str) -> list[Question]:
    """So many questions of every kind about a dump: each region stands at least once at either end."""
    rng = Random(seed)  # noqa: S311  # the same questions each time
    rows = original.database.rows
    lanes = rows("SELECT DISTINCT orig_code, dest_code FROM prices ORDER BY 1, 2")
    thin = rows(
        "SELECT orig_code, dest_code, day FROM prices GROUP BY 1, 2, 3 HAVING count(*) < 3 ORDER BY 1, 2, 3"
    )
    ports = [code for (code,) in rows("SELECT code FROM ports ORDER BY code")]
    regions = [slug for (slug,) in rows("SELECT slug FROM regions ORDER BY slug")]
    ((first, last),) = rows("SELECT min(day), max(day) FROM prices")

    def days() -> tuple[date, date]:
        start = first - timedelta(days=5) + timedelta(days=rng.randrange((last - first).days + 10))
        return start, start + timedelta(days=rng.choice([0, 0, 1, 6, 30, 45, -1, -20]))

    def lane() -> tuple[str, str]:
        return rng.choice(lanes)

    def thin_day() -> Question:
        orig, dest, day = rng.choice(thin)
        return Question(orig, dest, day - timedelta(days=rng.randrange(3)), day)

    def unknown() -> Question:
        codes = rng.sample([rng.choice(UNKNOWN_CODES), rng.choice(ports + regions)], k=2)
        return Question(codes[0], codes[1], *days())

    kinds = [
        thin_day,
        unknown,
        lambda: Question(*lane(), *days()),
        lambda: Question(rng.choice(ports), rng.choice(ports), *days()),
        lambda: Question(lane()[0], rng.choice(regions), *days()),
        lambda: Question(rng.choice(regions), lane()[1], *days()),
        lambda: Question(rng.choice(regions), rng.choice(regions), *days()),
    ]
    whole = (first, last)
    everywhere = [Question(region, rng.choice(regions), *whole) for region in regions]
    everywhere += [Question(rng.choice(regions), region, *whole) for region in regions]
    return everywhere + [kinds[n % len(kinds)]() for n in range(number - len(everywhere))]
