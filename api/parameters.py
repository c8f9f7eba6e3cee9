"""Query parameters: each is known, given once, and read by what also describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import falcon

from api.errors import BadParameter

# What Falcon makes of bytes that are not UTF-8.
NOT_UTF8 = "\ufffd"
# Of what was found, so much is shown.
SHOWN_CHARS = 100
BOOLEANS = {"true": True, "false": False}
# What Falcon would take for text: a % without its two digits.
MALFORMED = re.compile(r"%(?![0-9A-Fa-f]{2})[^&]{0,2}")
# What JSON Schema can say of `str.isprintable`: no control characters, and no spaces but the plain one.
PRINTABLE = (
    r"[^\x00-\x1f\x7f-\xa0\xad\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    r"\ue000-\uf8ff\ufeff\ufff0-\uffff]"
)
# Likewise, of any space too.
PRINTABLE_OR_SPACE = (
    r"[^\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\ue000-\uf8ff\ufeff\ufff0-\uffff]"
)


@dataclass(frozen=True)
class Parameter:
    """`read` makes a value of the parameter's name and text, or raises BadParameter with one of `codes`;
    `schema` says in JSON Schema what it takes; `default` is the value where it is not given and is not
    `required`."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str, str], Any]
    required: bool = False
    default: Any = None
    codes: tuple[str, ...] = ()


NONE: Mapping[str, Parameter] = MappingProxyType({})


def by_name(*parameters: Parameter) -> Mapping[str, Parameter]:
    return {each.name: each for each in parameters}


def read_parameters(request: falcon.Request, parameters: Mapping[str, Parameter] = NONE) -> dict[str, Any]:
    """The value of each. Raises BadParameter where the query is malformed, for the first parameter that is
    unknown or repeated, then for the first that is malformed, or missing, with all others that are."""
    if "%" in request.query_string:
        refuse_malformed(request.query_string)
    given = cast("dict[str, str]", request.params)  # none is a list from here on
    for name, value in given.items():
        if name not in parameters:
            listed = f"allowed are {', '.join(parameters)}" if parameters else "none is allowed"
            reason = f"There is no parameter {shown(name)}; {listed}."
            raise BadParameter(reason, code="unknown_parameter")
        if isinstance(value, list):
            reason = f"{name} is given {len(value)} times; give it once."
            raise BadParameter(reason, code="repeated_parameter")
    values = {}
    for name, each in parameters.items():
        if text := given.get(name):
            values[name] = each.read(name, text)
        elif not each.required:
            values[name] = each.default if text is None else each.read(name, "")
        else:
            missing = [name for name, each in parameters.items() if each.required and not given.get(name)]
            raise BadParameter(f"Missing or empty: {', '.join(missing)}.", code="missing_parameter")
    return values


def refuse_malformed(query: str) -> None:
    """Raises BadParameter for what is no percent encoding."""
    match = MALFORMED.search(query)
    if match is None:
        return
    name, _, _ = query[query.rfind("&", 0, match.start()) + 1 :].partition("=")
    expected = "a % followed by two hexadecimal digits, as %25 for itself"
    reason = f"{name[:SHOWN_CHARS]} has {match[0]!r} in it; expected {expected}."
    raise BadParameter(reason, code="malformed_query")


def shown(text: str) -> str:
    """What was found, quoted and not longer than a message may be."""
    if len(text) <= SHOWN_CHARS:
        return repr(text)
    return f"{text[:SHOWN_CHARS]!r} and {len(text) - SHOWN_CHARS:,} more characters"


def printable(chars_max: int, chars_min: int = 1) -> dict[str, Any]:
    """The schema of a text of so many characters."""
    pattern = f"^{PRINTABLE}{{{chars_min},}}$"
    return {"type": "string", "minLength": chars_min, "maxLength": chars_max, "pattern": pattern}


def boolean_parameter(name: str, description: str, *, default: bool | None = None) -> Parameter:
    schema: dict[str, Any] = {"type": "boolean"}
    if default is not None:
        schema["default"] = default
    return Parameter(name, description, schema, read_boolean, default=default, codes=(f"invalid_{name}",))


def read_boolean(name: str, text: str) -> bool:
    if text not in BOOLEANS:
        raise BadParameter(f"{name} is {shown(text)}; expected true or false.", code=f"invalid_{name}")
    return BOOLEANS[text]


def number_parameter(name: str, description: str, most: int, default: int | None = None) -> Parameter:
    """A whole number from 1 to `most`."""
    schema: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": most}
    if default is not None:
        schema["default"] = default
    read = partial(read_number, most=most)
    return Parameter(name, description, schema, read, default=default, codes=(f"invalid_{name}",))


def read_number(name: str, text: str, *, most: int) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 20 and 1 <= int(text) <= most:
        return int(text)
    reason = f"{name} is {shown(text)}; expected a number from 1 to {most:,}."
    raise BadParameter(reason, code=f"invalid_{name}")
