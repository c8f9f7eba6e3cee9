"""Where a batch's bytes come from: a file on disk, standard input or another pipe, an object in S3.

`sources` and `dump` read them, more than once; so what comes but once is copied to a temporary file first.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, NoReturn, Protocol

from loader.addresses import refusal_of
from loader.errors import FileRejected, RowError, UsageError
from loader.formats.compression import Stream
from storage.bucket import Bucket
from storage.errors import ObjectChanged, ObjectMissing

STANDARD_INPUT = "-"
S3 = "s3://"
BLOCK_BYTES = 1024 * 1024
RANGE_BYTES = 8 * 1024 * 1024

Address = str | os.PathLike[str]


class StoredStream(Stream, Protocol):
    """Bytes as they are stored."""

    def tell(self) -> int:
        """How many are behind it."""
        ...


class Input(ABC):
    """Bytes that are read more than once and must be the same each time.

    `name` is what the sender calls them, `identity` is equal where two are the same, `size` is in bytes.
    Raises UsageError or StorageError, here and in every method, where they cannot be read.
    """

    name: str
    identity: tuple[object, ...]
    size: int
    # The number of the line in which a pipe ended.
    cut_line: int | None = None

    @abstractmethod
    def open(self) -> AbstractContextManager[StoredStream]:
        """From the beginning; one at a time."""

    def content_hash(self) -> bytes:
        """SHA-256 of the bytes."""
        digest = hashlib.sha256()
        with self.open() as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
        return digest.digest()

    @abstractmethod
    def refuse_if_changed(self, stream: StoredStream) -> None:
        """Raises FileRejected where what was read last is not what `self` was made of."""

    def refuse_if_cut(self) -> None:
        """Raises FileRejected where a pipe ended in the middle of a line.

        A program that fails, `zcat` of a damaged file say, closes it as one does that is done.
        """
        if self.cut_line is not None:
            reason = "the last line has no end, so what wrote it may have failed; end it, or name the file"
            raise FileRejected(RowError(self.name, self.cut_line, None, None, reason))

    def refuse_as_changed(self) -> NoReturn:
        self.reject("the file changed while it was being loaded; load it again once it is complete")

    def refuse_as_empty(self) -> NoReturn:
        self.reject("no rows: there is nothing below the header")

    def reject(self, reason: str) -> NoReturn:
        """Raises FileRejected for the file as a whole."""
        raise FileRejected(RowError(self.name, 1, None, None, reason))


def find_input(address: Address) -> Input:
    """What a path, `-` for standard input, or `s3://bucket/key` names."""
    text = os.fspath(address)
    if text.startswith(S3):
        return S3Object(text)
    if text == STANDARD_INPUT:
        with os_errors_named("standard input"), open(0, "rb", closefd=False) as stream:
            return Spooled("standard input", stream)
    path, name = Path(text), as_utf_8(text)
    with os_errors_named(name):
        if not path.exists() and (reason := refusal_of(name)):
            raise UsageError(reason)
        if not stat.S_ISFIFO(path.stat().st_mode):
            return DiskFile(path, name)
        with path.open("rb") as stream:
            return Spooled(name, stream)


class DiskFile(Input):
    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        with os_errors_named(name):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise UsageError(f"{name}: {why_no_directory(path)}")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{name}: neither a file nor a pipe")
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self._version = version_of(status)
        with self.open():  # what may not be read is told now
            pass

    @contextmanager
    def open(self) -> Generator[BufferedReader]:
        with os_errors_named(self.name), self.path.open("rb") as stream:
            yield stream

    def refuse_if_changed(self, stream: StoredStream) -> None:
        assert isinstance(stream, BufferedReader)
        if version_of(os.fstat(stream.fileno())) != self._version:
            self.refuse_as_changed()


class Spooled(Input):
    """What was read from a pipe, in a temporary file without a name: it is gone with the process at last."""

    def __init__(self, name: str, pipe: BufferedReader) -> None:
        self.name = name
        status = os.fstat(pipe.fileno())
        self.identity = (status.st_dev, status.st_ino)
        digest, lines, last = hashlib.sha256(), 1, b"\n"

        def seen(block: bytes) -> None:
            nonlocal lines, last
            digest.update(block)
            lines, last = lines + block.count(b"\n"), block[-1:]

        self._file = spool(pipe, name, seen)
        if last != b"\n" and not stat.S_ISREG(status.st_mode):
            self.cut_line = lines
        weakref.finalize(self, self._file.close)
        self._content_hash = digest.digest()
        self.size = os.fstat(self._file.fileno()).st_size

    @contextmanager
    def open(self) -> Generator[IO[bytes]]:
        self._file.seek(0)
        yield self._file

    def content_hash(self) -> bytes:
        return self._content_hash

    def refuse_if_changed(self, stream: StoredStream) -> None:
        """Nobody else has the file."""


class StoredContent(Input):
    """An object, held fast by its ETag; read in ranges, which raise ObjectChanged once it is another."""

    def __init__(self, bucket: Bucket, key: str, etag: str, size: int, name: str) -> None:
        self.name = name
        self.identity = (S3, bucket.name, key)
        self.size = size
        self._bucket, self._key, self._etag = bucket, key, etag

    @contextmanager
    def open(self, begin: int = 0) -> Generator[StoredStream]:
        yield Ranges(self.read_range, begin, self.size)

    def read_range(self, begin: int, end: int) -> bytes:
        return self._bucket.read(self._key, begin, end, self._etag)

    def refuse_if_changed(self, stream: StoredStream) -> None:
        """Each range was refused already."""


class S3Object(StoredContent):
    """The object that was there when `self` was made, as a file that must not change."""

    def __init__(self, address: str) -> None:
        name = as_utf_8(address)
        bucket, _, key = name.removeprefix(S3).partition("/")
        if not (bucket and key):
            raise UsageError(f"{name}: expected s3://bucket/key")
        try:
            found = Bucket(bucket).look(key)
        except ObjectMissing as missing:
            if not key.endswith("/"):
                raise
            raise UsageError(f"{name}: a folder; name the objects in it") from missing
        super().__init__(Bucket(bucket), key, found.etag, found.size, name)

    def read_range(self, begin: int, end: int) -> bytes:
        try:
            return super().read_range(begin, end)
        except ObjectChanged:
            self.refuse_as_changed()


class Ranges:
    """An object from some byte on as a stream, with one range of it in memory."""

    def __init__(self, read_range: Callable[[int, int], bytes], begin: int, size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._range = b""
        self._range_begin = self._at = begin

    def read(self, size: int, /) -> bytes:
        if self._at == self._range_begin + len(self._range) and self._at < self._size:
            self._range = self._read_range(self._at, min(self._at + RANGE_BYTES, self._size))
            self._range_begin = self._at
        begin = self._at - self._range_begin
        data = self._range[begin : begin + size]
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at


def spool(stream: Stream, name: str, seen: Callable[[bytes], None] = lambda _block: None) -> IO[bytes]:
    """A temporary file with all of a stream, at its beginning. It has no name, and is gone once closed."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
        try:
            while block := stream.read(BLOCK_BYTES):
                seen(block)
                file.write(block)
            file.seek(0)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        where = tempfile.tempdir or "a temporary file"
        raise UsageError(f"{name}: it could not be copied to {where}: {error.strerror}") from error
    return file


def why_no_directory(path: Path) -> str:
    if (path / "toc.dat").exists():
        return "a dump in directory format; expected a plain one (pg_dump --format=plain)"
    part = next((child.name for child in path.iterdir() if "=" in child.name), None)
    if part is not None:
        return f"a directory of parts ({part}); expected files that hold all four columns"
    return "Is a directory; name the files in it"


@contextmanager
def os_errors_named(name: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def as_utf_8(path: str) -> str:
    """A path of whatever bytes as text that goes into the ledger."""
    return os.fsencode(path).decode(errors="replace")


def version_of(status: os.stat_result) -> tuple[int, ...]:
    """What differs as soon as a file was written to, or another has taken its place."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
