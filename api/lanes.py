"""`GET /lanes`: which lanes of a port or region have prices, and of which months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import falcon
import msgspec

from api.answers import Answers
from api.errors import BadParameter
from api.pages import LIMIT, next_address, read_page, respond_page, unknown_code
from api.parameters import PRINTABLE, Parameter, by_name, read_parameters, shown
from api.question import CODE_CHARS_MAX, code_parameter
from api.store import Store
from api.totals import DataVersion

# How far one request looks for lanes where few lead from the one place to the other: some tenths of a second.
STEPS_MAX = 5_000
# A code in a position: the slash, which parts it from the other one, and the percent are written out.
CODE = rf"((?:{PRINTABLE[:-1]}/%]|%2F|%25){{0,{CODE_CHARS_MAX}}})"
POSITION = re.compile(f"{CODE}/{CODE}")
PLACE = "port of this code and no region of this slug"


class Lane(msgspec.Struct):
    """From port to port. `first_month` and `last_month`, as YYYY-MM, have prices, and so have `months` of
    those from the one to the other; `prices` counts them all."""

    orig_code: str
    dest_code: str
    first_month: str
    last_month: str
    months: int
    prices: int


class LanesPage(msgspec.Struct):
    """`next` is the address of the page that follows, null on the last. A page may be shorter than asked for,
    even empty, and not the last."""

    lanes: list[Lane]
    next: str | None


class Position(NamedTuple):
    """A lane, or the place of one, that the page begins behind."""

    orig_code: str | None
    dest_code: str | None


@dataclass(frozen=True)
class Lanes:
    """In the order of their codes; `steps_max` bounds how far one request looks for them."""

    store: Store
    answers: Answers
    steps_max: int = STEPS_MAX

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page of them."""

        def read() -> tuple[DataVersion, LanesPage]:
            asked = read_parameters(request, PARAMETERS)
            limit, after = asked["limit"], asked["after"]
            values = {
                "orig_code": asked["orig_code"],
                "dest_code": asked["dest_code"],
                "after_orig": after.orig_code,
                "after_dest": after.dest_code,
                "lanes_max": limit + 1,
                "steps_max": self.steps_max,
            }
            version, rows = read_page(self.store, "lanes", values)
            for name, found in zip(("orig_code", "dest_code"), rows[0][:2], strict=True):
                if not found:
                    raise unknown_code(name, asked[name], PLACE)
            lanes = [Lane(*row[4:]) for row in rows if row[4] is not None]
            last = position_behind(lanes, limit, Position(*rows[0][2:4]))
            following = None if last.orig_code is None else next_address(request, text_of(last))
            return version, LanesPage(lanes[:limit], following)

        respond_page(self.answers, request, response, read, Lane)

    on_head = on_get


def position_behind(lanes: list[Lane], limit: int, cut: Position) -> Position:
    """What the next page begins behind; nowhere where there is none. `cut` is where the search ended before
    it had all: it may have met with lanes whose prices are all withdrawn."""
    if len(lanes) > limit:
        return Position(lanes[limit - 1].orig_code, lanes[limit - 1].dest_code)
    return cut


def text_of(position: Position) -> str:
    """As `read_position` reads it; nothing forbids a slash within a code."""
    return "/".join((code or "").replace("%", "%25").replace("/", "%2F") for code in position)


def read_position(name: str, text: str) -> Position:
    match = POSITION.fullmatch(text)
    if match is None:
        reason = f"{name} is {shown(text)}; expected the two codes of a lane, as CNSGH/DEHAM."
        raise BadParameter(reason, code=f"invalid_{name}")
    return Position(*(code.replace("%2F", "/").replace("%25", "%") for code in match.groups()))


PARAMETERS = by_name(
    code_parameter("orig_code", "Where from: a port's code or a region's slug."),
    code_parameter("dest_code", "Where to, if not anywhere: a port or a region.", required=False),
    LIMIT,
    Parameter(
        "after",
        "The last lane of the page before; `next` has it.",
        {"type": "string", "pattern": f"^{POSITION.pattern}$", "examples": ["CNSGH/DEHAM"]},
        read_position,
        default=Position(None, None),
        codes=("invalid_after",),
    ),
)
