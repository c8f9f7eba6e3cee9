"""Reads the Parquet file that is its standard input, as a process of its own; started by `parquet`.

`python -m loader.formats.parquet_process ROWS_MAX STORED_SIZE` writes messages: rows as Arrow IPC, a fault,
the end.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from io import BytesIO

import polars as pl

from loader.chunks import CHUNK_BYTES_MAX, COLUMNS
from loader.formats.compression import expanded_bytes_max, too_expansive
from loader.formats.delimited import header_faults
from loader.formats.lines import LINE_BYTES_MAX
from loader.formats.parquet import END, FAULT, MEMORY_MAX, MESSAGE, ROWS, TOO_MUCH

REASON_CHARS_MAX = 200
# What a row of CSV has besides its values. Rows of nothing count too.
ROW_BYTES_MIN = len(COLUMNS)
# How many times as much CSV it may be. Sorted columns make 400, where a price stays the same for years.
EXPANSION_MAX = 2_000
# Zones whose midnight is where a day begins; None is a time without a zone.
UTC = {None, "UTC", "Etc/UTC", "GMT", "+00:00"}
NS_A_DAY = 24 * 3600 * 10**9
NS_OF = {"ms": 10**6, "us": 10**3, "ns": 1}
# Polars cannot spell days however far away.
DAY_SPELLED_MIN, DAY_SPELLED_MAX = date(1, 1, 1), date(9999, 12, 31)


class Fault(Exception):
    """The file cannot be read, or not any further; the message says why."""


def main() -> None:
    row_count, rows_max, stored_size = 0, int(sys.argv[1]), int(sys.argv[2])
    with suppress(ValueError, OSError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    try:
        with open(0, "rb", closefd=False) as file:
            scan = pl.scan_parquet(file)
            text = scan.select(columns_as_text(scan.collect_schema()))
            row_count = scan.select(pl.len()).collect().item()
            for rows in parts_of(text, row_count, rows_max, stored_size):
                content = BytesIO()
                rows.write_ipc(content)
                send(ROWS, row_count, content.getvalue())
        send(END, row_count, b"")
    except MemoryError:
        send(FAULT, row_count, f"the Parquet file is {TOO_MUCH}".encode())
    except Fault as fault:
        send(FAULT, row_count, str(fault).encode())
    except pl.exceptions.PanicException:
        # Its text may number tasks, which are others each time; the same file is to have the same fault.
        send(FAULT, row_count, b"the Parquet file cannot be read: it is damaged")
    except (pl.exceptions.PolarsError, OSError) as error:
        what = " ".join(str(error).split())[:REASON_CHARS_MAX]
        send(FAULT, row_count, f"the Parquet file cannot be read: {what}".encode())


def send(kind: bytes, row_count: int, content: bytes) -> None:
    sys.stdout.buffer.write(MESSAGE.pack(kind, row_count, len(content)))
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def columns_as_text(schema: pl.Schema) -> list[pl.Expr]:
    """The four, spelled as the rules want them. Raises Fault naming every column that is not one of them, or
    of a type that cannot be spelled."""
    faults = header_faults(tuple(schema.names()), beside=())
    faults += [
        f"has {name} as {schema[name]}, expected {allowed}"
        for name, (kinds, allowed) in TYPES.items()
        if name in schema and not kinds(schema[name])
    ]
    if faults:
        raise Fault(f"the schema {', '.join(faults)}; expected {','.join(COLUMNS)} in any order")
    return [as_text(name, schema[name]) for name in COLUMNS]


def is_text(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.String | pl.Binary | pl.Categorical | pl.Enum)


def is_day(kind: pl.DataType) -> bool:
    return kind == pl.Date or (isinstance(kind, pl.Datetime) and kind.time_zone in UTC)


def is_whole(kind: pl.DataType) -> bool:
    return kind.is_integer() or (isinstance(kind, pl.Decimal) and kind.scale == 0)


TYPES = {
    "orig_code": (is_text, "String"),
    "dest_code": (is_text, "String"),
    "day": (lambda kind: is_day(kind) or is_text(kind), "Date, Datetime (UTC or without a zone) or String"),
    "price": (
        lambda kind: is_whole(kind) or is_text(kind),
        "an integer, Decimal without a fraction or String",
    ),
}


def as_text(name: str, kind: pl.DataType) -> pl.Expr:
    """As the rules want it, where nothing is lost by that; else as what it is, which they refuse by row.

    Binary stays what it is until `decoded`, since one value that is not UTF-8 would spoil the whole read.
    """
    column = pl.col(name)
    if kind == pl.Date:
        return day_as_text(column, pl.lit("day ") + column.to_physical().cast(pl.String)).alias(name)
    if isinstance(kind, pl.Datetime):
        return time_as_text(column, kind.time_unit).alias(name)
    return column if kind == pl.Binary else column.cast(pl.String)


def day_as_text(day: pl.Expr, unusual: pl.Expr) -> pl.Expr:
    usual = day.is_between(DAY_SPELLED_MIN, DAY_SPELLED_MAX)
    spelled = pl.when(usual).then(day).cast(pl.String)
    return pl.when(usual).then(spelled).otherwise(unusual + " from 1970-01-01")


def time_as_text(time: pl.Expr, unit: str) -> pl.Expr:
    """A midnight as its day, any other time with its hours."""
    number, units_a_day = time.to_physical(), NS_A_DAY // NS_OF[unit]
    day = (number // units_a_day).cast(pl.Int32, strict=False).cast(pl.Date)
    shown = day_as_text(day, number.cast(pl.String) + f" {unit}")
    since_midnight = number % units_a_day
    hours = (since_midnight * NS_OF[unit]).cast(pl.Time).cast(pl.String)
    return pl.when(since_midnight == 0).then(shown).otherwise(shown + " " + hours)


def decoded(column: pl.Series) -> pl.Series:
    if column.dtype != pl.Binary:
        return column
    try:
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        texts = [None if raw is None else utf_8(raw) for raw in column]
        return pl.Series(column.name, texts, pl.String)


def utf_8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"not UTF-8: 0x{raw.hex()}"


def parts_of(text: pl.LazyFrame, row_count: int, rows_max: int, stored_size: int) -> Iterator[pl.DataFrame]:
    """All rows, `rows_max` at a time, and fewer where they would have more than CHUNK_BYTES_MAX; up to where
    they have far more bytes than what they are stored in."""
    bytes_left = expanded_bytes_max(stored_size, EXPANSION_MAX) - row_count * ROW_BYTES_MIN
    refuse_expansion(bytes_left, stored_size)
    for begin in range(0, row_count, rows_max):
        rows = pl.DataFrame([decoded(column) for column in text.slice(begin, rows_max).collect()])
        sizes = rows.select(pl.sum_horizontal(pl.all().str.len_bytes().cast(pl.Int64))).to_series()
        bytes_left -= int(sizes.sum())
        refuse_expansion(bytes_left, stored_size)
        if rows.height != min(rows_max, row_count - begin):
            raise Fault("the Parquet file is damaged: it has fewer rows than it says")
        yield from parts_by_bytes(rows, sizes)


def refuse_expansion(bytes_left: int, stored_size: int) -> None:
    if bytes_left < 0:
        raise Fault(too_expansive("Parquet file", stored_size, EXPANSION_MAX))


def parts_by_bytes(rows: pl.DataFrame, sizes: pl.Series) -> Iterator[pl.DataFrame]:
    while rows.height:
        count = int((sizes.cum_sum() <= CHUNK_BYTES_MAX).sum())
        too_long = (sizes.head(count) > LINE_BYTES_MAX).arg_true()
        good = int(too_long[0]) if too_long.len() else count
        if good:
            yield rows.head(good)
        if too_long.len() or not good:
            raise Fault(f"the row is longer than {LINE_BYTES_MAX:,} bytes")
        rows, sizes = rows.slice(good), sizes.slice(good)


if __name__ == "__main__":
    main()
