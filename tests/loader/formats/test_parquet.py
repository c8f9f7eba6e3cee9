"""Parquet: which columns of which types are read, how they are spelled; a damaged file is but a fault."""

import base64
import signal
import zlib
from collections.abc import Generator, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import polars as pl
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.chunks import CHUNK_BYTES_MAX, COLUMNS
from loader.errors import FileRejected, LoaderError, RowError
from loader.faults import DAY_REASON
from loader.formats.lines import LINE_BYTES_MAX
from loader.formats.parquet import PROGRAM, ParquetChunk, parquet_chunks
from loader.formats.parquet_process import as_text
from tests.examples import examples
from tests.loader.judged_by_rows import parse_day
from tests.waiting import wait_until

GOOD = pl.DataFrame(
    {
        "orig_code": ["CNSGH", "NLRTM", "SEGVX"],
        "dest_code": ["NLRTM", "CNSGH", "CNSGH"],
        "day": [date(2021, 1, 1), date(2021, 1, 2), date(2021, 1, 3)],
        "price": [7, 8, 2**31],
    }
)
SPELLED = [
    ("CNSGH", "NLRTM", "2021-01-01", "7"),
    ("NLRTM", "CNSGH", "2021-01-02", "8"),
    ("SEGVX", "CNSGH", "2021-01-03", "2147483648"),
]
EPOCH = date(1970, 1, 1)
DAY_TYPES = "expected Date, Datetime (UTC or without a zone) or String"
PRICE_TYPES = "expected an integer, Decimal without a fraction or String"
# One byte of a file of two rows is wrong: Polars 2.1 asks for 2 exabytes of memory and ends its process.
ENDS_POLARS = zlib.decompress(
    base64.b64decode(
        "eNqFVF1v0lAYPrQFMcGELDsnkPSiF6PZoplQQaiJFwcYXzIEZJssJqZQylCkpOCQ/Yz9BrOfsJhd+wP8FbvwykQvduGF5z0t"
        "VbOEnVDej+fp0+d9+WjSdgpLeAtv1VlACAXZVWi8KlcgadTbnX2M8AbeeMTgKA7hEEICQ6RAQBRwJJ5BoWg8dt92RsO3fdsc"
        "YEQk4hBHLalhdEuY6/lPWAk/WCNsDmbz/4VvAupVAKTDOFzHAkh/rSDExKI4esslErHgaYmmseQqHdJRz0X1hwAqClY8g/eQ"
        "e8JeXDO35EkGp86o71qbkIl6Kam/RRSXSQmnCSOz7Cbgp+ci1rz0UnK7zNubiuTY9hyzbUUSwj+bTKC6DBTe9dew6gqsCwMl"
        "IvUx1BKrXTfMTFyO19UvAfmuz4dcBPEmUr8L8t0LJ1dBTJB6LcrrFkq+cdbnoLx+R+QaeORCJJIaZmET1hKL0Hb75dGzWf9k"
        "8MGI/RIew1mk85TSPXbR3CmrP7WoW/PWC0pntMBjiz5sAn8B/SqlQ48H/AIv+nSl5L6/Bv6SQ1y04EJuYEcHPMnTvIfXgMpi"
        "ietVatOudgDIAVit+kzKU9oaekrFp4CzpExpFyhF6B6XSxm6X2RIrvvXGr8nX1qZcPGayz88M0v6u57WHkOd5f4X/k1l1/8B"
        "nydfheewuOfNtXD1mmegx/dSgKnL+tI4Mq2upr8/btHnKNZo2mPDmSnb0+X8xJ7sKKcDZzayJ4q2m9pNKtu9j6OxqWQtPan1"
        "zCeWZWpZy8ppZiqtZXNGUjc0PWNZmpU1Bqau7cThC+u/0E/2K2qyP50/kZ7m7Q=="
    )
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.parquet"


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    yield
    assert readers() == []


def readers() -> list[psutil.Process]:
    """The processes that read Parquet for this one, which may have others too."""
    return [child for child in psutil.Process().children() if PROGRAM in child.cmdline()]


def read(path: Path, rows_max: int = 1000) -> list[ParquetChunk]:
    with path.open("rb") as file:
        return [chunk for chunk, _ in parquet_chunks(file, path.name, rows_max, path.stat().st_size)]


def read_frame(frame: pl.DataFrame, path: Path, rows_max: int = 1000) -> list[ParquetChunk]:
    frame.write_parquet(path)
    return read(path, rows_max)


def rejection_of(path: Path, rows_max: int = 1000) -> RowError:
    with pytest.raises(FileRejected) as rejected:
        read(path, rows_max)
    return rejected.value.error


def columns_of(chunk: ParquetChunk) -> list[tuple]:
    found = chunk.columns()
    assert found is not None
    assert found.schema == dict.fromkeys(COLUMNS, pl.String)
    assert [tuple(read.fields.values()) for read in chunk.rows()] == found.rows()
    return found.rows()


@pytest.mark.parametrize(
    "frame",
    [
        GOOD,
        GOOD.select(reversed(GOOD.columns)),
        GOOD.cast(pl.String),
        GOOD.with_columns(pl.col("orig_code").cast(pl.Categorical), pl.col("price").cast(pl.UInt64)),
        GOOD.cast({"dest_code": pl.Enum(["NLRTM", "CNSGH"]), "price": pl.UInt32}),
        GOOD.cast(pl.String).cast(pl.Binary),
        GOOD.cast({"day": pl.Datetime("ms"), "price": pl.Decimal(10, 0)}),
        GOOD.cast({"day": pl.Datetime("us", "UTC"), "price": pl.Int128}),
        GOOD.cast({"day": pl.Datetime("ns"), "price": pl.Decimal(38, 0)}),
    ],
    ids=[
        "as it is", "in another order", "all text", "categories", "an enum", "binary", "milliseconds",
        "microseconds in UTC", "nanoseconds",
    ],
)  # fmt: skip
def test_columns_of_other_types_that_say_the_same_are_read_the_same(frame: pl.DataFrame, path: Path) -> None:
    (chunk,) = read_frame(frame, path)
    assert columns_of(chunk) == SPELLED
    assert chunk.content_hash == ParquetChunk("other", 5, GOOD.cast(pl.String)).content_hash


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_rows_are_cut_and_numbered_whatever_their_groups(row_group_size: int, path: Path) -> None:
    frame = pl.concat([GOOD] * 10)
    frame.write_parquet(path, row_group_size=row_group_size)
    with path.open("rb") as file:
        found = [
            (chunk, share) for chunk, share in parquet_chunks(file, "a.parquet", 12, path.stat().st_size)
        ]
    assert [(chunk.first_line, chunk.text.height, share) for chunk, share in found] == [
        (1, 12, 0.4),
        (13, 12, 0.8),
        (25, 6, 1.0),
    ]
    assert [row for chunk, _ in found for row in columns_of(chunk)] == SPELLED * 10
    assert [row.line for chunk, _ in found for row in chunk.rows()] == list(range(1, 31))


def test_a_file_of_no_rows_has_no_chunk(path: Path) -> None:
    assert read_frame(GOOD.clear(), path) == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (GOOD.drop("price"), "lacks price"),
        (GOOD.with_columns(note=pl.lit("x")), "has 'note', which is not a column"),
        (GOOD.rename({"day": "Day"}), "lacks day, has 'Day', which is not a column"),
        (GOOD.with_columns(rejected_file=pl.lit("x")), "has 'rejected_file', which is not a column"),
        (GOOD.cast({"price": pl.Float64}), f"has price as Float64, {PRICE_TYPES}"),
        (
            GOOD.with_columns(price=pl.lit(Decimal("7.00"))),
            f"has price as Decimal(precision=38, scale=2), {PRICE_TYPES}",
        ),
        (GOOD.cast({"price": pl.Boolean}), f"has price as Boolean, {PRICE_TYPES}"),
        (
            GOOD.cast({"day": pl.Datetime("us", "Asia/Shanghai")}),
            f"has day as Datetime(time_unit='us', time_zone='Asia/Shanghai'), {DAY_TYPES}",
        ),
        (
            GOOD.with_columns(day=pl.lit(18628), dest_code=pl.lit(5)),
            f"has dest_code as Int32, expected String, has day as Int32, {DAY_TYPES}",
        ),
        (GOOD.with_columns(price=pl.lit([7])), f"has price as List(Int64), {PRICE_TYPES}"),
    ],
    ids=str,
)  # fmt: skip
def test_columns_that_are_not_the_four_are_named_with_what_is_off(
    frame: pl.DataFrame, reason: str, path: Path
) -> None:
    frame.write_parquet(path)
    error = rejection_of(path)
    expected = "expected orig_code,dest_code,day,price in any order"
    assert (error.file, error.line, error.column) == ("prices.parquet", 1, None)
    assert error.reason == f"the schema {reason}; {expected}"


def test_values_that_are_missing_or_strange_are_left_to_the_rules(path: Path) -> None:
    frame = GOOD.with_columns(
        pl.Series("orig_code", ["CNSGH", None, "a\0b"]),
        pl.Series("day", [date(2021, 1, 1), date(9999, 12, 31), None]),
        pl.Series("price", [None, -5, 0], dtype=pl.Int8),
    )
    (chunk,) = read_frame(frame, path)
    assert chunk.columns() is None
    first, second, third = chunk.rows()
    assert first.fields == {
        "orig_code": "CNSGH", "dest_code": "NLRTM", "day": "2021-01-01", "price": None
    }  # fmt: skip
    assert first.text == "CNSGH,NLRTM,2021-01-01,"
    assert second.fields == {"orig_code": None, "dest_code": "CNSGH", "day": "9999-12-31", "price": "-5"}
    assert third.fault == ("orig_code", None, "a NUL character in it")


def test_a_day_that_nobody_can_spell_is_told_by_its_number(path: Path) -> None:
    days = pl.Series("day", [2**31 - 1, -(2**31), 18628], dtype=pl.Int32).cast(pl.Date)
    (chunk,) = read_frame(GOOD.with_columns(days), path)
    assert chunk.text["day"].to_list() == [
        "day 2147483647 from 1970-01-01", "day -2147483648 from 1970-01-01", "2021-01-01"
    ]  # fmt: skip


@given(
    numbers=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-40_000, 40_000), min_size=1),
    unit=st.sampled_from(["ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC"]),
    at_midnight=st.booleans(),
)
@settings(max_examples=examples(300), deadline=None)
def test_a_time_is_its_day_at_midnight_alone(
    numbers: list[int | None], unit: Literal["ms", "us", "ns"], zone: str | None, at_midnight: bool
) -> None:
    a_day = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}[unit]
    if at_midnight:
        numbers = [None if number is None else number // a_day * a_day for number in numbers]
        numbers = [number if number is None or number >= -(2**63) else 0 for number in numbers]
    times = pl.DataFrame({"day": pl.Series(numbers, dtype=pl.Int64).cast(pl.Datetime(unit, zone))})
    texts = times.select(as_text("day", times.schema["day"]))["day"].to_list()
    assert len(texts) == len(numbers)
    for number, text in zip(numbers, texts, strict=True):
        if number is None:
            assert text is None
            continue
        day, rest = divmod(number, a_day)
        spelled = EPOCH + timedelta(day) if -719_162 <= day <= 2_932_896 else None
        assert (text == str(spelled)) == (spelled is not None and not rest)
        assert parse_day(text) == (DAY_REASON if rest else parse_day(str(spelled)))


def test_bytes_that_are_no_text_are_told_by_row_and_column(path: Path) -> None:
    frame = GOOD.cast({"orig_code": pl.Binary, "price": pl.String}).cast({"price": pl.Binary})
    codes = pl.Series("orig_code", [b"CNSGH", b"CN\xff", None], dtype=pl.Binary)
    (chunk,) = read_frame(frame.with_columns(codes), path)
    first, second, third = (row.fields for row in chunk.rows())
    assert [first["orig_code"], second["orig_code"], third["orig_code"]] == [
        "CNSGH", "not UTF-8: 0x434eff", None
    ]  # fmt: skip
    assert third["price"] == "2147483648"


def test_a_null_an_empty_value_and_quotes_are_each_other_content() -> None:
    text = GOOD.cast(pl.String)
    hashes = {
        ParquetChunk("a", 1, text.with_columns(orig_code=pl.lit(value, pl.String))).content_hash
        for value in (None, "", "a", '"', '""', "a,b", 'a","b')
    }
    assert len(hashes) == 7


def test_the_text_of_a_row_is_a_line_of_csv(path: Path) -> None:
    (chunk,) = read_frame(GOOD.head(1).with_columns(orig_code=pl.lit('a"b,c')), path)
    assert [row.text for row in chunk.rows()] == ['"a""b,c",NLRTM,2021-01-01,7']


def test_long_rows_are_bounded_in_bytes_and_one_that_is_too_long_is_a_fault(path: Path) -> None:
    long = GOOD.head(1).cast(pl.String).with_columns(day=pl.lit("x" * (LINE_BYTES_MAX - 11)))
    per_chunk = CHUNK_BYTES_MAX // LINE_BYTES_MAX
    chunks = read_frame(pl.concat([long] * (per_chunk + 3)), path, rows_max=per_chunk + 2)
    assert [(chunk.first_line, chunk.text.height) for chunk in chunks] == [
        (1, per_chunk),
        (1 + per_chunk, 2),
        (3 + per_chunk, 1),
    ]
    too_long = long.with_columns(price=pl.lit("77"))
    pl.concat([long, long, too_long, long]).write_parquet(path)
    error = rejection_of(path)
    assert (error.line, error.reason) == (3, "the row is longer than 65,536 bytes")


# --- what is damaged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_ends_early_is_a_fault(share: float, path: Path) -> None:
    GOOD.write_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    error = rejection_of(path)
    assert error.line == 1
    assert error.reason.startswith("the Parquet file cannot be read: ")
    assert "\n" not in error.reason


def test_a_file_over_which_polars_ends_its_process_is_a_fault_too(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(ENDS_POLARS)
    error = rejection_of(path)
    assert (error.line, error.reason) == (
        1,
        "the Parquet file is damaged, or takes more than 512 MB of memory to read",
    )
    assert capfd.readouterr() == ("", "")


def test_a_file_over_which_polars_panics_has_the_same_fault_each_time(path: Path) -> None:
    """What Polars says of it numbers its tasks: read again, the fault would be another content."""
    GOOD.write_parquet(path)
    content = bytearray(path.read_bytes())
    three_values = content.rindex(b"\x15\x0c\x16\x06\x16") + 3  # as the last column's metadata counts them
    content[three_values] = 0
    path.write_bytes(content)
    assert rejection_of(path).reason == "the Parquet file cannot be read: it is damaged"


def test_a_file_that_is_damaged_further_on_is_a_fault_after_its_good_rows(path: Path) -> None:
    frame = pl.concat([GOOD.cast(pl.String)] * 100)
    frame.write_parquet(path, row_group_size=100, compression="uncompressed", statistics=False)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"CNSGH")
    content[at] = 0xFF
    path.write_bytes(content)
    with path.open("rb") as file:
        chunks = parquet_chunks(file, "a.parquet", 100, path.stat().st_size)
        assert [next(chunks)[0].text.height for _ in range(2)] == [100, 100]
        with pytest.raises(FileRejected) as rejected:
            next(chunks)
    assert rejected.value.error.line == 201
    assert "cannot be read" in rejected.value.error.reason


def test_a_process_that_somebody_ends_is_no_fault_of_the_file(path: Path) -> None:
    pl.concat([GOOD] * 50_000).write_parquet(path)
    with path.open("rb") as file:
        chunks = parquet_chunks(file, "a.parquet", 1000, path.stat().st_size)
        next(chunks)
        (process,) = readers()
        process.send_signal(signal.SIGKILL)
        with pytest.raises(LoaderError, match=r"^a\.parquet: the process that reads Parquet ended with -9;"):
            list(chunks)


def test_a_reader_that_leaves_early_ends_the_process(path: Path) -> None:
    pl.concat([GOOD] * 50_000).write_parquet(path)
    with path.open("rb") as file:
        chunks = parquet_chunks(file, "a.parquet", 1000, path.stat().st_size)
        next(chunks)
        assert isinstance(chunks, Generator)
        chunks.close()
        wait_until(lambda: readers() == [])
