"""The first stage for files: what is told of them by content, which are refused and why, how they are cut."""

import gzip
import os
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.check import Ports, check
from loader.chunks import COLUMNS, Chunk, FaultChunk
from loader.errors import FileRejected, RowError, UsageError
from loader.formats.compression import zstd
from loader.formats.delimited import FAULTS_SHOWN
from loader.formats.lines import BYTE_ORDER_MARK, LINE_BYTES_MAX
from loader.formats.ndjson import NdjsonChunk
from loader.sources import Files
from tests.examples import examples
from tests.loader.batches import CODES, make_rows, write_csv

PORTS = Ports(set(CODES))
# The same in each process that collects these tests.
A_GZIP = gzip.compress(b"a", mtime=0)
EXPECTED = "expected orig_code,dest_code,day,price in any order"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def chunks_of(*paths: Path, rows_max: int = 1000) -> list[Chunk]:
    return list(Files(list(paths)).chunks(rows_max))


def rejection_of(*paths: Path) -> RowError:
    with pytest.raises(FileRejected) as rejected:
        chunks_of(*paths)
    return rejected.value.error


@pytest.mark.parametrize(
    "content",
    [
        b"orig_code,dest_code,day,price\nCNSGH,NLRTM,2021-01-02,7\n",
        b"orig_code,dest_code,day,price\nCNSGH,NLRTM,2021-01-02,7",
        b"orig_code,dest_code,day,price\r\nCNSGH,NLRTM,2021-01-02,7\r\n",
        b"orig_code,dest_code,day,price\r\nCNSGH,NLRTM,2021-01-02,7",
        b"\xef\xbb\xbforig_code,dest_code,day,price\r\nCNSGH,NLRTM,2021-01-02,7\r\n",
        b"price,day,orig_code,dest_code\n7,2021-01-02,CNSGH,NLRTM\n",
        b'"day","dest_code","price","orig_code"\n"2021-01-02","NLRTM","7","CNSGH"\n',
        b'\xef\xbb\xbf"dest_code",orig_code , day,"price"\nNLRTM,CNSGH,2021-01-02,7\n',
    ],
)  # fmt: skip
def test_a_file_is_read_whatever_its_order_of_columns_and_its_ends_of_lines(
    content: bytes, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(write(tmp_path / "prices.csv", content))
    checked = check(chunk, PORTS)
    assert [(orig, dest, str(day), price) for orig, dest, day, price in checked.prices.rows()] == [
        ("CNSGH", "NLRTM", "2021-01-02", 7)
    ]


@pytest.mark.parametrize("content", [b"", BYTE_ORDER_MARK, gzip.compress(b"", mtime=0)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_empty_one_of_several_files_is_refused_by_its_name(
    place: int, content: bytes, tmp_path: Path
) -> None:
    files = [write_csv(tmp_path / f"{number}.csv", make_rows(5, seed=number)) for number in range(2)]
    files.insert(place, write(tmp_path / "empty.csv", content))
    with pytest.raises(FileRejected, match=r"/empty\.csv:1: the file is empty; expected orig_code"):
        list(Files(files).chunks(10))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", f"the file is empty; {EXPECTED}"),
        (b"\n", "the header lacks orig_code, lacks dest_code, lacks day, lacks price"),
        (b"orig_code,dest_code,day\n", "the header lacks price"),
        (b"orig_code,dest_code,day,price,note\n", "the header has 'note', which is not a column"),
        (b"orig_code,dest_code,day,price,day\n", "the header has day twice"),
        (b"orig_code,dest_code,day,price,\n", "the header has '', which is not a column"),
        (b"ORIG,dest_code,day,price\n", "the header lacks orig_code, has 'ORIG', which is not a column"),
        (b"orig_code:dest_code:day:price\n", "has 'orig_code:dest_code:day:price', which is not a column"),
        (b"orig_code;dest_code;day;preis\n", "the header parted by semicolons lacks price, has 'preis'"),
        (b"day\tdest_code\tprice\n", "the header parted by tabs lacks orig_code"),
        (b"orig_code|dest_code|day|price|\n", "the header parted by bars has '', which is not a column"),
        (b"CNSGH,NLRTM,2021-01-01,7\n", "the header lacks orig_code, lacks dest_code, lacks day, lacks"),
        (b"orig_code,dest_code,day,price\rCNSGH,NLRTM,2021-01-01,7\r", "has a carriage return inside"),
        ("orig_code,dest_code,day,price,fr\u00e9t\n".encode("cp1252"), "the header is not UTF-8: invalid"),
    ],
)  # fmt: skip
def test_a_wrong_header_is_refused_with_what_is_off(content: bytes, reason: str, tmp_path: Path) -> None:
    error = rejection_of(write(tmp_path / "prices.csv", content))
    assert (error.file, error.line, error.column) == (str(tmp_path / "prices.csv"), 1, None)
    assert reason in error.reason
    assert EXPECTED in error.reason


def test_what_is_off_about_a_header_of_thousands_of_columns_is_still_short(tmp_path: Path) -> None:
    names = ",".join(f"column {number} {'x' * 100}" for number in range(500))
    error = rejection_of(write(tmp_path / "prices.csv", names.encode() + b"\n"))
    assert error.reason.count("lacks") + error.reason.count("is not a column") == FAULTS_SHOWN
    assert len(error.reason) < 1000


def test_a_file_of_no_rows_is_refused(tmp_path: Path) -> None:
    error = rejection_of(write_csv(tmp_path / "prices.csv", []))
    assert error.reason == "no rows: there is nothing below the header"


def test_files_of_no_rows_are_refused_together_and_welcome_beside_one_with_rows(tmp_path: Path) -> None:
    empty, other = write_csv(tmp_path / "empty.csv", []), write_csv(tmp_path / "other.csv", [])
    assert rejection_of(empty, other).reason.startswith("no rows")
    full = write_csv(tmp_path / "full.csv", make_rows(3))
    (chunk,) = chunks_of(empty, full, other)
    assert chunk.file == str(full)


def test_each_file_has_its_own_header_and_counts_its_own_lines(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "first.csv", make_rows(5))
    second = write(
        tmp_path / "second.csv",
        b"\xef\xbb\xbfday,price,dest_code,orig_code\n2021-01-02,7,NLRTM,CNSGH\n2021-01-02,x,NLRTM,CNSGH\n",
    )
    chunks = chunks_of(first, second, rows_max=2)
    assert [(Path(chunk.file).name, chunk.first_line) for chunk in chunks] == [
        ("first.csv", 2),
        ("first.csv", 4),
        ("first.csv", 6),
        ("second.csv", 2),
    ]
    (error,) = check(chunks[-1], PORTS).errors
    assert (error.file, error.line, error.column, error.value) == (str(second), 3, "price", "x")


def test_the_chunks_hold_all_rows_in_order_and_all_but_the_last_are_full(tmp_path: Path) -> None:
    rows = make_rows(25)
    path = write_csv(tmp_path / "prices.csv", rows)
    chunks = chunks_of(path, rows_max=10)
    checked = [check(chunk, PORTS) for chunk in chunks]
    assert [one.row_count for one in checked] == [10, 10, 5]
    assert [row for one in checked for row in one.prices.rows()] == rows
    assert chunks == chunks_of(path, rows_max=10), "the same content must always be cut the same"


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_line_without_an_end_fills_no_memory(at: int, tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "prices.csv", make_rows(8)).read_bytes().splitlines(keepends=True)
    lines[at] = b"x" * (LINE_BYTES_MAX + 1) + b"\n"
    error = rejection_of(write(tmp_path / "prices.csv", b"".join(lines)))
    assert error.line == at + 1
    assert error.reason.startswith(f"the line is longer than {LINE_BYTES_MAX:,} bytes")


def test_the_hash_is_the_contents_whatever_the_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", make_rows(3))
    same = write(tmp_path / "b.csv", path.read_bytes())
    other = write_csv(tmp_path / "c.csv", make_rows(3, seed=2))
    assert Files([path]).content_hash() == sha256(path.read_bytes()).digest()
    assert Files([same]).content_hash() == Files([path]).content_hash() != Files([other]).content_hash()
    assert len({Files(files).content_hash() for files in ([path, other], [other, path], [path])}) == 3


def test_a_fault_of_a_whole_file_is_the_same_under_another_name_of_the_file(tmp_path: Path) -> None:
    """A load that is resumed from another folder must not take it for other content."""
    error = rejection_of(write_csv(tmp_path / "prices.csv", []))
    again = RowError("./prices.csv", error.line, error.column, error.value, error.reason)
    other = RowError(error.file, error.line, error.column, error.value, "another reason")
    assert FaultChunk(error).content_hash == FaultChunk(again).content_hash
    assert FaultChunk(error).content_hash != FaultChunk(other).content_hash


# --- what is told by content --------------------------------------------------------------------------------


def contents(count: int = 20) -> dict[str, bytes]:
    """The same rows in each format."""
    frame = pl.DataFrame(make_rows(count), schema=list(COLUMNS), orient="row")
    parquet = BytesIO()
    frame.write_parquet(parquet)
    text = frame.with_columns(pl.col("day").cast(pl.String))
    return {
        "csv": text.write_csv().encode(),
        "ndjson": text.write_ndjson().encode(),
        "parquet": parquet.getvalue(),
    }


@pytest.mark.parametrize("name", ["prices.parquet", "prices.json.zst", "x"])
def test_what_a_name_promises_changes_nothing(name: str, tmp_path: Path) -> None:
    for content in contents().values():
        for stored in (content, gzip.compress(content, mtime=0), zstd.compress(content)):
            chunks = chunks_of(write(tmp_path / name, stored))
            assert [check(chunk, PORTS).prices.rows() for chunk in chunks] == [make_rows(20)]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf \r\n\t"])
def test_what_begins_with_a_brace_is_ndjson(before: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "prices", before + contents()["ndjson"])
    (chunk,) = chunks_of(path)
    assert isinstance(chunk, NdjsonChunk)
    blank = before.count(b"\n")
    assert [read.line for read in chunk.rows() if read.fault is None] == list(range(1 + blank, 21 + blank))


@pytest.mark.parametrize("line", [b"sep=;\n", b"sep=;\r\n", b'"sep=;"\n', b"SEP=;\n"])
def test_a_line_that_tells_the_separator_is_passed_over_and_counted(line: bytes, tmp_path: Path) -> None:
    rows = b"CNSGH;NLRTM;2021-01-02;7\nCNSGH;NLRTM;2021-01-02;7,5\n"
    path = write(tmp_path / "prices.csv", line + b"orig_code;dest_code;day;price\n" + rows)
    (chunk,) = chunks_of(path)
    (error,) = check(chunk, PORTS).errors
    assert (error.line, error.column, error.value) == (4, "price", "7,5")
    path.write_bytes(line + b"orig_code;dest_code;day\n")
    assert rejection_of(path).line == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(A_GZIP, mtime=0), "the file is compressed twice; expected it to be once at most"),
        (zstd.compress(A_GZIP), "the file is compressed twice; expected it to be once at most"),
        (gzip.compress(b"PK\x03\x04", mtime=0), "the file is a ZIP archive inside gzip; unpack it and load"),
        (b"\x1f\x8b\x08", "the gzip stream ends early"),
        (b"\x1f\x8b\x09\0\0\0\0\0\0\0", "the gzip stream is damaged: Error -3 while decompressing data"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 20, "the zstd stream is damaged: Unable to decompress"),
        (b"PAR1", "the Parquet file cannot be read: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_what_it_is(content: bytes, reason: str, tmp_path: Path) -> None:
    error = rejection_of(write(tmp_path / "prices.csv", content))
    assert (error.file, error.line, error.column) == (str(tmp_path / "prices.csv"), 1, None)
    assert error.reason.startswith(reason)


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_where_a_compressed_file_ends_early_is_told_by_line(
    kind: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    lines = contents()[kind].splitlines(keepends=True)
    stored = compress(b"".join(lines[:8])) + compress(b"".join(lines[8:]))[:10]
    chunks = Files([write(tmp_path / "prices", stored)]).chunks(3)
    good = [next(chunks) for _ in range(2)]
    assert sum(len(list(chunk.rows())) for chunk in good) == 6
    with pytest.raises(FileRejected) as rejected:
        list(chunks)
    assert (rejected.value.error.line, rejected.value.error.column) == (9, None)
    assert rejected.value.error.reason.endswith("stream ends early")


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_compressed_parquet_that_ends_early_is_told(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    error = rejection_of(write(tmp_path / "prices", compress(contents(5000)["parquet"])[:-10]))
    assert (error.line, error.reason.removeprefix("the ")[5:]) == (1, "stream ends early")


starts = st.sampled_from([
    b"", b"", b"orig_code,dest_code,day,price\n", b"price,day,orig_code,dest_code\r\n", b"{", b"{}\n",
    b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n', b"\xef\xbb\xbf", b"\xff\xfe",
    b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\n", b"PK\x03\x04",
])  # fmt: skip
parts = st.sampled_from([
    b"CNSGH,NLRTM,2021-01-01,7\n", b"x,y\n", b"\n", b"\r", b'"', b"\0", b"\xff", b"{}", b"a" * 300 + b"\n",
    b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n',
])  # fmt: skip


@settings(
    max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.tuples(starts, st.lists(parts | st.binary(max_size=8), max_size=12).map(b"".join)),
    compress=st.sampled_from([bytes, gzip.compress, zstd.compress]),
    spoilt=st.none() | st.integers(0, 10_000),
    rows_max=st.integers(1, 5),
)
def test_whatever_the_bytes_are_it_is_chunks_or_a_reason(
    pieces: tuple[bytes, bytes],
    compress: Callable[[bytes], bytes],
    spoilt: int | None,
    rows_max: int,
    tmp_path: Path,
) -> None:
    content = b"".join(pieces)
    stored = bytearray(compress(content))
    if spoilt is not None and stored:
        stored[spoilt % len(stored)] ^= 1 << spoilt % 8
    path = write(tmp_path / "prices", bytes(stored))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loader.formats.lines.LINE_BYTES_MAX", 256)
        first, second = read_or_reason(path, rows_max), read_or_reason(path, rows_max)
    assert first == second, "the same content is always cut the same"
    chunks, reason = first
    if reason is None and spoilt is None:
        text = content.removeprefix(b"\xef\xbb\xbf")
        lines = text.split(b"\n")
        lines = lines[:-1] if lines[-1] == b"" else lines
        lines = lines if text.lstrip(b" \t\r\n").startswith(b"{") else lines[1:]
        found = [read.text for chunk in chunks for read in chunk.rows()]
        assert found == [line.removesuffix(b"\r").decode(errors="backslashreplace") for line in lines]
    for chunk in chunks:
        check(chunk, PORTS)


def read_or_reason(path: Path, rows_max: int) -> tuple[list[Chunk], str | None]:
    chunks = []
    try:
        chunks.extend(Files([path]).chunks(rows_max))
    except FileRejected as rejected:
        return chunks, str(rejected)
    return chunks, None


# --- what is on the disk -----------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/none\.csv: No such file or directory$"):
        Files([write_csv(tmp_path / "a.csv", []), tmp_path / "none.csv"])


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(1))
    forbid_reading(path, monkeypatch)
    with pytest.raises(UsageError, match=r"/prices\.csv: Permission denied$"):
        Files([path])


def test_a_file_named_twice_is_refused_by_whatever_names(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(1))
    (tmp_path / "again.csv").symlink_to(path)
    for other in (path, tmp_path / "again.csv"):
        with pytest.raises(UsageError, match=r"the file is named twice; its rows would count twice$"):
            Files([path, other])


def test_a_file_that_grows_while_it_is_read_is_rejected(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(5))
    chunks = Files([path]).chunks(2)
    next(chunks)
    with path.open("a") as stream:
        stream.write("CNSGH,NLRTM,2021-01-01,7\n")
    assert "changed while it was being loaded" in reason_at_the_end(chunks)


def test_a_file_that_is_replaced_between_hash_and_reading_is_rejected(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(5))
    files = Files([path])
    files.content_hash()
    write_csv(tmp_path / "new.csv", make_rows(5, seed=2)).replace(path)
    assert "changed while it was being loaded" in reason_at_the_end(files.chunks(2))


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_fault_of_a_file_that_changed_is_that_it_changed(kind: str, tmp_path: Path) -> None:
    """What is written over is seen in halves: a line cut in two, or a schema without its rows."""
    path = write(tmp_path / "prices", contents()[kind])
    files = Files([path])
    path.write_bytes(path.read_bytes()[:-20] + b"\xff" * 100_000)
    assert "changed while it was being loaded" in reason_at_the_end(files.chunks(2))


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(5))
    chunks = Files([path]).chunks(2)
    next(chunks)
    path.unlink()
    assert len(list(chunks)) == 2


def test_a_file_that_vanishes_before_it_is_read_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(5))
    files = Files([path])
    path.unlink()
    with pytest.raises(UsageError, match=r"/prices\.csv: No such file or directory$"):
        files.content_hash()
    with pytest.raises(UsageError, match=r"/prices\.csv: No such file or directory$"):
        next(files.chunks(2))


def reason_at_the_end(chunks: Iterator[Chunk]) -> str:
    with pytest.raises(FileRejected) as rejected:
        list(chunks)
    return rejected.value.error.reason


def forbid_reading(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read what it likes, so that for root the answer of the system is made up."""
    path.chmod(0)
    if os.geteuid() == 0:
        real_open = Path.open

        def denied(self: Path, mode: str) -> object:
            if not stat.S_IMODE(self.stat().st_mode):
                raise PermissionError(13, "Permission denied", str(self))
            return real_open(self, mode)

        monkeypatch.setattr(Path, "open", denied)
