"""One batch in every format and compression, from everywhere: the same answers, or the same report."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from loader.load import Options, load
from loader.sources import Files
from local.postgres import PostgresServer
from tests.batch_storage import BatchStorage
from tests.loader.batches import TIMEOUT_S, command, environment, make_rows, one_database
from tests.loader.rows_by_the_rules import COLUMNS, zstd
from tests.postgres import Database
from tests.system.spellings import (
    COMPRESSIONS,
    SPELLINGS,
    Spelling,
    Values,
    as_csv,
    as_ndjson,
    as_ndjson_without_nulls,
    named,
)

ROWS = make_rows(3_000)
# What a batch alone answers.
ANSWERS = """
SELECT
    orig_code, dest_code, (month + (of_day.day - 1))::date,
    sum(of_day.price_sum)::bigint, sum(of_day.price_count)::bigint
FROM lane_month_deltas JOIN batches ON batch_no = posting_no,
    unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
WHERE id = %s AND state = 'published' GROUP BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    with one_database(server, template) as database:
        yield database


def expected_answers() -> list[tuple]:
    prices: defaultdict[tuple[str, str, date], list[int]] = defaultdict(list)
    for orig_code, dest_code, day, price in ROWS:
        prices[orig_code, dest_code, day].append(price)
    return [(*key, sum(found), len(found)) for key, found in sorted(prices.items())]


def assert_answers(database: Database, batch: object) -> None:
    assert sorted(database.rows(ANSWERS, batch)) == expected_answers()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_batch_gives_the_same_answers_however_it_is_spelled(
    spelling: str, compression: str, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "batch"
    path.write_bytes(COMPRESSIONS[compression](SPELLINGS[spelling](named(ROWS))))

    result = load(Files([path]), Options(str(uuid4()), chunk_rows=1_000))

    assert (result.state, result.rows) == ("published", len(ROWS))
    assert_answers(database, result.batch)


@contextmanager
def standard_input(content: bytes) -> Generator[None]:
    """What the test's own process reads there."""
    with TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        before = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(before, 0)
            os.close(before)


@pytest.mark.parametrize("origin", ["stdin", "s3"])
@pytest.mark.parametrize(
    ("spelling", "compression"),
    [("CSV", "gzip"), ("NDJSON", "zstd"), ("Parquet", "plain"), ("Parquet", "gzip")],
)
def test_a_batch_gives_the_same_answers_wherever_it_comes_from(
    spelling: str, compression: str, origin: str, storage: BatchStorage, database: Database
) -> None:
    content = COMPRESSIONS[compression](SPELLINGS[spelling](named(ROWS)))
    storage.s3().put_object(Bucket=storage.name, Key="batch", Body=content)
    with standard_input(content):
        source = Files(["-" if origin == "stdin" else f"s3://{storage.name}/batch"])
    result = load(source, Options(str(uuid4()), chunk_rows=1_000))
    assert (result.state, result.rows) == ("published", len(ROWS))
    assert_answers(database, result.batch)


def test_one_batch_may_be_files_of_every_format_from_everywhere(
    storage: BatchStorage, database: Database, tmp_path: Path
) -> None:
    """By the command, as a process."""
    parts = [named(ROWS[:500]), named(ROWS[500:1_700]), named(ROWS[1_700:])]
    path = tmp_path / "first"
    path.write_bytes(gzip.compress(SPELLINGS["CSV"](parts[0])))
    stored = zstd.compress(SPELLINGS["Parquet"](parts[1]))
    storage.s3().put_object(Bucket=storage.name, Key="second", Body=stored)

    done = subprocess.run(
        command("load", path, f"s3://{storage.name}/second", "-", "--chunk-rows", "1000", "--json"),
        env=environment(database, **storage.environment()),
        input=SPELLINGS["NDJSON"](parts[2]),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    result = msgspec.json.decode(done.stdout, type=dict[str, Any])
    assert (result["state"], result["rows"]) == ("published", len(ROWS))
    assert_answers(database, result["batch"])


# --- what is told of bad rows ------------------------------------------------------------------------------


def report(content: bytes, tmp_path: Path, *, header_lines: int) -> list[tuple]:
    """The row, from 1, the column, value and reason of each fault; the database has nothing of the batch."""
    path = tmp_path / "batch"
    path.write_bytes(content)
    result = load(Files([path]), Options(str(uuid4()), chunk_rows=10))
    assert (result.state, result.rows, result.error_count) == ("rejected", 0, len(result.errors))
    assert {error.file for error in result.errors} == {str(path)}
    return [(error.line - header_lines, error.column, error.value, error.reason) for error in result.errors]


def with_faults(faults: list[Values]) -> list[Values]:
    """Good rows, every third of them spoilt by the next fault."""
    rows = named(ROWS[: 3 * len(faults)])
    for number, fault in enumerate(faults):
        rows[3 * number + 1] |= fault
    return rows


TEXT_FAULTS: list[Values] = [
    {"orig_code": "XXXXX"}, {"dest_code": "cnsgh"}, {"orig_code": ""}, {"dest_code": 'a,"b"'},
    {"orig_code": " CNSGH"}, {"dest_code": "Ö" * 300}, {"day": "2021-02-30"}, {"day": "1969-12-31"},
    {"day": "2100-01-01"}, {"day": "1.2.2021"}, {"day": ""}, {"price": "0"}, {"price": "-5"},
    {"price": "1.5"}, {"price": "007"}, {"price": " 7"}, {"price": ""}, {"price": "2147483648"},
    {"price": "٣"}, {"orig_code": "x", "dest_code": "y", "day": "z", "price": "free"},
]  # fmt: skip
TYPED_FAULTS: list[Values] = [
    {"day": date(1969, 12, 31)}, {"day": date(2100, 1, 1)}, {"day": date(1, 1, 1)}, {"price": 0},
    {"price": -5}, {"price": 2**31}, {"price": 2**62},
    {"orig_code": "XXXXX", "day": date(9999, 12, 31), "price": -1},
]  # fmt: skip
MISSING: list[Values] = [{name: None} for name in COLUMNS] + [
    dict.fromkeys(COLUMNS),
    {"day": None, "price": -1},
]


@pytest.mark.parametrize(
    "spelling",
    ["CSV, all quoted", "CSV, lines ending in CRLF", "CSV, another order", "NDJSON", "Parquet, all text"],
)
@pytest.mark.parametrize("compression", ["plain", "zstd"])
def test_bad_text_is_told_of_in_the_same_words_in_every_format(
    spelling: str, compression: str, database: Database, tmp_path: Path
) -> None:
    rows = with_faults(TEXT_FAULTS)
    told = report(as_csv()(rows), tmp_path, header_lines=1)
    assert [(number, column) for number, column, *_ in told] == [
        (3 * number + 2, column)
        for number, fault in enumerate(TEXT_FAULTS)
        for column in COLUMNS
        if column in fault
    ]

    stored = COMPRESSIONS[compression](SPELLINGS[spelling](rows))

    assert report(stored, tmp_path, header_lines=int("CSV" in spelling)) == told


@pytest.mark.parametrize("spelling", ["NDJSON", "Parquet, another order and type", "Parquet, all text"])
def test_bad_numbers_and_days_are_told_of_in_the_same_words_in_every_format(
    spelling: str, database: Database, tmp_path: Path
) -> None:
    rows = with_faults(TYPED_FAULTS)
    told = report(as_csv()(rows), tmp_path, header_lines=1)
    assert len(told) == len(TYPED_FAULTS) + 2
    assert report(SPELLINGS[spelling](rows), tmp_path, header_lines=0) == told


@pytest.mark.parametrize(
    "spelling", [as_ndjson_without_nulls, SPELLINGS["Parquet"], SPELLINGS["Parquet, all text"]]
)
def test_missing_values_are_told_of_in_the_same_words_in_every_format(
    spelling: Spelling, database: Database, tmp_path: Path
) -> None:
    rows = with_faults(MISSING)
    told = report(as_ndjson()(rows), tmp_path, header_lines=0)
    assert [(number, column, value) for number, column, value, _ in told] == [
        (3 * number + 2, column, value and str(value))
        for number, fault in enumerate(MISSING)
        for column, value in fault.items()
    ]
    assert report(spelling(rows), tmp_path, header_lines=0) == told
