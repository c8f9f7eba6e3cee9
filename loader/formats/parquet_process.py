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
    return [
        day_as_text(name) if schema[name] == pl.Date else pl.col(name).cast(pl.String) for name in COLUMNS
    ]


def is_text(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.String | pl.Categorical | pl.Enum)


TYPES = {
    "orig_code": (is_text, "String"),
    "dest_code": (is_text, "String"),
    "day": (lambda kind: kind == pl.Date or is_text(kind), "Date or String"),
    "price": (lambda kind: kind.is_integer() or is_text(kind), "an integer or String"),
}


def day_as_text(name: str) -> pl.Expr:
    day, number = pl.col(name), pl.col(name).to_physical()
    usual = day.is_between(DAY_SPELLED_MIN, DAY_SPELLED_MAX)
    unusual = pl.concat_str(pl.lit("day "), number.cast(pl.String), pl.lit(" from 1970-01-01"))
    return pl.when(usual).then(pl.when(usual).then(day).cast(pl.String)).otherwise(unusual).alias(name)


def parts_of(text: pl.LazyFrame, row_count: int, rows_max: int, stored_size: int) -> Iterator[pl.DataFrame]:
    """All rows, `rows_max` at a time, and fewer where they would have more than CHUNK_BYTES_MAX; up to where
    they have far more bytes than what they are stored in."""
    bytes_left = expanded_bytes_max(stored_size, EXPANSION_MAX) - row_count * ROW_BYTES_MIN
    refuse_expansion(bytes_left, stored_size)
    for begin in range(0, row_count, rows_max):
        rows = text.slice(begin, rows_max).collect()
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
