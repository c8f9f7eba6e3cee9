"""Little that expands without end: refused in bounded time and memory, however it is packed, and told why."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import psycopg
import pytest

from loader.dump import Dump
from loader.errors import FileRejected
from loader.formats import compression
from loader.formats.compression import EXPANDED_BYTES_FREE, EXPANSION_MAX, zstd
from loader.formats.parquet_process import Fault, parts_of
from loader.sources import Files
from storage.bucket import Bucket
from tests.loader.batches import CODES, FIRST_DAY, assert_nothing_is_left_but_the_ledger
from tests.loader.dumps import dump_text
from tests.loader.parquet_bomb import parquet_bomb
from tests.loader.planning import Sent, accept, do_all, open_small, plan
from tests.postgres import Database

MB = 1024 * 1024
HEADER = b"orig_code,dest_code,day,price\n"
ROW = b"CNSGH,NLRTM,2021-01-01,7\n"
NDJSON_ROW = b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n'
PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
# What comes first, and what follows it without end.
ENDLESS = {
    "zeros": (b"", bytes(MB)),
    "zeros in a line": (HEADER, bytes(MB)),
    "line ends": (HEADER, b"\n" * MB),
    "good rows": (HEADER, ROW * (MB // len(ROW))),
    "good objects": (b"", NDJSON_ROW * (MB // len(NDJSON_ROW))),
    "members without content": (HEADER, b""),
}
# A Parquet file of 20 KB: one row, whose orig_code is 600,000,000 NUL characters, packed with zstd.
HUGE_PAGE = zlib.decompress(
    base64.b64decode(
        "eNrt3L9PE2EYB/CXl0KQdGDwvfSSDhcJF4gG2lPSnonD20IRRC1NBCEm5trrQbFwpEVKmRwdHRwMAwgSJmMcdCPG"
        "xMXRwT+AODqZmBAWf7zvXb12UAKz30s/9977vk/f57n32vWyPBdnIfb42eZBiB1s0UlGGSGk/+3Qj0d3Q5kPvWXR"
        "IaIlbeT4l/mJUtJDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD+N72xbsII62EXLjEqmk7W6b+u"
        "R+viREQIbaSdhdVh0tmjRs65ldL8/YJrF1lYocqhfM+Psr9N9a9bVO8iLMS6WbTlpT9axwAhbaJjnSWJXayuNpNM"
        "Kxv6m+dU/7lNT0iQP0OCdtuqB0sf7VD9/c5JSxfOsHTHSqVUaNb98gXVj3YpUaOK2CE2ooh4cS1uJ7gW+YNrEe5f"
        "M6reux6quO4qE7sa7qMtO99HJqMyxBsNtqp1VN5fa98vqjGiUDWqTupP3oWip32syus9yiJEf7VDo6d5SspHP/7b"
        "bkv8XzddOfQj9/daIv+xh8qxF6t82ZTVibqUp7v0vNy3SJjncrdnrlYLC8UlK/KZDnnHLBfHqDwl10R3farR94Zu"
        "cF7laa+d4hezYr5Wk+PjnM834mR8elx2ZuRphAfr2TJ+3YvzFk37U3d44/Dma7KbqhWWyotzMmpiQwwmm0X5eVKZ"
        "P1/y570sc2OZYX5z5OR4f37Cj5/esDPmYt7IlWU/IfPXa8GXxpr1TfHUOE957Wij7pq/XtbL7913WtY7ZtatGduZ"
        "NcwHov5rJHIr65atSlXrX6mvLrjLA9pasVItucuaMRgfjGn9+Yelsq0lHDNm5O3LjmMbCcdJGnb8ipFIWjHTMsxh"
        "xzGchFW0TWNAlT/H4EO+i/9SlufivwHfY1Xx"
    )
)
CHUNKS_OF = """
import sys
from pathlib import Path
import msgspec
from loader.chunks import CHUNK_ROWS
from loader.errors import FileRejected
from loader.sources import Files

for path in sys.argv[1:]:
    bytes_, fault = 0, None
    try:
        for chunk in Files([path]).chunks(CHUNK_ROWS):
            bytes_ += len(chunk.data)
    except FileRejected as rejected:
        fault = rejected.error.reason
    status = Path("/proc/self/status").read_text()
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    print(msgspec.json.encode({"bytes": bytes_, "fault": fault, "peak_mb": peak_kb // 1024}).decode())
"""


def bomb(kind: str, first: bytes, then: bytes, times: int = 300) -> bytes:
    """Members one after the other, each of which holds the same."""
    pack = PACK[kind]
    return pack(first) + pack(then) * times


def rejection_of(path: Path) -> str:
    with pytest.raises(FileRejected) as rejected:
        for _ in Files([path]).chunks(200_000):
            pass
    return rejected.value.error.reason


@pytest.fixture(scope="module")
def read_endless(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """What a process makes of each of ENDLESS, packed either way; `peak_mb` is of all up to it."""
    folder = tmp_path_factory.mktemp("endless")
    paths = {(what, kind): folder / f"{what}.{kind}" for what in ENDLESS for kind in PACK}
    for (what, kind), path in paths.items():
        path.write_bytes(bomb(kind, *ENDLESS[what]))
    program = [sys.executable, "-c", CHUNKS_OF, *map(str, paths.values())]
    lines = subprocess.run(program, capture_output=True, check=True, timeout=300).stdout.splitlines()
    found = {name: msgspec.json.decode(line) for name, line in zip(paths, lines, strict=True)}
    return {name: {**found[name], "stored": path.stat().st_size} for name, path in paths.items()}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("what", ENDLESS)
def test_what_expands_without_end_is_read_no_further_than_it_may_go(
    what: str, kind: str, read_endless: dict[tuple[str, str], dict[str, Any]]
) -> None:
    found = read_endless[what, kind]
    stored = found["stored"]
    limit = max(EXPANDED_BYTES_FREE, EXPANSION_MAX * stored)
    assert found["peak_mb"] < 200
    assert found["bytes"] <= limit
    if "zeros" in what:
        assert found["fault"].startswith("the line is longer than 65,536 bytes; expected a row of ")
    elif what == "members without content":
        assert found["fault"] == "no rows: there is nothing below the header"
    else:
        assert found["bytes"] > limit - 100
        assert found["fault"] == (
            f"the {kind} stream of {stored:,} bytes expands to more than {limit:,};"
            " expected 200 times its size at most"
        )


@pytest.mark.parametrize("kind", PACK)
def test_where_it_is_cut_off_does_not_depend_on_the_blocks_it_comes_in(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a load from disk and workers that read the bucket could not share a batch."""
    monkeypatch.setattr(compression, "EXPANDED_BYTES_FREE", 100_000)
    path = tmp_path / "prices"
    path.write_bytes(PACK[kind](HEADER + ROW * 10_000))
    limit = max(100_000, EXPANSION_MAX * path.stat().st_size)
    for block_bytes in (100, 1000, 256 * 1024):
        monkeypatch.setattr(compression, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr("loader.formats.lines.BLOCK_BYTES", block_bytes * 3 + 1)
        with pytest.raises(FileRejected) as rejected:
            list(Files([path]).chunks(200_000))
        assert rejected.value.error.line == 2 + (limit - len(HEADER)) // len(ROW)


def test_a_bomb_within_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    for outer, inner in [("gzip", "zstd"), ("zstd", "gzip"), ("gzip", "gzip"), ("zstd", "zstd")]:
        path.write_bytes(PACK[outer](bomb(inner, HEADER, bytes(MB))))
        assert rejection_of(path) == "the file is compressed twice; expected it to be once at most"


def regular_prices() -> pl.DataFrame:
    """A quote a day and lane at a price that changes once a month, in order: as regular as prices get."""
    lanes = pl.DataFrame({"orig_code": CODES}).join(pl.DataFrame({"dest_code": CODES}), how="cross")
    days = pl.DataFrame({"number": pl.int_range(71_000, dtype=pl.Int32, eager=True)})
    month, lane = pl.col("number") // 30, pl.struct("orig_code", "dest_code")
    return lanes.join(days, how="cross").select(
        "orig_code",
        "dest_code",
        day=(pl.lit(FIRST_DAY) + pl.duration(days="number")).cast(pl.Date),
        price=(1000 + pl.struct(lane, month).hash() % 500).cast(pl.Int32),
    )


@pytest.mark.parametrize("kind", ["gzip", "zstd", "parquet"])
def test_a_batch_that_compresses_well_goes_in(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "prices"
    prices = regular_prices()
    content = prices.write_csv().encode()
    assert len(content) > EXPANDED_BYTES_FREE
    if kind == "parquet":
        prices.write_parquet(path)
    else:
        path.write_bytes(gzip.compress(content, 1) if kind == "gzip" else zstd.compress(content))
    assert len(content) > 8 * path.stat().st_size
    chunks = [chunk.columns() for chunk in Files([path]).chunks(1_000_000)]
    assert sum(chunk.height for chunk in chunks if chunk is not None) == prices.height


def test_what_is_little_may_expand_as_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    path.write_bytes(gzip.compress(HEADER + ROW * 1_000_000))
    assert path.stat().st_size * EXPANSION_MAX < len(ROW) * 1_000_000 < EXPANDED_BYTES_FREE
    assert len(list(Files([path]).chunks(200_000))) == 5


# --- Parquet -----------------------------------------------------------------------------------------------


def test_billions_of_equal_rows_are_refused_before_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    path.write_bytes(parquet_bomb(2_000_000, 1_000))
    stored = path.stat().st_size
    limit = 2_000 * stored
    assert limit < 1_000_000_000
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == 2_000_000_000
    reason = (
        f"the Parquet file of {stored:,} bytes expands to more than {limit:,};"
        " expected 2,000 times its size at most"
    )
    assert rejection_of(path) == reason
    unread = pl.LazyFrame({"price": ["7"]}).map_batches(lambda _: pytest.fail("it is read"))
    with pytest.raises(Fault, match=reason):
        next(parts_of(unread, 2_000_000_000, 200_000, stored))


def test_few_rows_of_much_are_refused_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    long = pl.DataFrame({"orig_code": "x" * 60_000, "dest_code": "NLRTM", "day": "2021-01-01", "price": 7})
    pl.concat([long] * 5_000).write_parquet(path, statistics=False)
    assert "expands to more than 67,108,864" in rejection_of(path)


def test_rows_of_nothing_count_too(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    nothing = pl.repeat(None, 17_000_000, dtype=pl.Int8, eager=True)
    day = nothing.cast(pl.Date)
    frame = pl.DataFrame({"price": nothing, "day": day}).with_columns(
        orig_code=pl.lit(None, pl.String), dest_code=pl.lit(None, pl.String)
    )
    frame.write_parquet(path, row_group_size=frame.height, statistics=False)
    assert "expands to more than 67,108,864" in rejection_of(path)


def test_a_page_of_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    path.write_bytes(HUGE_PAGE)
    assert rejection_of(path) == ("the Parquet file is damaged, or takes more than 512 MB of memory to read")


def test_parquet_within_gzip_may_not_expand_twice_as_far(tmp_path: Path) -> None:
    path = tmp_path / "prices"
    inner = parquet_bomb(1_000_000, 10)
    path.write_bytes(gzip.compress(inner))
    stored = path.stat().st_size
    assert f"the Parquet file of {stored:,} bytes expands" in rejection_of(path)


# --- as a batch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_that_was_accepted_is_rejected_with_its_reason(
    kind: str,
    ports: Database,
    connection: psycopg.Connection,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compression, "EXPANDED_BYTES_FREE", 100_000)
    content = bomb(kind, HEADER, ROW * 4000, times=100)
    limit = max(100_000, EXPANSION_MAX * len(content))
    manifest = accept(bucket, content)
    batch = open_small(connection, manifest, 100_000)
    plan(connection, bucket, manifest, sent := Sent())
    whole, rest = divmod((limit - len(HEADER)) // len(ROW), 100_000)
    assert len(sent) == whole + (rest > 0)
    assert do_all(connection, ports, bucket, batch) == "rejected"
    assert ports.rows("SELECT line, reason FROM batch_errors") == [
        (
            2 + (limit - len(HEADER)) // len(ROW),
            f"the {kind} stream of {len(content):,} bytes expands to more than {limit:,};"
            " expected 200 times its size at most",
        )
    ]
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_dump_that_expands_without_end_is_rejected_before_a_chunk(
    ports: Database, connection: psycopg.Connection, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "EXPANDED_BYTES_FREE", 100_000)
    text = dump_text()
    begin = text[: text.index("COPY public.regions")].removesuffix("\\.\n\n").encode()
    content = bomb("gzip", begin, b"CNSGH\tNLRTM\t2021-01-01\t7\n" * 4000)
    manifest = accept(bucket, content)
    batch = plan(connection, bucket, manifest, sent := Sent())
    assert batch is not None
    assert sent == []
    assert do_all(connection, ports, bucket, batch) == "rejected"
    ((reason,),) = ports.rows("SELECT reason FROM batch_errors")
    assert "expands to more than" in reason


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("PLACES_MAX", "more than 1 regions and ports"), ("SECTIONS_MAX", "more than 1 times rows of prices")],
)
def test_a_dump_holds_no_more_in_memory_than_it_may(
    limit: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"loader.dump.{limit}", 1)
    path = tmp_path / "dump.sql"
    text = dump_text()
    path.write_text(text + text[text.index("COPY public.prices") : text.index("COPY public.regions")])
    with pytest.raises(FileRejected, match=f"{reason}$"):
        Dump(path)
