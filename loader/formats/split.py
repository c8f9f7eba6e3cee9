"""A chunk's lines sorted out as columns: rows with their four values, and lines that are no row.

Every format has `split` for where `columns` gives up. What it cannot tell as columns it reads line by line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from loader.chunks import COLUMNS, ReadRow

ROWS: dict[str, type[pl.DataType]] = {"line": pl.Int64, **dict.fromkeys(COLUMNS, pl.String)}
FAULTS: dict[str, type[pl.DataType]] = {
    "line": pl.Int64, "column": pl.String, "value": pl.String, "reason": pl.String, "text": pl.String,
}  # fmt: skip
NO_FAULTS = pl.DataFrame(schema=FAULTS)


@dataclass(frozen=True)
class SplitLines:
    """Every line of a chunk once, in one of two frames, each in the order of the lines.

    rows: line, and COLUMNS as spelled, null where a value is missing. faults: line, column, value, reason,
    and the line as it stood, as in `ReadRow`.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


def split_slowly(reads: Iterable[ReadRow]) -> SplitLines:
    """Of lines that were read one by one."""
    rows, faults = [], []
    for read in reads:
        if read.fault is None:
            rows.append((read.line, *(read.fields[name] for name in COLUMNS)))
        else:
            faults.append((read.line, *read.fault, read.text))
    return SplitLines(
        pl.DataFrame(rows, schema=ROWS, orient="row"), pl.DataFrame(faults, schema=FAULTS, orient="row")
    )


def in_order(rows: Iterable[pl.DataFrame], faults: Iterable[pl.DataFrame]) -> SplitLines:
    """Of parts with some of the lines each."""
    return SplitLines(
        pl.concat([part.select(*ROWS) for part in rows]).sort("line"),
        pl.concat([part.select(*FAULTS) for part in faults]).sort("line"),
    )


def numbered(frame: pl.DataFrame, first_line: int) -> pl.DataFrame:
    """With the column `line` in front, from `first_line` on."""
    lines = pl.int_range(first_line, first_line + frame.height, dtype=pl.Int64, eager=True)
    return frame.select(lines.alias("line"), pl.all())
