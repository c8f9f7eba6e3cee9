"""Between check and ledger: what a chunk adds to the totals, a row a lane and month.

A million random rows are 259,000 lanes and days but 8,700 lanes and months; the server then writes a tenth of
the rows, index and write-ahead log (docs/decisions/0009-totals-a-lane-and-month.md).
"""

from __future__ import annotations

import polars as pl

# The columns of lane_month_deltas that a chunk fills, in the order of its COPY.
TOTALS = ("month", "orig_code", "dest_code", "days", "price_sums", "price_counts")
DAY_NUMBERS = 1 << 16  # more than there are days from 1970 to 2099


def totals_of(prices: pl.DataFrame) -> pl.DataFrame:
    """Sum and count a day with prices, as TOTALS, in the order of the lanes.

    `prices` as in CheckedChunk; the arrays come as PostgreSQL spells them, `{1,2}`.
    """
    # Grouping by one number is twice as fast as by three columns; sorted first, groups need no hash table.
    ports = prices["orig_code"].dtype
    if not isinstance(ports, pl.Enum):
        raise AssertionError(f"codes are an Enum of the known ports, not {ports}")
    port_count = len(ports.categories)
    number = pl.col("orig_code").to_physical().cast(pl.UInt64) * port_count
    number = (number + pl.col("dest_code").to_physical()) * DAY_NUMBERS
    number += pl.col("day").to_physical().cast(pl.UInt64)
    by_day = (
        prices.select(number.alias("number"), pl.col("price").cast(pl.Int64))
        .sort("number")
        .group_by("number", maintain_order=True)
        .agg(pl.col("price").sum().alias("price_sums"), pl.len().alias("price_counts"))
    )
    lane = pl.col("number") // DAY_NUMBERS
    day = (pl.col("number") % DAY_NUMBERS).cast(pl.Int32).cast(pl.Date)
    by_month = (
        by_day.select(
            lane.alias("lane"),
            day.dt.month_start().alias("month"),
            day.dt.day().alias("days"),
            "price_sums",
            "price_counts",
        )
        .group_by("lane", "month", maintain_order=True)
        .agg("days", "price_sums", "price_counts")
    )
    return by_month.select(
        "month",
        (pl.col("lane") // port_count).cast(pl.UInt32).cat.to(ports).alias("orig_code"),
        (pl.col("lane") % port_count).cast(pl.UInt32).cat.to(ports).alias("dest_code"),
        *(as_array(name) for name in TOTALS[3:]),
    )


def as_array(column: str) -> pl.Expr:
    """A list column as PostgreSQL's arrays are spelled."""
    return pl.concat_str(
        pl.lit("{"), pl.col(column).cast(pl.List(pl.String)).list.join(","), pl.lit("}")
    ).alias(column)
