"""`GET /rates`: the average price a day between two places, ports or regions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import falcon
import msgspec

from api.answers import Answers, Made
from api.errors import BadParameter
from api.parameters import NOT_UTF8, Parameter, read_parameters
from api.store import Store
from api.totals import Totals

# Fewer prices than this make no average (the original service's rule).
PRICES_MIN = 3
NO_PRICES = (0, 0)
CODE_CHARS_MAX = 100
# The original takes a month or day of one digit too.
DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")


class Rate(msgspec.Struct):
    """One day: `price` is the mean in USD, null below PRICES_MIN prices; `count` is null for no prices."""

    count: int | None
    day: date
    price: float | None


class Question(msgspec.Struct, frozen=True):
    """What is asked, once it is known to be sound. A reversed range has no days."""

    date_from: date
    date_to: date
    orig_code: str
    dest_code: str


@dataclass(frozen=True)
class Rates:
    """`days_max` bounds what one request may ask for."""

    store: Store
    answers: Answers
    days_max: int

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """One entry for each calendar day from `date_to` back to `date_from`."""

        def make() -> Made:
            question = read_question(request, self.days_max)
            totals = self.store.totals(
                orig_code=question.orig_code,
                dest_code=question.dest_code,
                date_from=question.date_from,
                date_to=question.date_to,
            )
            return totals.version, msgspec.json.encode({"rates": rates_of(question, totals)})

        self.answers.respond(request, response, make)

    on_head = on_get


def rates_of(question: Question, totals: Totals) -> list[Rate]:
    """Totals as answers, newest day first, with the days between that have no prices."""
    first, last = question.date_from.toordinal(), question.date_to.toordinal()
    find, day_of = totals.by_day.get, date.fromordinal
    rates = []
    for ordinal in range(last, first - 1, -1):
        price_sum, price_count = find(ordinal, NO_PRICES)
        price = price_sum / price_count if price_count >= PRICES_MIN else None
        rates.append(Rate(price_count or None, day_of(ordinal), price))
    return rates


def read_question(request: falcon.Request, days_max: int) -> Question:
    """Raises BadParameter for the first parameter that is missing, unknown, repeated or malformed."""
    question = Question(**read_parameters(request, PARAMETERS))
    days = (question.date_to - question.date_from).days + 1
    if days > days_max:
        raise BadParameter(
            f"date_from={question.date_from} to date_to={question.date_to} is {days:,} days;"
            f" at most {days_max:,} are allowed in one request.",
            code="range_too_long",
        )
    return question


def read_day(name: str, text: str) -> date:
    match = DAY.fullmatch(text)
    try:
        if match:
            return date(*map(int, match.groups()))
    except ValueError:  # the 30th of February
        pass
    raise BadParameter(f"{name} is {text!r}; expected a day as YYYY-MM-DD.", code="invalid_date")


def read_code(name: str, text: str) -> str:
    """Any other text is a code, known or not: an unknown one has no prices, as in the original."""
    if len(text) > CODE_CHARS_MAX or not text.isprintable() or NOT_UTF8 in text:
        raise BadParameter(
            f"{name} is {text[:CODE_CHARS_MAX]!r}; expected a port's code or a region's slug,"
            f" at most {CODE_CHARS_MAX} printable characters in UTF-8.",
            code="invalid_code",
        )
    return text


def day_parameter(name: str, description: str) -> Parameter:
    # The original takes a month or day of one digit too, which "format": "date" would not.
    schema = {"type": "string", "pattern": f"^{DAY.pattern}$", "examples": ["2021-01-31"]}
    return Parameter(name, description, schema, read_day, required=True)


def code_parameter(name: str, description: str) -> Parameter:
    schema = {"type": "string", "minLength": 1, "maxLength": CODE_CHARS_MAX, "examples": ["CNSGH"]}
    return Parameter(name, description, schema, read_code, required=True)


PARAMETERS = (
    day_parameter("date_from", "First day."),
    day_parameter("date_to", "Last day."),
    code_parameter("orig_code", "Where from: a port's code or a region's slug."),
    code_parameter("dest_code", "Where to: a port's code or a region's slug."),
)
