"""Between check and ledger: what a chunk adds to the totals, a row a lane and month.

A million random rows are 259,000 lanes and days but 8,700 lanes and months; the server then writes a tenth of
the rows, index and write-ahead log (docs/decisions/0009-totals-a-lane-and-month.md).
"""

from __future__ import annotations

import polars as pl

from loader.check import DAY_MAX, DAY_MIN

# The columns of lane_month_deltas that a chunk fills, in the order of its COPY.
TOTALS = ("month", "orig_code", "dest_code", "days", "price_sums", "price_counts")
# A lane, a month and its day as one number: grouping by one is five times as fast as by three columns.
MONTHS = 1 << 11  # more than there are from DAY_MIN to DAY_MAX
DAYS_OF_MONTH = 1 << 5
# The month, counted from 1970, and its day for every Date, which is a number counted from 1970-01-01: looking
# them up is ten times as fast as working them out.
CALENDAR = (
    pl.date_range(DAY_MIN, DAY_MAX, eager=True)
    .to_frame("day")
    .select(
        ((pl.col("day").dt.year() - 1970) * 12 + pl.col("day").dt.month() - 1).cast(pl.UInt64) * DAYS_OF_MONTH
        + pl.col("day").dt.day()
    )
    .to_series()
)


def totals_of(prices: pl.DataFrame) -> pl.DataFrame:
    """Sum and count a day with prices, as TOTALS, in the order of the lanes.

    `prices` as in CheckedChunk; the arrays come as PostgreSQL spells them, `{1,2}`.
    """
    ports = prices["orig_code"].dtype
    if not isinstance(ports, pl.Enum):
        raise AssertionError(f"codes are an Enum of the known ports, not {ports}")
    port_count = len(ports.categories)
    orig, dest = (pl.col(name).to_physical().cast(pl.UInt64) for name in ("orig_code", "dest_code"))
    month_day = pl.lit(CALENDAR).gather(pl.col("day").to_physical())
    lane_day = (orig * port_count + dest) * (MONTHS * DAYS_OF_MONTH) + month_day
    in_order = prices.select(lane_day.alias("lane_day"), pl.col("price").cast(pl.Int64)).sort("lane_day")
    # A day's prices lie together: where each run of them ends, the sum of all so far tells its own.
    runs = in_order["lane_day"].rle().struct.unnest()
    sums = in_order["price"].cum_sum().gather(runs["len"].cum_sum() - 1)
    by_month = (
        runs.select(
            (pl.col("value") // DAYS_OF_MONTH).alias("lane_month"),
            (pl.col("value") % DAYS_OF_MONTH).cast(pl.Int16).alias("days"),
            (sums - sums.shift(1, fill_value=0)).alias("price_sums"),
            pl.col("len").alias("price_counts"),
        )
        .group_by("lane_month", maintain_order=True)
        .agg("days", "price_sums", "price_counts")
    )
    lane, month = pl.col("lane_month") // MONTHS, pl.col("lane_month") % MONTHS
    return by_month.select(
        pl.date(1970 + month // 12, month % 12 + 1, 1).alias("month"),
        (lane // port_count).cast(pl.UInt32).cat.to(ports).alias("orig_code"),
        (lane % port_count).cast(pl.UInt32).cat.to(ports).alias("dest_code"),
        *(as_array(name) for name in TOTALS[3:]),
    )


def as_array(column: str) -> pl.Expr:
    """A list column as PostgreSQL's arrays are spelled."""
    values = pl.col(column).cast(pl.List(pl.String)).list.join(",")
    return pl.concat_str(pl.lit("{"), values, pl.lit("}")).alias(column)
