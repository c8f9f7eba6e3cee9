"""Bytes of no sense, and good files damaged: never a crash, never a part of a batch, always a reason."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.load import Options, Result, load
from loader.sources import Files
from local.postgres import PostgresServer
from tests.loader.batches import CODES, DIFFERENCES, add_places, make_rows
from tests.loader.rows_by_the_rules import read_files
from tests.postgres import Database, clone

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = make_rows(40)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}
# What files begin with, and what stands between values.
PIECES = [
    b"orig_code,dest_code,day,price\n", b"CNSGH,NLRTM,2021-01-01,7\n", b"\n", b"\r\n", b"\r", b",", b'"',
    b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n', b"{", b"}", b"[", b"null",
    b"PAR1", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18\x50", b"\xef\xbb\xbf", b"\xff\xfe",
    b"PK\x03\x04", b"\0",
]  # fmt: skip


def csv_file() -> bytes:
    return "".join(
        ["orig_code,dest_code,day,price\n", *(f"{a},{b},{day},{price}\n" for a, b, day, price in ROWS)]
    ).encode()


def ndjson_file() -> bytes:
    return (
        pl.DataFrame(ROWS, orient="row", schema=["orig_code", "dest_code", "day", "price"])
        .write_ndjson()
        .encode()
    )


def parquet_file() -> bytes:
    file = BytesIO()
    pl.DataFrame(ROWS, orient="row", schema=["orig_code", "dest_code", "day", "price"]).write_parquet(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    """One for all the batches of this module; its loader is this process."""
    database = clone(server, template)
    add_places(database)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.environment("rates_loader").items():
            patch.setenv(name, value)
        yield database
    database.drop()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw") / "bytes"


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes changed, cut off, cut out, put in or said twice, up to three times."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.sampled_from([begin, begin + 1, begin + draw(st.integers(0, 60)), len(data)]))
        instead = draw(st.binary(max_size=4) | st.sampled_from(PIECES) | st.just(2 * data[begin:end]))
        data = data[:begin] + instead + data[end:]
    return data


nonsense = st.binary(max_size=200) | st.lists(
    st.sampled_from(PIECES) | st.binary(max_size=8), max_size=12
).map(b"".join)


def load_both_ways(data: bytes, path: Path, database: Database) -> tuple[Result, list[tuple]]:
    """What became of a file, for which a dry run foretold the same, and the rows of it that count."""
    path.write_bytes(data)
    dry = load(Files([path]), Options(chunk_rows=7, workers=1, dry_run=True))
    result = load(Files([path]), Options(str(uuid4()), chunk_rows=7, workers=2))
    assert (dry.state, result.state) in {("valid", "published"), ("rejected", "rejected")}
    assert (dry.errors, dry.error_count, dry.rows) == (result.errors, result.error_count, result.rows)
    assert (result.state == "rejected") == (result.error_count > 0) == bool(result.errors)
    assert all(error.reason for error in result.errors)
    rows = database.rows(
        "SELECT orig_code, dest_code, day, price FROM prices JOIN batches USING (batch_no)"
        " WHERE id = %s AND state = 'published'",
        result.batch,
    )
    assert len(rows) == result.rows
    assert database.rows(DIFFERENCES) == []
    return result, rows


@settings(max_examples=120, deadline=None)
@given(data=nonsense | damaged(csv_file()) | damaged(ndjson_file()), compression=st.sampled_from([*COMPRESS]))
@example(data=b"", compression="plain")
@example(data=b"", compression="gzip")
@example(data=csv_file(), compression="zstd")
def test_text_of_any_bytes_is_in_by_the_rules_or_rejected(
    data: bytes, compression: str, path: Path, database: Database
) -> None:
    if compression == "plain" and data.startswith((b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        compression = "gzip"
    result, rows = load_both_ways(COMPRESS[compression](data), path, database)
    expected = read_files({str(path): data}, {*CODES})
    assert result.error_count == len(expected.faults)
    assert sorted(rows) == ([] if expected.faults else sorted(expected.rows))


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    content=st.sampled_from([csv_file(), ndjson_file()]),
    compression=st.sampled_from([*DECOMPRESS]),
)
def test_a_damaged_stream_is_rejected_or_still_what_its_program_makes_of_it(
    data: st.DataObject, content: bytes, compression: str, path: Path, database: Database
) -> None:
    stored = data.draw(damaged(COMPRESS[compression](content)))
    result, rows = load_both_ways(stored, path, database)
    if result.state == "published":
        assert sorted(rows) == sorted(read_files({"": DECOMPRESS[compression](stored)}, {*CODES}).rows)


@settings(max_examples=20, deadline=None)
@given(stored=damaged(parquet_file()))
@example(stored=parquet_file())
@example(stored=parquet_file()[:-1])
@example(stored=b"PAR1")
def test_damaged_parquet_is_rejected_or_all_of_it_in(stored: bytes, path: Path, database: Database) -> None:
    """What a changed byte makes of a value nobody can tell; but all rows of the file are in, or none."""
    result, rows = load_both_ways(stored, path, database)
    if result.state == "published":
        assert len(rows) == len(ROWS)
