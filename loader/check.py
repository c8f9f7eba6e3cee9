"""The second stage: judges a chunk's values as columns, and types them; `faults` says what is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from loader.chunks import COLUMNS, Chunk, FaultChunk
from loader.errors import RowError
from loader.faults import DAY_MAX, DAY_MIN, Faults
from loader.formats.split import NO_FAULTS, SplitLines, numbered
from loader.kinds import Kinds
from loader.near_codes import NearCodes

# Every day as it must be spelled: looking one up judges spelling and range at once, and gives its number.
DAYS = pl.Enum(pl.date_range(DAY_MIN, DAY_MAX, eager=True).cast(pl.String))
# They are numbered as Date numbers them, from 1970 on. Made once: to hand 47,482 days to Polars takes
# milliseconds.
DAY_AS_DATE = pl.col("day").cast(DAYS, strict=False).to_physical().cast(pl.Int32).cast(pl.Date)
PRICE = pl.col("price").cast(pl.Int32, strict=False)
# Only the plain spelling of a number is one: no sign, no space, no leading zero.
PLAIN_PRICE = pl.when((PRICE >= 1) & (PRICE.cast(pl.String) == pl.col("price"))).then(PRICE).alias("price")


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
    kinds: Kinds = field(default_factory=dict)
    bad_row_count: int = 0
    bad_rows_csv: bytes = b""  # as lines of `rejects`, where those were asked for
    seconds: float = 0.0  # that it took to find out


class Ports:
    """The codes a batch may name, fixed when its load begins."""

    def __init__(self, codes: set[str]) -> None:
        self.codes = frozenset(codes)
        # Sorted, so that the order of the totals is the order of their index.
        self.dtype = pl.Enum(sorted(codes))

    @cached_property
    def near(self) -> NearCodes:
        return NearCodes(self.codes)


def check(chunk: Chunk, ports: Ports, *, keep_bad_rows: bool = False) -> CheckedChunk:
    """Never raises for what is in the chunk."""
    began = time.monotonic()
    text = chunk.columns()
    lines = chunk.split() if text is None else SplitLines(numbered(text, chunk.first_line), NO_FAULTS)
    prices = typed(lines.rows, ports)
    if lines.faults.is_empty() and not any(column.has_nulls() for column in prices):
        return CheckedChunk(prices, prices.height, [], 0, seconds=time.monotonic() - began)
    faults = Faults(chunk.file, lines, prices)
    return CheckedChunk(
        prices.clear(),
        prices.height - faults.rows.height,
        faults.first(),
        faults.count,
        faults.kinds(ports.near),
        0 if isinstance(chunk, FaultChunk) else faults.row_count,
        faults.reject_lines() if keep_bad_rows else b"",
        seconds=time.monotonic() - began,
    )


def typed(text: pl.DataFrame, ports: Ports) -> pl.DataFrame:
    """Columns of strings as they go in, null where a value breaks a rule."""
    codes = [pl.col(name).cast(ports.dtype, strict=False) for name in COLUMNS[:2]]
    return text.select(*codes, DAY_AS_DATE, PLAIN_PRICE)
