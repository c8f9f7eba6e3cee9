"""The second stage: parses, validates and totals a chunk as columns.

A chunk with a fault anywhere is read again row by row, only to say which line, which column, what was found
and what was expected. The slow reader is the rule; whatever the fast one lets through, it would too
(`test_the_fast_reader_accepts_only_what_the_rules_accept`).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date
from io import BytesIO

import polars as pl

from loader.chunks import BYTE_ORDER_MARK, COLUMNS, Chunk
from loader.errors import RowError

# Far outside of any quote, near enough to catch a slip of the year.
DAY_MIN = date(1970, 1, 1)
DAY_MAX = date(2099, 12, 31)
PRICE_MAX = 2**31 - 1  # what the column holds, in USD

DAY_REASON = f"expected a day as YYYY-MM-DD from {DAY_MIN} to {DAY_MAX}"
PRICE_REASON = f"expected a whole number of USD from 1 to {PRICE_MAX}, in plain digits"
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
QUOTED = r'^"([^"]*)"$'  # as all but all quoted values are; the slow reader knows the rest
PRICE = re.compile(r"[1-9][0-9]{0,9}")
# Only these many errors of a chunk are kept in full; all are counted.
ERRORS_KEPT = 1_000
VALUE_CHARS_MAX = 200

Row = tuple[str, str, date, int]  # orig_code, dest_code, day, price
Fault = tuple[str | None, str | None, str]  # column, value, reason


@dataclass(frozen=True)
class CheckedChunk:
    """What became of a chunk: its rows and totals, or, where `error_count` is above zero, why not.

    prices: orig_code, dest_code (Enum of known ports), day (Date), price (Int32), in the file's order.
    totals: orig_code, dest_code, day, price_sum (Int64), price_count (UInt32), sorted by the first three.
    """

    prices: pl.DataFrame
    totals: pl.DataFrame
    errors: list[RowError]
    error_count: int

    @property
    def row_count(self) -> int:
        return self.prices.height


class Ports:
    """The codes a batch may name, fixed when its load begins."""

    def __init__(self, codes: set[str]) -> None:
        self.codes = frozenset(codes)
        # Sorted, so that the order of the totals is the order of their index.
        self.dtype = pl.Enum(sorted(codes))


def check(chunk: Chunk, ports: Ports) -> CheckedChunk:
    """Never raises for what is in the chunk."""
    if chunk.fault is not None:
        return checked_rows([], [chunk.fault], 1, ports)
    prices = read_columns(chunk, ports)
    if prices is not None:
        return CheckedChunk(prices, totals_of(prices), [], 0)
    return read_rows(chunk, ports)


def read_columns(chunk: Chunk, ports: Ports) -> pl.DataFrame | None:
    """The chunk's rows, or None if there is anything about it to explain."""
    layout, data = chunk.layout, chunk.data
    if data.startswith(BYTE_ORDER_MARK) or data.count(b"\r") != data.count(b"\r\n"):
        return None  # Polars would drop a mark in front, and a carriage return where a field ends
    if not data.endswith(b"\n"):
        data += b"\n"  # without it, Polars would take one field too many, if that is empty
    try:
        text = pl.read_csv(
            BytesIO(data),
            has_header=False,
            separator=layout.separator,
            quote_char=None,  # with quotes, Polars takes `"1""` for 1, and `"1"0"` too
            schema=dict.fromkeys(layout.columns, pl.String),
            encoding="utf8",
        )
    except pl.exceptions.PolarsError:
        return None
    if text.height != data.count(b"\n"):  # a blank line
        return None
    if layout.quoted and b'"' in data:
        text = text.select(pl.all().str.replace(QUOTED, "$1"))
        if text.select(pl.any_horizontal(pl.all().str.starts_with('"').any())).item():
            return None
    day, price = pl.col("day"), pl.col("price")
    rows = text.select(
        pl.col("orig_code").cast(ports.dtype, strict=False),
        pl.col("dest_code").cast(ports.dtype, strict=False),
        day.str.to_date("%Y-%m-%d", strict=False),
        price.cast(pl.Int32, strict=False),
        # Only the plain spelling of a value is one: no sign, no space, no leading zero.
        plain=(day.str.to_date("%Y-%m-%d", strict=False).cast(pl.String) == day)
        & (price.cast(pl.Int32, strict=False).cast(pl.String) == price),
    )
    good = rows.select(
        pl.col("orig_code").is_not_null().all()
        & pl.col("dest_code").is_not_null().all()
        & pl.col("day").is_between(DAY_MIN, DAY_MAX).fill_null(value=False).all()
        & (pl.col("price") >= 1).fill_null(value=False).all()
        & pl.col("plain").fill_null(value=False).all()
    ).item()
    return rows.select(COLUMNS) if good else None


def totals_of(prices: pl.DataFrame) -> pl.DataFrame:
    """Sum and count a lane and day, in the order of the totals' index."""
    key = ["orig_code", "dest_code", "day"]
    sums = pl.col("price").cast(pl.Int64).sum().alias("price_sum")
    return prices.group_by(key).agg(sums, pl.len().alias("price_count")).sort(key)


def read_rows(chunk: Chunk, ports: Ports) -> CheckedChunk:
    """The slow reader: one row after the other, by the rules."""
    rows: list[Row] = []
    errors: list[RowError] = []
    error_count = 0
    for line_no, line in enumerate(split_lines(chunk.data), chunk.first_line):
        row, faults = read_row(line, chunk, ports)
        if row is not None:
            rows.append(row)
            continue
        error_count += len(faults)
        if len(errors) < ERRORS_KEPT:
            errors += [
                RowError(chunk.file, line_no, column, value and value[:VALUE_CHARS_MAX], reason)
                for column, value, reason in faults
            ]
    return checked_rows(rows, errors[:ERRORS_KEPT], error_count, ports)


def checked_rows(rows: list[Row], errors: list[RowError], error_count: int, ports: Ports) -> CheckedChunk:
    schema = {"orig_code": ports.dtype, "dest_code": ports.dtype, "day": pl.Date, "price": pl.Int32}
    prices = pl.DataFrame(rows, schema=schema, orient="row")
    return CheckedChunk(prices, totals_of(prices), errors, error_count)


def read_row(line: bytes, chunk: Chunk, ports: Ports) -> tuple[Row | None, list[Fault]]:
    """The row that a line holds, or every fault it has as (column, value, reason)."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        return None, [(None, None, f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1} of the line")]
    if "\0" in text:
        return None, [(None, None, f"a NUL byte at position {text.index(chr(0)) + 1} of the line")]
    fields, fault = split_fields(text, chunk)
    if fault is not None:
        return None, [fault]
    named = dict(zip(chunk.layout.columns, fields, strict=True))
    faults: list[Fault] = [
        (column, named[column], "no such port") for column in COLUMNS[:2] if named[column] not in ports.codes
    ]
    day = parse_day(named["day"])
    if day is None:
        faults.append(("day", named["day"], DAY_REASON))
    price = parse_price(named["price"])
    if price is None:
        faults.append(("price", named["price"], PRICE_REASON))
    if faults or day is None or price is None:
        return None, faults
    return (named["orig_code"], named["dest_code"], day, price), []


def split_fields(text: str, chunk: Chunk) -> tuple[list[str], Fault | None]:
    """A line's fields, as many as the layout has columns, or what is wrong with it."""
    columns = chunk.layout.columns
    if not chunk.layout.quoted:
        fields = text.split(chunk.layout.separator)
    else:
        try:
            fields = next(csv.reader([text], delimiter=chunk.layout.separator, strict=True), [])
        except csv.Error:
            reason = "a quote is not closed on its line, or stands inside a field"
            return [], (None, None, "a carriage return inside the line" if "\r" in text else reason)
    if text == "":
        return [], (None, None, f"the line is blank; expected {','.join(columns)}")
    if len(fields) < len(columns):
        missing = columns[len(fields)]
        return [], (missing, None, f"missing: the line has {len(fields)} of {len(columns)} columns")
    if len(fields) > len(columns):
        extra = fields[len(columns)]
        return [], (None, extra, f"{len(fields)} columns, expected {len(columns)}: {','.join(columns)}")
    return fields, None


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends, LF or CRLF."""
    return [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")]


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
