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
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

from loader.errors import FileRejected, RowError, StorageUnavailable, UsageError
from loader.formats.compression import Stream

STANDARD_INPUT = "-"
S3 = "s3://"
BLOCK_BYTES = 1024 * 1024
RANGE_BYTES = 8 * 1024 * 1024
# botocore asks again where a request fails, but not where the answer breaks off.
RANGE_TRIES = 3
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
PRECONDITION_FAILED, SERVER_ERROR = 412, 500

Address = str | os.PathLike[str]


class StoredStream(Stream, Protocol):
    """Bytes as they are stored."""

    def tell(self) -> int:
        """How many were read so far."""
        ...


class Input(ABC):
    """Bytes that are read more than once and must be the same each time.

    `name` is what the sender calls them, `identity` is equal where two are the same, `size` is in bytes.
    Raises UsageError or StorageUnavailable, here and in every method, where they cannot be read.
    """

    name: str
    identity: tuple[object, ...]
    size: int

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

    def refuse_as_changed(self) -> NoReturn:
        self.reject("the file changed while it was being loaded; load it again once it is complete")

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
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
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
        digest = hashlib.sha256()
        self._file = spool(pipe, name, digest.update)
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


class S3Object(Input):
    """The object that was there when `self` was made; read in ranges, none of which may be of another."""

    def __init__(self, address: str) -> None:
        self.name = as_utf_8(address)
        self._bucket, _, self._key = self.name.removeprefix(S3).partition("/")
        self.identity = (S3, self._bucket, self._key)
        if not (self._bucket and self._key):
            raise UsageError(f"{self.name}: expected s3://bucket/key")
        with self._errors_named():
            # Not HEAD, whose errors have no text; nothing of the body is read.
            found = s3_client().get_object(Bucket=self._bucket, Key=self._key)
            found["Body"].close()
        self.size = found["ContentLength"]
        self._etag = found["ETag"]

    @contextmanager
    def open(self) -> Generator[StoredStream]:
        yield Ranges(self._read_range, self.size)

    def refuse_if_changed(self, stream: StoredStream) -> None:
        """Each range was refused already."""

    def _read_range(self, begin: int, end: int) -> bytes:
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415  # see `s3_client`

        where = {"Bucket": self._bucket, "Key": self._key, "IfMatch": self._etag}
        tries_left = RANGE_TRIES
        with self._errors_named():
            while True:
                answer = s3_client().get_object(**where, Range=f"bytes={begin}-{end - 1}")
                try:
                    return answer["Body"].read()
                except (HTTPClientError, IncompleteReadError):
                    tries_left -= 1
                    if not tries_left:
                        raise

    @contextmanager
    def _errors_named(self) -> Generator[None]:
        from botocore.exceptions import (  # noqa: PLC0415  # see `s3_client`
            BotoCoreError,
            ClientError,
            ParamValidationError,
        )

        try:
            yield
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == PRECONDITION_FAILED:
                self.refuse_as_changed()
            kind = StorageUnavailable if status >= SERVER_ERROR else UsageError
            told = error.response["Error"]
            raise kind(f"{self.name}: {told.get('Message') or 'refused'} ({told['Code']})") from error
        except (ParamValidationError, ValueError) as error:  # no name of a bucket; no URL of an endpoint
            raise UsageError(f"{self.name}: {' '.join(str(error).split())}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{self.name}: {error}") from error


class Ranges:
    """An object as a stream, with one range of it in memory."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._range = b""
        self._range_begin = self._at = 0

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


@cache
def s3_client() -> Any:
    """Where and as whom is boto3's business: its variables, profiles, the role of a task."""
    import boto3  # noqa: PLC0415  # 0.3 s and 30 MB that only S3 needs
    from botocore.config import Config  # noqa: PLC0415  # likewise

    config = Config(
        retries={"mode": "standard"}, connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S
    )
    return boto3.client("s3", config=config)


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
