"""Answers as CSV, to whoever prefers that to JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import falcon
import msgspec
from falcon import mediatypes
from falcon.errors import InvalidMediaType

CSV = "text/csv"
CONTENT_TYPE = f"{CSV}; charset=utf-8"
# What nearly all requests say, if anything: nothing has to be weighed.
JSON_AS_EVER = frozenset([None, "*/*", falcon.MEDIA_JSON])


def is_preferred(request: falcon.Request) -> bool:
    """Whether the client gives CSV a higher quality than JSON (RFC 9110, 12.5.1). A header that is none says
    nothing."""
    accepted = request.env.get("HTTP_ACCEPT")
    return accepted not in JSON_AS_EVER and prefers_csv(accepted)


@lru_cache(maxsize=64)  # browsers' are long, and always the same
def prefers_csv(accepted: str) -> bool:
    try:
        wanted = mediatypes.quality(CSV, accepted.lower())
        return wanted > 0 and wanted > mediatypes.quality(falcon.MEDIA_JSON, accepted.lower())
    except InvalidMediaType:
        return False


def table_of(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> bytes:
    """A line each, below the names of their fields; what is a list has blanks between its elements."""
    lines = ([plain(value) for value in msgspec.structs.astuple(row)] for row in rows)
    return spelled([kind.__struct_fields__, *lines])


def plain(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def spelled(rows: Iterable[Iterable[Any]]) -> bytes:
    """Lines as RFC 4180 has them; what is None is an empty field."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
