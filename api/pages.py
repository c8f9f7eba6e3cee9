"""Lists that are answered a page at a time: how long one is, where it begins, and where the next one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import falcon
import msgspec

from api import as_csv
from api.answers import Answers, Made
from api.errors import BadParameter
from api.parameters import NOT_UTF8, PRINTABLE_OR_SPACE, Parameter, number_parameter
from api.store import Store
from api.totals import DataVersion
from database.queries import query

LISTED, LISTED_MAX = 100, 1_000
NAME_CHARS_MAX = 100
# What PostgreSQL counts time from.
TIME_0 = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def read_page(
    store: Store, name: str, values: Mapping[str, Any]
) -> tuple[DataVersion, list[tuple[Any, ...]]]:
    """What the query of this name answers, at least one row, without its first two columns, which are the
    version of the data. Raises DatabaseUnavailable."""
    rows = store.read(lambda connection: connection.execute(query("api", name), values).fetchall())
    number, changed_at = rows[0][:2]
    return DataVersion(number, (changed_at - TIME_0) // MICROSECOND), [row[2:] for row in rows]


def respond_page(
    answers: Answers,
    request: falcon.Request,
    response: falcon.Response,
    read: Callable[[], tuple[DataVersion, msgspec.Struct]],
    kind: type[msgspec.Struct],
) -> None:
    """`read` reads a page: its rows, which are of this kind, and the address of the next one. A header has it
    too, since CSV has no place for that."""
    in_csv = as_csv.is_preferred(request)

    def make() -> Made:
        version, page = read()
        rows, following = msgspec.structs.astuple(page)
        body = as_csv.table_of(kind, rows) if in_csv else msgspec.json.encode(page)
        return Made(version, body, following and next_link(following))

    answers.respond(request, response, make, as_csv.CONTENT_TYPE if in_csv else falcon.MEDIA_JSON)


def next_link(address: str) -> str:
    """As RFC 8288 has it."""
    return f'<{address}>; rel="next"'


def next_address(request: falcon.Request, after: str) -> str:
    """Of the page that follows: the same question, behind the last one of this page."""
    asked = {name: text for name, text in request.params.items() if name != "after"}
    return f"{request.path}?{urlencode({**asked, 'after': after}, safe='/')}"


def read_words(name: str, text: str) -> list[str]:
    """The words of a search; none finds all."""
    printable = all(char.isprintable() or char.isspace() for char in text)
    if len(text) > NAME_CHARS_MAX or not printable or NOT_UTF8 in text:
        raise BadParameter(
            f"{name} is {text[:NAME_CHARS_MAX]!r}; expected words to search for,"
            f" at most {NAME_CHARS_MAX} printable characters in UTF-8.",
            code=f"invalid_{name}",
        )
    return text.split()


def unknown_code(name: str, code: str, expected: str) -> BadParameter:
    return BadParameter(f"{name} is {code!r}; there is no {expected}.", code="unknown_code")


LIMIT = number_parameter("limit", "How many at most.", LISTED_MAX, LISTED)
SEARCH = Parameter(
    "name",
    "Words, each of which is in the name or begins the code; case, accents and punctuation do not count.",
    {
        "type": "string",
        "maxLength": NAME_CHARS_MAX,
        "pattern": f"^{PRINTABLE_OR_SPACE}*$",
        "examples": ["sao tome"],
    },
    read_words,
    default=(),
    codes=("invalid_name",),
)
