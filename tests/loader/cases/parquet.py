"""Cases of Parquet, as Polars writes it."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl

from loader.chunks import COLUMNS
from tests.loader.cases.case import CODES, DAY_RULE, PACKINGS, PRICE_RULE, ROWS, Case

GOOD = pl.DataFrame(ROWS, schema=list(COLUMNS), orient="row")
EXPECTED_TYPES = {
    "code": "expected String",
    "day": "expected Date, Datetime (UTC or without a zone) or String",
    "price": "expected an integer, Decimal without a fraction or String",
}
# Each starts a process.
Plain = partial(Case, packings=("plain",))


def parquet(frame: pl.DataFrame = GOOD, **options: Any) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, **options)
    return content.getvalue()


def of_type(**types: Any) -> Callable[[], bytes]:
    return lambda: parquet(GOOD.with_columns(pl.col(name).cast(kind) for name, kind in types.items()))


def with_values(**columns: list[Any]) -> Callable[[], bytes]:
    return lambda: parquet(GOOD.with_columns(**{name: pl.Series(of) for name, of in columns.items()}))


PARQUET_CASES = [
    Case("String, Date and an integer", parquet, packings=tuple(PACKINGS)),
    Plain("columns in another order", lambda: parquet(GOOD.select(reversed(COLUMNS)))),
    *(
        Plain(f"compressed with {name}", lambda name=name: parquet(compression=name))
        for name in ("uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd")
    ),
    Plain("codes as Categorical (a dictionary)", of_type(orig_code=pl.Categorical, dest_code=pl.Enum(CODES))),
    Plain(
        "codes, days and prices as Binary that is UTF-8",
        lambda: parquet(GOOD.cast(pl.String).cast(pl.Binary)),
    ),
    Plain("all as String", of_type(day=pl.String, price=pl.String)),
    *(
        Plain(f"days as Datetime({unit}) at midnight", of_type(day=pl.Datetime(unit)))
        for unit in ("ms", "us", "ns")
    ),
    Plain("days as Datetime at midnight in UTC", of_type(day=pl.Datetime("us", "UTC"))),
    *(Plain(f"prices as {kind}", of_type(price=kind)) for kind in (pl.Int16, pl.Int64, pl.UInt16, pl.UInt64)),
    Plain("prices as Decimal without a fraction", of_type(price=pl.Decimal(38, 0))),
    Plain(
        "a day with a time",
        with_values(day=[datetime.fromisoformat(f"2021-01-0{day}") for day in ("1T00:00", "2T10:30")]),
        f"line 2: day is '2021-01-02 10:30:00': {DAY_RULE}",
    ),
    Plain(
        "days as Datetime in another zone",
        of_type(day=pl.Datetime("us", "Europe/Berlin")),
        f"the schema has day as Datetime(time_unit='us', time_zone='Europe/Berlin'), {EXPECTED_TYPES['day']}",
    ),
    Plain(
        "days as integers",
        with_values(day=[18628, 18629]),
        f"the schema has day as Int64, {EXPECTED_TYPES['day']}",
    ),
    Plain(
        "prices as Float64",
        of_type(price=pl.Float64),
        f"the schema has price as Float64, {EXPECTED_TYPES['price']}",
    ),
    Plain(
        "prices as Decimal with a fraction",
        with_values(price=[Decimal("1.50"), Decimal("2.00")]),
        "the schema has price as Decimal(precision=38, scale=2)",
    ),
    Plain(
        "a price that is too large",
        with_values(price=[1, 2**31]),
        f"line 2: price is '2147483648': {PRICE_RULE}",
    ),
    Plain(
        "Binary that is not UTF-8",
        with_values(orig_code=[b"CNSGH", b"\xff\xfe"]),
        "line 2: orig_code is 'not UTF-8: 0xfffe': no such port",
    ),
    Plain("a null", with_values(day=[date(2021, 1, 1), None]), "line 2: day: missing: a value is expected"),
    Plain(
        "a column more",
        lambda: parquet(GOOD.with_row_index("index")),
        "the schema has 'index', which is not a column",
    ),
    Plain("a column less", lambda: parquet(GOOD.drop("price")), "the schema lacks price"),
    Plain("one that ends early", lambda: parquet()[:-20], "the Parquet file cannot be read: "),
    Plain("an encrypted one", b"PARE" + bytes(100), "the file is an encrypted Parquet file"),
]
