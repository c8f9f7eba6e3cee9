"""The data of the loader's benchmark: a CSV file of random prices, the worst case for totals.

Random lanes and days in random order, so that nearly every row of a chunk is of a lane-day of its own: a
million rows are of about 259,000. The same seed makes the same file.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from random import Random

import polars as pl

from local.sample import PORTS

SEED = 2021
LANES = 725  # as many as the original's data has
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(365)]
PRICES_USD = (100, 10_000)  # from the first up to below the second
BLOCK_ROWS = 1_000_000

Lane = tuple[str, str]
LaneDay = tuple[str, str, date]
Total = tuple[int, int]  # sum in USD, count


def random_lanes() -> list[Lane]:
    codes = [port.code for port in PORTS]
    pairs = [(orig, dest) for orig in codes for dest in codes if orig != dest]
    return Random(SEED).sample(pairs, LANES)


def write_prices(file: Path, row_count: int) -> None:
    """Writes the file in blocks, so that its size does not matter to this process's memory."""
    lanes = pl.DataFrame(random_lanes(), schema=["orig_code", "dest_code"], orient="row")
    days = pl.Series("day", DAYS)
    prices = pl.int_range(*PRICES_USD, eager=True).alias("price")
    with file.open("wb") as output:
        for first_row in range(0, row_count, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, row_count - first_row)
            seed = SEED + first_row // BLOCK_ROWS * 3
            block = lanes.sample(rows, with_replacement=True, seed=seed).with_columns(
                days.sample(rows, with_replacement=True, seed=seed + 1),
                prices.sample(rows, with_replacement=True, seed=seed + 2),
            )
            block.write_csv(output, include_header=first_row == 0)


def totals_of(file: Path) -> dict[LaneDay, Total]:
    """The sum and count of each lane and day of the file, read from it again."""
    prices = pl.scan_csv(file, try_parse_dates=True).group_by("orig_code", "dest_code", "day")
    totals = prices.agg(pl.col("price").sum(), pl.len()).collect(engine="streaming")
    return {(orig, dest, day): (usd, count) for orig, dest, day, usd, count in totals.iter_rows()}
