"""`GET /rates`: the average price a day between two places, ports or regions.

`question` reads what is asked → `totals`, or `widening`, read sums and counts → here they become an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from operator import truediv

import falcon
import msgspec
from msgspec import UNSET, UnsetType

from api import as_csv
from api.answers import Answers, Made
from api.question import ALL_FIELDS, FIELDS, Question, read_question, refuse_unknown
from api.store import Store
from api.totals import PRICES_MIN, DataVersion, Totals, read_totals
from api.widening import Used, read_widened


class Rate(msgspec.Struct, gc=False):
    """One day: `price` is the mean in USD, null below three prices; `count` is null for no prices. What
    `fields` leaves out is not there."""

    count: int | UnsetType | None
    day: date
    price: float | UnsetType | None


class Places(msgspec.Struct):
    orig_code: str
    dest_code: str


class RatesAnswer(msgspec.Struct):
    """`rates` has the newest day first. The rest is there with `widen=true`: `used` are the places whose
    rates these are, and the levels say how many steps up from those asked for they lie, 0 as asked."""

    rates: list[Rate]
    asked: Places | UnsetType = UNSET
    used: Places | UnsetType = UNSET
    orig_level: int | UnsetType = UNSET
    dest_level: int | UnsetType = UNSET


@dataclass
class Rates:
    """`days_max` bounds what one request may ask for; `strict` is what holds for one that does not say."""

    store: Store
    answers: Answers
    days_max: int
    strict: bool
    _rules: str = field(init=False)

    def __post_init__(self) -> None:
        self._rules = f"{self.days_max} {self.strict} "

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """One entry for each calendar day from `date_to` back to `date_from`. How many days one request may
        ask for is the server's setting."""
        in_csv = as_csv.is_preferred(request)

        def make() -> Made:
            question = read_question(request, days_max=self.days_max, strict=self.strict)
            version, answer = self.answer(question)
            return Made(version, csv_of(question, answer) if in_csv else msgspec.json.encode(answer))

        media_type = as_csv.CONTENT_TYPE if in_csv else falcon.MEDIA_JSON
        self.answers.respond(request, response, make, media_type, self._rules)

    on_head = on_get

    def answer(self, question: Question) -> tuple[DataVersion, RatesAnswer]:
        """Raises BadParameter for a code that means nothing, where the question is strict."""
        used = None
        if question.widen:
            totals, used = self.store.read(read_widened, question)
        else:
            lane = question.orig_code, question.dest_code
            totals = self.store.read(read_totals, *lane, question.date_from, question.date_to)
        if question.strict:
            refuse_unknown(question, totals)
        answer = RatesAnswer(rates_of(question, totals))
        if used is not None:
            tell_used(answer, question, used)
        return totals.version, answer


def rates_of(question: Question, totals: Totals) -> list[Rate]:
    """Totals as answers, newest day first, with the days between that have no prices."""
    days, sums, counts = days_back(question.date_from, question.date_to), totals.sums, totals.counts
    if counts and min(counts) >= PRICES_MIN:  # as on most lanes: no day has to be looked at
        rates = list(map(Rate, counts, days, map(truediv, sums, counts)))
    else:
        rates = [
            Rate(count or None, day, price_sum / count if count >= PRICES_MIN else None)
            for day, price_sum, count in zip(days, sums, counts, strict=True)
        ]
    for name in ALL_FIELDS - question.fields:
        for rate in rates:
            setattr(rate, name, UNSET)
    return rates


@lru_cache(maxsize=256)  # at most 7 KB each where a year may be asked for; most ask for the last weeks
def days_back(date_from: date, date_to: date) -> tuple[date, ...]:
    return tuple(map(date.fromordinal, range(date_to.toordinal(), date_from.toordinal() - 1, -1)))


def tell_used(answer: RatesAnswer, question: Question, used: Used) -> None:
    answer.asked = Places(question.orig_code, question.dest_code)
    answer.used = Places(used.orig_code, used.dest_code)
    answer.orig_level, answer.dest_level = used.orig_level, used.dest_level


def csv_of(question: Question, answer: RatesAnswer) -> bytes:
    """A line a day; what was used stands in each, where the question may be widened."""
    columns = [name for name in FIELDS if name in question.fields]
    used = {}
    if isinstance(answer.used, Places):
        used = {
            "used_orig_code": answer.used.orig_code,
            "used_dest_code": answer.used.dest_code,
            "orig_level": answer.orig_level,
            "dest_level": answer.dest_level,
        }
    lines = ([*(getattr(rate, name) for name in columns), *used.values()] for rate in answer.rates)
    return as_csv.spelled([[*columns, *used], *lines])
