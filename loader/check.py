"""The second stage: judges a chunk's values as columns, and types them.

A chunk with a fault anywhere is read again row by row, only to say which line, which column, what was found
and what was expected. The slow way is the rule; whatever the fast one lets through, it would too
(`test_the_fast_reader_accepts_only_what_the_rules_accept`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from loader.chunks import COLUMNS, Chunk, Fault, FaultChunk, ReadRow
from loader.errors import RowError
from loader.rejects import BadRows

# Far outside of any quote, near enough to catch a slip of the year.
DAY_MIN = date(1970, 1, 1)
DAY_MAX = date(2099, 12, 31)
PRICE_MAX = 2**31 - 1  # what the column holds, in USD

DAY_REASON = f"expected a day as YYYY-MM-DD from {DAY_MIN} to {DAY_MAX}"
PRICE_REASON = f"expected a whole number of USD from 1 to {PRICE_MAX}, in plain digits"
PORT_REASON = "no such port"
MISSING_REASON = "missing: a value is expected"
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PRICE = re.compile(r"[1-9][0-9]{0,9}")
# Every day as it must be spelled: looking one up judges spelling and range at once, and gives its number.
DAYS = pl.Enum(pl.date_range(DAY_MIN, DAY_MAX, eager=True).cast(pl.String))
# They are numbered as Date numbers them, from 1970 on. Made once: to hand 47,482 days to Polars takes
# milliseconds.
DAY_AS_DATE = pl.col("day").cast(DAYS, strict=False).to_physical().cast(pl.Int32).cast(pl.Date)
# Only these many errors of a chunk are kept in full; all are counted.
ERRORS_KEPT = 1_000
VALUE_CHARS_MAX = 200

Row = tuple[str, str, date, int]  # orig_code, dest_code, day, price


@dataclass(frozen=True)
class CheckedChunk:
    """What became of a chunk: its rows, or, where `error_count` is above zero, why they may not go in.

    prices: orig_code, dest_code (Enum of known ports), day (Date), price (Int32), in the file's order; empty
    where there is an error. A row may have several: `bad_row_count` counts it once, and what is wrong with a
    file as a whole not at all.
    """

    prices: pl.DataFrame
    row_count: int
    errors: list[RowError]
    error_count: int
    bad_row_count: int = 0
    bad_rows_csv: bytes = b""  # as lines of `rejects`, where those were asked for
    seconds: float = 0.0  # that it took to find out


class Ports:
    """The codes a batch may name, fixed when its load begins."""

    def __init__(self, codes: set[str]) -> None:
        self.codes = frozenset(codes)
        # Sorted, so that the order of the totals is the order of their index.
        self.dtype = pl.Enum(sorted(codes))


def check(chunk: Chunk, ports: Ports, *, keep_bad_rows: bool = False) -> CheckedChunk:
    """Never raises for what is in the chunk."""
    began = time.monotonic()
    text = chunk.columns()
    prices = None if text is None else read_columns(text, ports)
    if prices is None:
        checked = read_rows(chunk, ports, BadRows() if keep_bad_rows else None)
    else:
        checked = CheckedChunk(prices, prices.height, [], 0)
    return replace(checked, seconds=time.monotonic() - began)


def read_columns(text: pl.DataFrame, ports: Ports) -> pl.DataFrame | None:
    """Columns of strings as typed ones, or None where a value of theirs breaks a rule."""
    price = pl.col("price").cast(pl.Int32, strict=False)
    rows = text.select(
        pl.col("orig_code").cast(ports.dtype, strict=False),
        pl.col("dest_code").cast(ports.dtype, strict=False),
        DAY_AS_DATE,
        price,
        # Only the plain spelling of a number is one: no sign, no space, no leading zero.
        plain=price.cast(pl.String) == pl.col("price"),
    )
    good = rows.select(
        *(pl.col(name).is_not_null().all() for name in COLUMNS[:3]),
        price=(pl.col("price") >= 1).fill_null(value=False).all(),
        plain=pl.col("plain").fill_null(value=False).all(),
    )
    return rows.select(COLUMNS) if all(good.row(0)) else None


def read_rows(chunk: Chunk, ports: Ports, bad_rows: BadRows | None = None) -> CheckedChunk:
    """The slow way: one row after the other, by the rules; the bad ones go to `bad_rows` too."""
    rows: list[Row] = []
    errors: list[RowError] = []
    error_count = row_count = bad_row_count = 0
    for read in chunk.rows():
        row, faults = judge(read, ports)
        if row is not None:
            row_count += 1
            if not error_count:  # from the first fault on, no row will go in
                rows.append(row)
            continue
        error_count += len(faults)
        bad_row_count += not isinstance(chunk, FaultChunk)
        if bad_rows is not None:
            bad_rows.add(chunk.file, read, faults)
        if len(errors) < ERRORS_KEPT:
            errors += errors_of(chunk.file, read.line, faults)
    schema = {"orig_code": ports.dtype, "dest_code": ports.dtype, "day": pl.Date, "price": pl.Int32}
    prices = pl.DataFrame([] if error_count else rows, schema=schema, orient="row")
    text = bad_rows.encoded() if bad_rows is not None else b""
    return CheckedChunk(prices, row_count, errors[:ERRORS_KEPT], error_count, bad_row_count, text)


def errors_of(file: str, line: int, faults: list[Fault]) -> Iterator[RowError]:
    for column, value, reason in faults:
        yield RowError(file, line, column, value and value[:VALUE_CHARS_MAX], reason)


def judge(read: ReadRow, ports: Ports) -> tuple[Row | None, list[Fault]]:
    """The row that a line holds, or every fault it has."""
    if read.fault is not None:
        return None, [read.fault]
    fields = {name: read.fields[name] for name in COLUMNS}
    faults: list[Fault] = [(name, None, MISSING_REASON) for name in COLUMNS if fields[name] is None]
    orig_code, dest_code, day_text, price_text = (fields[name] or "" for name in COLUMNS)
    found = {"orig_code": orig_code in ports.codes, "dest_code": dest_code in ports.codes}
    faults += [
        (name, fields[name], PORT_REASON) for name in found if not found[name] and fields[name] is not None
    ]
    day, price = parse_day(day_text), parse_price(price_text)
    if day is None and fields["day"] is not None:
        faults.append(("day", day_text, DAY_REASON))
    if price is None and fields["price"] is not None:
        faults.append(("price", price_text, PRICE_REASON))
    if faults or day is None or price is None:
        return None, faults
    return (orig_code, dest_code, day, price), []


def parse_day(text: str) -> date | None:
    if not DAY.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if DAY_MIN <= day <= DAY_MAX else None


def parse_price(text: str) -> int | None:
    if not PRICE.fullmatch(text) or int(text) > PRICE_MAX:
        return None
    return int(text)
