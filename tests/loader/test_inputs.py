"""Wherever bytes come from, they give the same rows: a file, standard input, a pipe, an object in S3."""

from __future__ import annotations

import bz2
import gzip
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from loader import inputs
from loader.__main__ import EXIT_CODES
from loader.chunks import Chunk
from loader.dump import Dump
from loader.errors import FileRejected, UsageError
from loader.formats.compression import zstd
from loader.inputs import RANGE_BYTES, find_input
from loader.sources import Files
from local.object_storage import ACCESS_KEY_ID, HOST, REGION, SECRET_ACCESS_KEY, client
from local.postgres import free_port
from storage import clients
from storage.errors import ObjectMissing, StorageError, StorageMisconfigured, StorageUnavailable
from tests.loader.batches import make_rows

BUCKET = "batches"
ROWS = [(row.orig_code, row.dest_code, str(row.day), str(row.price)) for row in make_rows(40)]
FRAME = pl.DataFrame(ROWS, schema=["orig_code", "dest_code", "day", "price"], orient="row")
Origin = Callable[[bytes], str]


def as_parquet() -> bytes:
    content = BytesIO()
    FRAME.with_columns(pl.col("day").str.to_date(), pl.col("price").cast(pl.Int64)).write_parquet(content)
    return content.getvalue()


FORMATS = {
    "csv": FRAME.write_csv().encode(),
    "ndjson": FRAME.cast({"price": pl.Int64}).write_ndjson().encode(),
    "parquet": as_parquet(),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
    "zstd": lambda content: zstd.compress(content[:100]) + zstd.compress(content[100:]),
}


@pytest.fixture
def s3(storage_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with at_endpoint(storage_server, monkeypatch):
        s3 = client("s3", storage_server)
        s3.create_bucket(Bucket=BUCKET)
        yield s3


@contextmanager
def at_endpoint(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """The loader's storage is there for the time being, and it has a key for it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    clients.client.cache_clear()
    yield
    clients.client.cache_clear()


@pytest.fixture
def stdin() -> Iterator[Callable[[bytes], None]]:
    """Makes something the standard input of this process, through a pipe."""
    kept = os.dup(0)
    writers = []

    def feed(content: bytes) -> None:
        reading, writing = os.pipe()
        os.dup2(reading, 0)
        os.close(reading)
        writers.append(threading.Thread(target=write_all, args=(writing, content)))
        writers[-1].start()

    yield feed
    for writer in writers:
        writer.join()
    os.dup2(kept, 0)
    os.close(kept)


def write_all(pipe: int, content: bytes) -> None:
    with open(pipe, "wb") as stream:
        stream.write(content)


@pytest.fixture
def origin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Origin]:
    """Puts content somewhere and says by which address it is found; the name promises another format."""
    kind = request.param

    def put(content: bytes) -> str:
        path = tmp_path / "batch.txt"
        if kind == "disk":
            path.write_bytes(content)
        elif kind == "pipe":
            os.mkfifo(path)
            threads.append(threading.Thread(target=path.write_bytes, args=(content,)))
            threads[-1].start()
        elif kind == "stdin":
            request.getfixturevalue("stdin")(content)
            return "-"
        else:
            request.getfixturevalue("s3").put_object(Bucket=BUCKET, Key="batch.csv", Body=content)
            return f"s3://{BUCKET}/batch.csv"
        return str(path)

    threads: list[threading.Thread] = []
    yield put
    for thread in threads:
        thread.join()


each_origin = pytest.mark.parametrize("origin", ["disk", "pipe", "stdin", "s3"], indirect=True)


def exit_code(error: StorageError) -> int:
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


def rows_of(chunks: Iterable[Chunk]) -> list[tuple]:
    rows = []
    for chunk in chunks:
        text = chunk.columns()
        assert text is not None
        assert [tuple(read.fields.values()) for read in chunk.rows()] == text.rows()
        rows += text.rows()
    return rows


@each_origin
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_from_everywhere_gives_the_same_rows(
    kind: str, compression: str, origin: Origin
) -> None:
    stored = COMPRESSIONS[compression](FORMATS[kind])
    files = Files([origin(stored)])
    assert (files.size, files.position) == (len(stored), 0)
    assert files.content_hash() == sha256(stored).digest()
    chunks = list(files.chunks(15))
    assert rows_of(chunks) == ROWS
    assert files.position == files.size
    first_line = 2 if kind == "csv" else 1
    assert [chunk.first_line for chunk in chunks] == [first_line, first_line + 15, first_line + 30]
    again = files.chunks(15)
    assert [chunk.content_hash for chunk in again] == [chunk.content_hash for chunk in chunks]


@each_origin
def test_what_is_sent_by_mistake_is_told_from_everywhere(origin: Origin) -> None:
    address = origin(bz2.compress(FORMATS["csv"]))
    with pytest.raises(
        FileRejected, match=":1: the file is packed with bzip2; unpack it, or pack it with gzip"
    ):
        list(Files([address]).chunks(15))


@each_origin
def test_so_it_is_where_a_dump_is_expected(origin: Origin) -> None:
    address = origin(gzip.compress(tarfile_of(FORMATS["csv"])))
    with pytest.raises(FileRejected, match=":1: the file is a tar archive inside gzip; unpack it"):
        Dump(address)


def tarfile_of(content: bytes) -> bytes:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as stream:
        member = tarfile.TarInfo("prices.csv")
        member.size = len(content)
        stream.addfile(member, BytesIO(content))
    return archive.getvalue()


@each_origin
def test_much_is_read_from_everywhere_in_bounded_pieces(origin: Origin) -> None:
    content = FORMATS["csv"] + b"CNSGH,NLRTM,2021-01-01,7\n" * 800_000
    assert len(content) > 2 * RANGE_BYTES
    files = Files([origin(content)])
    positions = []
    rows = 0
    for chunk in files.chunks(100_000):
        text = chunk.columns()
        assert text is not None
        rows += text.height
        positions.append(files.position)
    assert rows == 800_040
    assert positions == sorted(positions)
    assert positions[0] < len(content) / 4
    assert files.content_hash() == sha256(content).digest()


def test_files_of_several_formats_and_places_are_one_batch(
    tmp_path: Path, s3: Any, stdin: Callable[[bytes], None]
) -> None:
    stored = [gzip.compress(FORMATS["csv"]), FORMATS["ndjson"], FORMATS["parquet"]]
    (tmp_path / "a").write_bytes(stored[0])
    s3.put_object(Bucket=BUCKET, Key="b c/ü.json", Body=stored[1])
    stdin(stored[2])
    files = Files([tmp_path / "a", f"s3://{BUCKET}/b c/ü.json", "-"])
    assert files.name == f"{tmp_path / 'a'}, s3://{BUCKET}/b c/ü.json, standard input"
    assert files.content_hash() == sha256(b"".join(sha256(one).digest() for one in stored)).digest()
    assert rows_of(files.chunks(15)) == ROWS * 3
    assert files.position == files.size == sum(map(len, stored))


# --- pipes -------------------------------------------------------------------------------------------------


def test_standard_input_of_a_process_is_read_by_either_name() -> None:
    program = (
        "import sys; from loader.sources import Files\n"
        "for chunk in Files([sys.argv[1]]).chunks(1000): print(chunk.file, len(chunk.columns()))"
    )
    for address, name in [("-", "standard input"), ("/dev/stdin", "/dev/stdin")]:
        command = [sys.executable, "-c", program, address]
        done = subprocess.run(command, input=FORMATS["ndjson"], capture_output=True, check=True)
        assert done.stdout.decode() == f"{name} 40\n"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" - <&-', sys.executable, program], capture_output=True, check=False
    )
    assert done.stderr.splitlines()[-1] == b"loader.errors.UsageError: standard input: Bad file descriptor"


@pytest.mark.parametrize("origin", ["pipe", "stdin"], indirect=True)
@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_lines_from_a_pipe_that_ends_in_the_middle_of_one_are_refused(kind: str, origin: Origin) -> None:
    content = FORMATS[kind].rstrip(b"\n")
    files = Files([origin(content)])
    with pytest.raises(FileRejected) as rejected:
        list(files.chunks(15))
    assert rejected.value.error.line == content.count(b"\n") + 1
    assert rejected.value.error.reason == (
        "the last line has no end, so what wrote it may have failed; end it, or name the file"
    )


@pytest.mark.parametrize("origin", ["disk", "s3"], indirect=True)
def test_the_last_line_of_a_file_needs_no_end(origin: Origin) -> None:
    whole = FORMATS["csv"]
    assert rows_of(Files([origin(whole.rstrip(b"\n"))]).chunks(15)) == rows_of(
        chunk for chunk in Files([origin(whole)]).chunks(15)
    )


def test_a_file_that_is_standard_input_is_no_pipe(tmp_path: Path, stdin: Callable[[bytes], None]) -> None:
    stdin(b"")
    path = tmp_path / "prices.csv"
    path.write_bytes(FORMATS["csv"].rstrip(b"\n"))
    with path.open("rb") as file:
        os.dup2(file.fileno(), 0)
        assert len(rows_of(Files(["-"]).chunks(15))) == len(rows_of(Files([path]).chunks(15)))


@pytest.mark.parametrize("origin", ["pipe", "stdin"], indirect=True)
def test_what_is_packed_has_an_end_of_its_own(origin: Origin) -> None:
    packed = gzip.compress(FORMATS["csv"].rstrip(b"\n"))
    assert len(list(Files([origin(packed)]).chunks(1_000_000))) == 1


def test_standard_input_named_twice_is_refused(stdin: Callable[[bytes], None]) -> None:
    stdin(FORMATS["csv"])
    with pytest.raises(UsageError, match=r"the file is named twice; its rows would count twice$"):
        Files(["-", "-"])


@each_origin
def test_no_temporary_file_is_ever_seen_or_left_open(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    before = len(list(Path("/dev/fd").iterdir()))
    files = Files([origin(gzip.compress(FORMATS["parquet"]))])
    chunks = files.chunks(15)
    next(chunks)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert isinstance(chunks, Generator)
    chunks.close()
    del chunks, files
    assert len(list(Path("/dev/fd").iterdir())) <= before + 1, "but for the connection to S3"


def test_where_there_is_no_room_for_a_pipe_it_is_told(
    stdin: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(FORMATS["csv"])
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(
        UsageError, match=r"^standard input: it could not be copied to /nowhere: No such file"
    ):
        Files(["-"])


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_is_neither_a_file_nor_a_pipe(path: str) -> None:
    with pytest.raises(UsageError, match=r"^/dev/\w+: neither a file nor a pipe$"):
        Files([path])


# --- objects in S3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "kind", "reason"),
    [
        ("s3://", UsageError, "expected s3://bucket/key"),
        ("s3://batches", UsageError, "expected s3://bucket/key"),
        ("s3:///key", UsageError, "expected s3://bucket/key"),
        ("s3://batches/none.csv", ObjectMissing, r"The specified key does not exist\. \(NoSuchKey\)"),
        (
            "s3://nobodys/none.csv",
            StorageMisconfigured,
            r"The specified bucket does not exist \(NoSuchBucket\)",
        ),
        (
            "s3://no bucket/none.csv",
            StorageMisconfigured,
            "Parameter validation failed: Invalid bucket name",
        ),
    ],
)
def test_an_object_that_is_not_there_is_named(
    address: str, kind: type[Exception], reason: str, s3: Any
) -> None:
    with pytest.raises(kind, match=f"^{address}: {reason}"):
        Files([address])


def test_an_object_named_twice_is_refused(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="a.csv", Body=FORMATS["csv"])
    with pytest.raises(UsageError, match=r"^s3://batches/a\.csv: the file is named twice"):
        Files([f"s3://{BUCKET}/a.csv"] * 2)


def test_a_folder_in_s3_is_named(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="march/a.csv", Body=FORMATS["csv"])
    with pytest.raises(UsageError, match=r"^s3://batches/march/: a folder; name the objects in it$"):
        find_input(f"s3://{BUCKET}/march/")
    s3.put_object(Bucket=BUCKET, Key="march/", Body=FORMATS["csv"])
    assert rows_of(Files([f"s3://{BUCKET}/march/"]).chunks(15)) == ROWS


def test_an_empty_object_is_an_empty_file(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="empty.csv", Body=b"")
    with pytest.raises(FileRejected, match=r"^s3://batches/empty\.csv:1: the file is empty"):
        rows_of(Files([f"s3://{BUCKET}/empty.csv"]).chunks(15))


def test_an_object_that_is_replaced_is_refused_wherever_it_is_read(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "RANGE_BYTES", 100)
    monkeypatch.setattr("loader.formats.content.HEAD_BYTES", 10)
    monkeypatch.setattr("loader.dump.HEAD_BYTES", 10)
    monkeypatch.setattr("loader.formats.lines.BLOCK_BYTES", 50)
    s3.put_object(Bucket=BUCKET, Key="a.csv", Body=FORMATS["csv"])
    files = Files([f"s3://{BUCKET}/a.csv"])
    chunks = files.chunks(1)
    next(chunks)
    s3.put_object(Bucket=BUCKET, Key="a.csv", Body=FORMATS["csv"].replace(b"CNSGH", b"NLRTM"))
    for read in (lambda: list(chunks), files.content_hash):
        with pytest.raises(
            FileRejected, match=r"^s3://batches/a\.csv:1: the file changed while it was being"
        ):
            read()


def test_an_object_that_is_deleted_while_it_is_read_is_named(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="a.csv", Body=FORMATS["csv"])
    files = Files([f"s3://{BUCKET}/a.csv"])
    s3.delete_object(Bucket=BUCKET, Key="a.csv")
    with pytest.raises(ObjectMissing, match=r"^s3://batches/a\.csv: The specified key does not exist"):
        files.content_hash()


def test_storage_that_cannot_be_reached_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        at_endpoint(f"http://{HOST}:{free_port()}", monkeypatch),
        pytest.raises(StorageUnavailable, match=r"^s3://batches/a\.csv: Could not connect to the endpoint"),
    ):
        Files([f"s3://{BUCKET}/a.csv"])
    assert exit_code(StorageUnavailable("away")) == 3
    assert exit_code(ObjectMissing("gone")) == exit_code(StorageMisconfigured("refused")) == 2


def test_an_endpoint_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        at_endpoint("nowhere", monkeypatch),
        pytest.raises(StorageMisconfigured, match=r"^s3://batches/a\.csv: Invalid endpoint: nowhere$"),
    ):
        Files([f"s3://{BUCKET}/a.csv"])


def test_nobody_to_sign_as_is_storage_that_lets_nobody_in(
    storage_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_endpoint(storage_server, monkeypatch):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # which has found the key already
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(StorageUnavailable, match=r"^s3://batches/a\.csv: Unable to locate credentials$"):
            Files([f"s3://{BUCKET}/a.csv"])


class Unsteady(BaseHTTPRequestHandler):
    """S3 of one object, whose answers break off or are errors as often as `faults` says."""

    protocol_version = "HTTP/1.1"
    content = FORMATS["csv"]
    faults: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdecimal():
            self.answer(int(fault), f"<Error><Code>E{fault}</Code></Error>".encode())
            return
        self.answer(206, self.content, sent=10 if fault else None)

    def answer(self, status: int, body: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Fri, 01 Jan 2021 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def unsteady(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Unsteady]]:
    server = ThreadingHTTPServer((HOST, 0), Unsteady)
    Unsteady.faults = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with at_endpoint(f"http://{HOST}:{server.server_port}", monkeypatch):
        yield Unsteady
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_answer_that_breaks_off_is_asked_for_again(unsteady: type[Unsteady]) -> None:
    files = Files([f"s3://{BUCKET}/a.csv"])
    unsteady.faults = ["breaks off"] * 2
    assert rows_of(files.chunks(15)) == ROWS
    unsteady.faults = ["breaks off"] * 3
    with pytest.raises(StorageUnavailable, match=r"^s3://batches/a\.csv: "):
        rows_of(files.chunks(15))
    assert unsteady.faults == []


def test_what_the_storage_cannot_do_now_is_told_from_what_it_refuses(unsteady: type[Unsteady]) -> None:
    for status, kind in (("503", StorageUnavailable), ("403", StorageMisconfigured)):
        unsteady.faults = [status] * 2
        with pytest.raises(kind, match=rf"^s3://batches/a\.csv: refused \(E{status}\)$"):
            find_input(f"s3://{BUCKET}/a.csv")
