"""Bytes of no sense, and good files damaged: never a crash, never a part of a batch, always a reason."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loader.load import Options, Result, load
from loader.sources import Files
from local.postgres import PostgresServer
from tests.examples import examples, nightly
from tests.loader.batches import CODES, DIFFERENCES, make_rows, one_database
from tests.loader.rows_by_the_rules import COLUMNS, read_files, zstd
from tests.postgres import Database

ROWS = make_rows(40)
# What files begin with, and what stands between values.
PIECES = [
    b"orig_code,dest_code,day,price\n", b"CNSGH,NLRTM,2021-01-01,7\n", b"\n", b"\r\n", b"\r", b",", b'"',
    b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n', b"{", b"}", b"[", b"null",
    b"\0", b"PAR1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\xef\xbb\xbf", b"\xff\xfe",
    b"PK\x03\x04",
]  # fmt: skip


def as_parquet(frame: pl.DataFrame) -> bytes:
    file = BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


FRAME = pl.DataFrame(ROWS, schema=COLUMNS, orient="row")
CSV, NDJSON, PARQUET = FRAME.write_csv().encode(), FRAME.write_ndjson().encode(), as_parquet(FRAME)
COMPRESSED = [compress(text) for compress in (gzip.compress, zstd.compress) for text in (CSV, NDJSON)]


@st.composite
def damaged(draw: st.DrawFn, *wholes: bytes) -> bytes:
    """A file with bytes changed, cut off, cut out, put in or said twice, up to three times."""
    data = draw(st.sampled_from(wholes))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.sampled_from([begin, begin + 1, begin + draw(st.integers(0, 60)), len(data)]))
        instead = draw(st.binary(max_size=4) | st.sampled_from(PIECES) | st.just(2 * data[begin:end]))
        data = data[:begin] + instead + data[end:]
    return data


pieces = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=12).map(b"".join)
texts = st.binary(max_size=200) | pieces | damaged(CSV, NDJSON)
contents = texts | damaged(*COMPRESSED) | texts.map(gzip.compress) | texts.map(zstd.compress)


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    with one_database(server, template) as database:
        yield database


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw") / "bytes"


def load_both_ways(stored: bytes, path: Path, database: Database) -> tuple[Result, list[tuple]]:
    """What became of a file, as a dry run foretold it; and the rows of it that count."""
    path.write_bytes(stored)
    dry = load(Files([path]), Options(chunk_rows=7, workers=1, dry_run=True))
    result = load(Files([path]), Options(str(uuid4()), chunk_rows=7, workers=2))
    assert (dry.state, result.state) in {("valid", "published"), ("rejected", "rejected")}
    assert (dry.rows, dry.error_count, dry.errors) == (result.rows, result.error_count, result.errors)
    assert (result.state == "rejected") == bool(result.error_count) == bool(result.errors)
    assert all(error.reason for error in result.errors)
    rows = database.rows(
        "SELECT orig_code, dest_code, day, price FROM prices JOIN batches USING (batch_no)"
        " WHERE id = %s AND state = 'published'",
        result.batch,
    )
    assert len(rows) == result.rows
    assert database.rows(DIFFERENCES) == []
    return result, rows


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stored=contents)
@example(stored=b"")
@example(stored=gzip.compress(b""))
@example(stored=zstd.compress(CSV))
@example(stored=gzip.compress(NDJSON)[:-1])
def test_any_bytes_are_in_by_the_rules_or_rejected(stored: bytes, path: Path, database: Database) -> None:
    result, rows = load_both_ways(stored, path, database)
    expected = read_files({str(path): stored}, {*CODES})
    if expected.faults and expected.faults[-1].kind == "damaged":
        assert result.state == "rejected"
    else:
        assert result.error_count == len(expected.faults)
        assert sorted(rows) == ([] if expected.faults else sorted(expected.rows))


# Few by default, since each load starts a process.
@settings(max_examples=12 if nightly else 4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stored=damaged(PARQUET))
@example(stored=PARQUET)
@example(stored=PARQUET[:-1])
@example(stored=b"PAR1")
def test_damaged_parquet_is_in_with_all_its_rows_or_rejected(
    stored: bytes, path: Path, database: Database
) -> None:
    """What a changed byte makes of a value, nobody can tell."""
    result, rows = load_both_ways(stored, path, database)
    if result.state == "published":
        assert len(rows) == len(ROWS)
