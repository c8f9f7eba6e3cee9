"""What the loader's path was chosen from: other ways of putting the same prices and totals into tables.

One file of random prices, one server, one connection; what is sent is made beforehand, so that the figures
are the server's part alone. Each way has its turn in every round, and its best one counts. What rests on it
is docs/decisions/0009-totals-a-lane-and-month.md.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl
import psycopg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.databases import BARE, checkpoint, fresh_database, scratch_server, wal_position
from benchmarks.figures import in_short
from benchmarks.random_prices import write_prices
from loader.chunks import CHUNK_ROWS
from loader.totals import totals_of
from local.postgres import PostgresServer

ROUNDS = 3
BATCH_NO, CHUNK_NO = 12, 3
POSTGRES_EPOCH_DAYS = 10_957  # from 1970-01-01 to 2000-01-01, where PostgreSQL counts days from
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
BINARY_END = struct.pack(">h", -1)
LABELS = "batch_no integer NOT NULL, chunk_no integer NOT NULL, "
CODES = "orig_code text NOT NULL, dest_code text NOT NULL, "
PRICE = "day date NOT NULL, price integer NOT NULL"
DAY_TOTALS = LABELS + CODES + "day date, price_sum bigint, price_count integer"
MONTH_TOTALS = LABELS + CODES + "month date, days smallint[], price_sums bigint[], price_counts integer[]"

Blocks = Sequence[bytes]  # what is sent, a chunk's each


@dataclass(frozen=True)
class Way:
    """`columns` and `indexes` make its table; each chunk is one COPY `INTO` of `blocks`, and one commit."""

    group: str
    name: str
    columns: str
    blocks: Callable[[pl.DataFrame], Blocks]
    into: str = ""  # the columns that are sent; by default all
    options: str = "FORMAT csv"
    indexes: Sequence[str] = ()
    wait_for_disk: bool = True


def run(row_count: int, scratch: Path, say: Callable[[str], None]) -> None:
    """Prints the table for a file of so many rows."""
    file = scratch / "prices.csv"
    write_prices(file, row_count)
    types = {"orig_code": pl.String, "dest_code": pl.String, "day": pl.Date, "price": pl.Int32}
    prices = pl.read_csv(file, schema=types)
    codes = pl.Enum(sorted({*prices["orig_code"], *prices["dest_code"]}))
    prices = prices.with_columns(pl.col("orig_code", "dest_code").cast(codes))
    blocks = {way: way.blocks(prices) for way in WAYS}
    best: dict[Way, tuple[float, float]] = {}
    with scratch_server(scratch) as server:
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            for way in WAYS:
                seconds, wal_bytes = measure(server, way, blocks[way])
                measured = (seconds, wal_bytes / row_count)
                best[way] = min(measured, best.get(way, measured))
    print_table(row_count, best)


def measure(server: PostgresServer, way: Way, blocks: Blocks) -> tuple[float, float]:
    """Seconds, and bytes of write-ahead log."""
    with fresh_database(server, BARE) as database, database.connect() as connection:
        connection.execute(f"CREATE TABLE chosen ({way.columns})".encode())
        for index in way.indexes:
            connection.execute(f"CREATE INDEX ON chosen {index}".encode())
        if not way.wait_for_disk:
            connection.execute("SET synchronous_commit = off")
        checkpoint(server)
        position, began = wal_position(server), time.monotonic()
        for block in blocks:
            copy_block(connection, f"COPY chosen {way.into} FROM STDIN ({way.options})", block)
        seconds = time.monotonic() - began
        return seconds, wal_position(server) - position


def copy_block(connection: psycopg.Connection, statement: str, block: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(block)


def chunks_of(prices: pl.DataFrame, rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    return prices.iter_slices(rows)


def as_csv(frame: pl.DataFrame) -> bytes:
    text = BytesIO()
    frame.write_csv(text, include_header=False)
    return text.getvalue()


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(BATCH_NO).alias("batch_no"), pl.lit(CHUNK_NO).alias("chunk_no"), pl.all())


def plain(prices: pl.DataFrame) -> Blocks:
    return [as_csv(chunk) for chunk in chunks_of(prices)]


def with_labels(prices: pl.DataFrame) -> Blocks:
    return [as_csv(labelled(chunk)) for chunk in chunks_of(prices)]


def with_lanes(prices: pl.DataFrame) -> pl.DataFrame:
    """A number for each lane in place of its two codes."""
    lane = pl.col("orig_code").to_physical().cast(pl.Int32) * 1000 + pl.col("dest_code").to_physical()
    return prices.select(lane.alias("lane"), "day", "price")


def lanes_csv(prices: pl.DataFrame) -> Blocks:
    return [as_csv(labelled(with_lanes(chunk))) for chunk in chunks_of(prices)]


def lanes_binary(prices: pl.DataFrame) -> Blocks:
    """A count of fields, then the length and value of each (PostgreSQL: COPY, "Binary Format")."""
    row = struct.Struct(">hiiiiiiiiii")
    return [
        in_binary(
            row.pack(5, 4, BATCH_NO, 4, CHUNK_NO, 4, lane, 4, day, 4, price) for lane, day, price in rows
        )
        for rows in (numbered(with_lanes(chunk)).iter_rows() for chunk in chunks_of(prices))
    ]


def codes_binary(prices: pl.DataFrame) -> Blocks:
    row = struct.Struct(">hiiiii5si5siiii")
    return [
        in_binary(
            row.pack(6, 4, BATCH_NO, 4, CHUNK_NO, 5, orig.encode(), 5, dest.encode(), 4, day, 4, price)
            for orig, dest, day, price in rows
        )
        for rows in (numbered(chunk).iter_rows() for chunk in chunks_of(prices))
    ]


def numbered(prices: pl.DataFrame) -> pl.DataFrame:
    return prices.with_columns(pl.col("day").cast(pl.Int32) - POSTGRES_EPOCH_DAYS)


def in_binary(rows: Iterator[bytes]) -> bytes:
    return BINARY_HEADER + b"".join(rows) + BINARY_END


def totals_by_day(rows: int) -> Callable[[pl.DataFrame], Blocks]:
    lane_day = ("orig_code", "dest_code", "day")

    def blocks(prices: pl.DataFrame) -> Blocks:
        sums = pl.col("price").cast(pl.Int64).sum().alias("price_sum")
        totals = (
            chunk.group_by(lane_day).agg(sums, pl.len().alias("price_count")).sort(lane_day)
            for chunk in chunks_of(prices, rows)
        )
        return [as_csv(labelled(chunk)) for chunk in totals]

    return blocks


def totals_by_month(rows: int) -> Callable[[pl.DataFrame], Blocks]:
    order = ("orig_code", "dest_code", "month", "days", "price_sums", "price_counts")
    return lambda prices: [
        as_csv(labelled(totals_of(chunk).select(order))) for chunk in chunks_of(prices, rows)
    ]


P, T = "prices", "totals"
LANE_INDEX = "(orig_code, dest_code, day)"
WAYS = (
    Way(P, "bare CSV, the floor", CODES + PRICE, plain),
    Way(P, "with batch and chunk", LABELS + CODES + PRICE, with_labels),
    Way(P, "… not waiting for the disk", LABELS + CODES + PRICE, with_labels, wait_for_disk=False),
    Way(
        P,
        "… and a BRIN index, as chosen",
        LABELS + CODES + PRICE,
        with_labels,
        indexes=("USING brin (batch_no, chunk_no) WITH (autosummarize = on)",),
        wait_for_disk=False,
    ),
    Way(
        P,
        "with batch and chunk, and a lane index",
        LABELS + CODES + PRICE,
        with_labels,
        indexes=(LANE_INDEX,),
    ),
    Way(
        P,
        "as sent, batch and chunk by default",
        CODES + PRICE + f", batch_no integer DEFAULT {BATCH_NO}, chunk_no integer DEFAULT {CHUNK_NO}",
        plain,
        into="(orig_code, dest_code, day, price)",
    ),
    Way(P, "with batch and chunk, binary", LABELS + CODES + PRICE, codes_binary, options="FORMAT binary"),
    Way(P, "lane numbers for codes", LABELS + "lane integer NOT NULL, " + PRICE, lanes_csv),
    Way(
        P,
        "lane numbers for codes, binary",
        LABELS + "lane integer NOT NULL, " + PRICE,
        lanes_binary,
        options="FORMAT binary",
    ),
    *(
        way
        for rows in (50_000, CHUNK_ROWS, 500_000, 1_000_000)
        for way in (
            Way(
                T,
                f"a row a lane and day, chunks of {rows:,}",
                DAY_TOTALS,
                totals_by_day(rows),
                indexes=(LANE_INDEX,),
            ),
            Way(
                T,
                f"a row a lane and month, chunks of {rows:,}",
                MONTH_TOTALS,
                totals_by_month(rows),
                indexes=("(orig_code, dest_code, month, batch_no)", "USING brin (batch_no, chunk_no)"),
            ),
        )
    ),
)


def print_table(row_count: int, best: dict[Way, tuple[float, float]]) -> None:
    floor_s, _ = best[WAYS[0]]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in (f"of {row_count:,} rows", "way"):
        table.add_column(name)
    for name in ("s", "÷ floor", "WAL bytes a row"):
        table.add_column(name, justify="right")
    for way, (seconds, wal_bytes) in best.items():
        table.add_row(way.group, way.name, in_short(seconds), in_short(seconds / floor_s), f"{wal_bytes:.0f}")
    Console(width=110, highlight=False, markup=False, emoji=False).print(table)
