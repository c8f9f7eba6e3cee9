"""What JSON Schema cannot say of a sound request; `schemathesis.toml` names it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext, SerializationContext

# Any two of them, and of the document's examples, are a range of 366 days at most.
DAYS = st.dates(date(2021, 1, 1), date(2021, 12, 31)).map(date.isoformat)
# A deadline has not passed.
TIMES = st.datetimes(datetime(2100, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Somebody's on the internet.
ADDRESSES = st.from_regex(
    r"https://[a-z]{1,20}\.example(/[a-z0-9]{0,20}){0,3}(\?[a-z]{1,5}=[a-z]{0,5})?", fullmatch=True
)

PAST = re.compile(r"^20(?=\d\d-)")

schemathesis.openapi.format("date", DAYS)
schemathesis.openapi.format("date-time", TIMES.map(datetime.isoformat))
schemathesis.openapi.format("uri", ADDRESSES)


# What it knows no way to write: as bytes, of whatever it makes up.
@schemathesis.serializer("application/x-ndjson", "application/vnd.apache.parquet")
def write_bytes(_context: SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(_context: HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Waits for a batch for a moment only, and for a deadline that was taken from some answer's times,
    a hundred years more."""
    if case.headers and "wait=" in case.headers.get("Prefer", ""):
        case.headers["Prefer"] = "wait=1"
    if case.query and isinstance(deadline := case.query.get("deadline"), str):
        case.query["deadline"] = PAST.sub("21", deadline)
