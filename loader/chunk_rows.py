"""Between check and ledger: sends the rows of a chunk and what they add to the totals, as columns, by COPY.

Apart from `ledger`, so that what only reads or ends batches does not wait for Polars.
"""

from __future__ import annotations

from io import BytesIO

import polars as pl
import psycopg

from database.queries import query
from loader.totals import totals_of

# So many rows are spelled out and sent at a time: some megabytes, whatever the chunk has.
COPY_ROWS = 50_000


def copy_chunk(connection: psycopg.Connection, key: dict[str, int], prices: pl.DataFrame) -> None:
    """Within the chunk's transaction: its prices and its totals, each behind `key`. `prices` as checked."""
    labels = [pl.lit(number).alias(name) for name, number in key.items()]
    copy(connection, "copy_prices", labels, prices)
    copy(connection, "copy_deltas", labels, totals_of(prices))


def copy(connection: psycopg.Connection, name: str, labels: list[pl.Expr], frame: pl.DataFrame) -> None:
    """Sends a frame's rows, behind the same labels each, through the COPY of `sql/name.sql`, as CSV."""
    with connection.cursor() as cursor, cursor.copy(query("loader", name)) as sink:
        for rows in frame.iter_slices(COPY_ROWS):
            text = BytesIO()
            rows.select(*labels, pl.all()).write_csv(text, include_header=False)
            sink.write(text.getbuffer())
