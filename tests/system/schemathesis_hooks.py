"""What JSON Schema cannot say of a sound request; `schemathesis.toml` names it."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext, Response, SerializationContext

# Any two of them, and of the document's examples, are a range of 366 days at most.
DAYS = st.dates(date(2021, 1, 1), date(2021, 12, 31)).map(date.isoformat)
# A deadline has not passed.
TIMES = st.datetimes(datetime(2100, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
# Somebody's on the internet.
ADDRESSES = st.from_regex(
    r"https://[a-z]{1,20}\.example(/[a-z0-9]{0,20}){0,3}(\?[a-z]{1,5}=[a-z]{0,5})?", fullmatch=True
)

# Parameters that mean a place, and those of them that mean a region.
LANE = ("orig_code", "dest_code")
MEANT: Mapping[str, tuple[str, ...]] = {
    "/rates": LANE,
    "/lanes": LANE,
    "/ports": ("region",),
    "/regions": ("parent",),
}
SLUGS = ("region", "parent")
# Requests that were answered, of which the number goes into the file named here.
SENT_FILE = "RATES_FUZZ_SENT_FILE"
sent = count()
KEY, NO_UTF8 = "Idempotency-Key", "\xff"
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
    a hundred years more. A key that is not ASCII is not UTF-8 either, which would be taken. What is to be
    answered asks for places that there are, where others are refused, and for no reversed range."""
    if case.headers and "wait=" in case.headers.get("Prefer", ""):
        case.headers["Prefer"] = "wait=1"
    if case.headers and not case.headers.get(KEY, "").isascii():
        case.headers[KEY] += NO_UTF8
    if not case.query:
        return
    if isinstance(deadline := case.query.get("deadline"), str):
        case.query["deadline"] = PAST.sub("21", deadline)
    if case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE:
        ask_for_what_there_is(case, case.query)


def ask_for_what_there_is(case: Case, query: dict[str, Any]) -> None:
    path = case.operation.path
    if path == "/rates" and query.get("strict") not in (True, "true"):
        return
    for name in MEANT.get(path, ()):
        if isinstance(code := query.get(name), str) and code:
            listed = places(case.operation.base_url or "")[name in SLUGS]
            query[name] = code if code in listed else listed[crc32(code.encode()) % len(listed)]
    if path == "/rates":
        days = sorted(str(query[name]) for name in ("date_from", "date_to"))
        query["date_from"], query["date_to"] = days


@cache
def places(address: str) -> tuple[list[str], list[str]]:
    """Codes and slugs, and slugs alone, as the API lists them."""
    slugs = [each["slug"] for each in requests.get(f"{address}/regions", timeout=10).json()["regions"]]
    ports = [each["code"] for each in requests.get(f"{address}/ports", timeout=10).json()["ports"]]
    return [*ports, *slugs], slugs


@schemathesis.hook
def after_call(_context: HookContext, _case: Case, _response: Response) -> None:
    next(sent)


@atexit.register
def tell_sent() -> None:
    Path(os.environ[SENT_FILE]).write_text(str(next(sent)))
