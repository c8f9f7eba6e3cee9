"""Rows in every format and compression that a batch may come in."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import polars as pl

from tests.loader.batches import Row
from tests.loader.rows_by_the_rules import BYTE_ORDER_MARK, COLUMNS, zstd

OTHER_ORDER = ["price", "day", "dest_code", "orig_code"]
Values = dict[str, Any]  # of a row, by its columns; None where one is missing
Spelling = Callable[[list[Values]], bytes]


def named(rows: list[Row]) -> list[Values]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def as_csv(
    columns: list[str] = COLUMNS, *, mark: bytes = b"", end: str = "\n", quoted: bool = False
) -> Spelling:
    def spell(rows: list[Values]) -> bytes:
        text = StringIO()
        quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
        writer = csv.DictWriter(text, columns, lineterminator=end, quoting=quoting)
        writer.writeheader()
        writer.writerows(rows)
        return mark + text.getvalue().encode()

    return spell


def as_ndjson(columns: list[str] = COLUMNS, **layout: Any) -> Spelling:
    """A value that is missing is null."""

    def spell(rows: list[Values]) -> bytes:
        lines = [json.dumps({name: row[name] for name in columns}, default=str, **layout) for row in rows]
        return "".join(f"{line}\n" for line in lines).encode()

    return spell


def as_ndjson_without_nulls(rows: list[Values]) -> bytes:
    lines = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return "".join(f"{json.dumps(line, default=str)}\n" for line in lines).encode()


def as_parquet(columns: list[str] = COLUMNS, **types: Any) -> Spelling:
    def spell(rows: list[Values]) -> bytes:
        file = BytesIO()
        texts = [
            {name: value if name in types else as_text(value) for name, value in row.items()} for row in rows
        ]
        schema = {name: types.get(name, pl.String) for name in columns}
        pl.DataFrame(texts, schema=schema, orient="row").write_parquet(file, row_group_size=700)
        return file.getvalue()

    return spell


def as_text(value: object) -> str | None:
    return None if value is None else str(value)


SPELLINGS: dict[str, Spelling] = {
    "CSV": as_csv(),
    "CSV, all quoted": as_csv(quoted=True),
    "CSV, lines ending in CRLF": as_csv(end="\r\n"),
    "CSV, marked as UTF-8": as_csv(mark=BYTE_ORDER_MARK),
    "CSV, another order": as_csv(OTHER_ORDER),
    "NDJSON": as_ndjson(),
    "NDJSON, another order and no spaces": as_ndjson(OTHER_ORDER, separators=(",", ":")),
    "NDJSON, prices as text": lambda rows: as_ndjson()([{**row, "price": str(row["price"])} for row in rows]),
    "Parquet": as_parquet(day=pl.Date, price=pl.Int32),
    "Parquet, another order and type": as_parquet(OTHER_ORDER, day=pl.Date, price=pl.Int64),
    "Parquet, all text": as_parquet(),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
}
