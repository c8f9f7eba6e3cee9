"""Query parameters: each is known, and given once."""

from __future__ import annotations

from collections.abc import Sequence

import falcon

from api.errors import BadParameter

# What Falcon makes of bytes that are not UTF-8.
NOT_UTF8 = "\ufffd"


def given_parameters(request: falcon.Request, allowed: Sequence[str]) -> dict[str, str]:
    """Raises BadParameter for the first one that is unknown or repeated."""
    given: dict[str, str] = {}
    for name, value in request.params.items():
        if name not in allowed:
            listed = f"allowed are {', '.join(allowed)}" if allowed else "none is allowed"
            reason = f"There is no parameter {name!r}; {listed}."
            raise BadParameter(reason, code="unknown_parameter")
        if isinstance(value, list):
            reason = f"{name} is given {len(value)} times; give it once."
            raise BadParameter(reason, code="repeated_parameter")
        given[name] = value
    return given


def read_number(name: str, text: str | None, default: int, most: int) -> int:
    """From 1 to `most`. Raises BadParameter."""
    if text is None:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= 20 and 1 <= int(text) <= most:
        return int(text)
    reason = f"{name} is {text[:100]!r}; expected a number from 1 to {most:,}."
    raise BadParameter(reason, code=f"invalid_{name}")
