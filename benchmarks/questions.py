"""Questions about lanes that have prices, and the answers that are right for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

from benchmarks.random_prices import Lane, LaneDay, Total

# As many days as the dump has, so that the questions are as long whatever they are about.
RANGE_DAYS_MAX = 31
UNKNOWN_CODE = "XXXXX"
PRICES_MIN = 3
Rate = Mapping[str, Any]


class Question(NamedTuple):
    orig_code: str
    dest_code: str
    date_from: date
    date_to: date

    @property
    def path(self) -> str:
        return f"/rates?{urlencode(self._asdict())}"


def draw_questions(
    lanes: Sequence[Lane], first_day: date, last_day: date, number: int, seed: int
) -> list[Question]:
    """Of random lanes and 1 to RANGE_DAYS_MAX days, all between these two where there are as many."""
    random, days = Random(seed), (last_day - first_day).days + 1
    questions = []
    for _ in range(number):
        length = min(random.randint(1, RANGE_DAYS_MAX), days)
        start = first_day + timedelta(days=random.randrange(days - length + 1))
        questions.append(Question(*random.choice(lanes), start, start + timedelta(days=length - 1)))
    return questions


def odd_questions(one: Question) -> list[Question]:
    """What answers have beside prices: days around them, no such place, no days."""
    around = timedelta(days=40)
    return [
        one._replace(date_from=one.date_from - around, date_to=one.date_to + around),
        one._replace(orig_code=UNKNOWN_CODE),
        one._replace(date_from=one.date_to + around),
    ]


def rates_by(totals: Mapping[LaneDay, Total], times: int, question: Question) -> list[Rate]:
    """The right answer, where each price was loaded so many times."""
    orig, dest, date_from, date_to = question
    rates = []
    for back in range((date_to - date_from).days + 1):
        day = date_to - timedelta(days=back)
        usd, count = totals.get((orig, dest, day), (0, 0))
        price = usd / count if count * times >= PRICES_MIN else None
        rates.append({"count": count * times or None, "day": day.isoformat(), "price": price})
    return rates


def are_equal(ours: Sequence[Rate], theirs: Sequence[Rate]) -> bool:
    """Days, their order and counts exactly; prices to a relative 1e-9, since the mean is somebody else's."""
    return len(ours) == len(theirs) and all(
        (one["day"], one["count"]) == (other["day"], other["count"])
        and same_price(one["price"], other["price"])
        for one, other in zip(ours, theirs, strict=True)
    )


def same_price(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, rel_tol=1e-9)
