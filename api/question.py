"""What `GET /rates` is asked: its query parameters, and the `Question` that they make once they are sound."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

import falcon
import msgspec

from api.errors import BadParameter
from api.parameters import NOT_UTF8, Parameter, boolean_parameter, by_name, printable, read_parameters, shown
from api.totals import Totals

CODE_CHARS_MAX = 100
# The original takes a month or day of one digit too.
DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
# What `fields` chooses from, in the order of CSV's columns.
FIELDS = ("day", "count", "price")
ALL_FIELDS = frozenset(FIELDS)
# What sum and count of a day's prices do not say.
FIELDS_NOT_KEPT = ("min", "max", "median")
WHERE_CODES_ARE = "GET /ports and GET /regions list the codes that there are"


class Question(msgspec.Struct, frozen=True):
    """What is asked, once it is known to be sound. A reversed range has no days; "day" is one of `fields`."""

    date_from: date
    date_to: date
    orig_code: str
    dest_code: str
    strict: bool
    fields: frozenset[str]
    widen: bool


def read_question(request: falcon.Request, *, days_max: int, strict: bool) -> Question:
    """`strict` holds where the request does not say. Raises BadParameter for the first parameter that is
    unknown, repeated, malformed or missing."""
    given = read_parameters(request, PARAMETERS)
    if given["strict"] is None:
        given["strict"] = strict
    question = Question(**given)
    days = (question.date_to - question.date_from).days + 1
    if days > days_max:
        raise BadParameter(
            f"date_from={question.date_from} to date_to={question.date_to} is {days:,} days;"
            f" at most {days_max:,} are allowed in one request.",
            code="range_too_long",
        )
    if question.strict and days < 1:
        raise BadParameter(
            f"date_from is {question.date_from}, which is after date_to, {question.date_to};"
            " expected the same day or an earlier one.",
            code="reversed_range",
        )
    return question


def refuse_unknown(question: Question, totals: Totals) -> None:
    """Raises BadParameter where a code means no place, naming both if neither does."""
    unknown = []
    if not totals.orig_found:
        unknown.append(f"orig_code is {shown(question.orig_code)}")
    if not totals.dest_found:
        unknown.append(f"dest_code is {shown(question.dest_code)}")
    if unknown:
        raise BadParameter(
            f"{' and '.join(unknown)}; expected a port's code or a region's slug: {WHERE_CODES_ARE}.",
            code="unknown_code",
        )


@lru_cache(maxsize=1024)  # everybody asks for the same few days
def read_day(name: str, text: str) -> date:
    match = DAY.fullmatch(text)
    try:
        if match:
            return date(*map(int, match.groups()))
    except ValueError:  # the 30th of February, or the year 0
        pass
    raise BadParameter(f"{name} is {shown(text)}; expected a day as YYYY-MM-DD.", code="invalid_date")


def read_code(name: str, text: str) -> str:
    """Any other text is a code, known or not: an unknown one has no prices, as in the original."""
    if len(text) > CODE_CHARS_MAX or not text.isprintable() or NOT_UTF8 in text:
        raise BadParameter(
            f"{name} is {shown(text)}; expected a port's code or a region's slug,"
            f" at most {CODE_CHARS_MAX} printable characters in UTF-8.",
            code="invalid_code",
        )
    return text


def read_fields(name: str, text: str) -> frozenset[str]:
    for field in text.split(","):
        if field in FIELDS_NOT_KEPT:
            raise BadParameter(
                f"{name} has {field!r}, which only a scan of prices could answer: of each day only sum and"
                f" count are kept; expected names of {', '.join(FIELDS)}, with commas between.",
                code="field_not_kept",
            )
        if field not in FIELDS:
            raise BadParameter(
                f"{name} has {shown(field)}; expected names of {', '.join(FIELDS)}, with commas between.",
                code="invalid_fields",
            )
    return frozenset(["day", *text.split(",")])


def day_parameter(name: str, description: str) -> Parameter:
    # The original takes a month or day of one digit too; nobody has to be told.
    schema = {"type": "string", "format": "date", "examples": ["2021-01-31"]}
    return Parameter(name, description, schema, read_day, required=True, codes=("invalid_date",))


def code_parameter(name: str, description: str, *, required: bool = True) -> Parameter:
    schema = printable(CODE_CHARS_MAX) | {"examples": ["CNSGH"]}
    return Parameter(name, description, schema, read_code, required=required, codes=("invalid_code",))


def fields_parameter(name: str, description: str) -> Parameter:
    one = f"({'|'.join(FIELDS)})"
    schema = {"type": "string", "pattern": f"^{one}(,{one})*$", "examples": ["price", "count,price"]}
    codes = ("field_not_kept", "invalid_fields")
    return Parameter(name, description, schema, read_fields, default=ALL_FIELDS, codes=codes)


PARAMETERS = by_name(
    day_parameter("date_from", "First day."),
    day_parameter("date_to", "Last day."),
    code_parameter("orig_code", "Where from: a port's code or a region's slug."),
    code_parameter("dest_code", "Where to: a port's code or a region's slug."),
    boolean_parameter(
        "strict",
        "Whether an unknown code and a reversed range are refused. Otherwise the one has no prices and the"
        " other no days; which of both holds without this parameter is the server's setting.",
    ),
    fields_parameter("fields", "What to answer of each day besides itself; all without this parameter."),
    boolean_parameter(
        "widen",
        "Whether a lane that has no price on any of the days is answered from the next wider regions that"
        " have one.",
        default=False,
    ),
)
