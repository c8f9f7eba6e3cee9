"""The first stage for CSV files: opens a file, reads its header, cuts the rest into chunks.

A source says what it is called, what its content hashes to, and gives its chunks; `dump` has the other one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, NoReturn, Protocol

from loader.chunks import Chunk
from loader.errors import FileRejected, RowError, UsageError
from loader.formats.delimited import csv_chunks
from loader.formats.lines import LineReader


class Source(Protocol):
    """What a batch is read from."""

    @property
    def name(self) -> str:
        """As the sender calls it."""
        ...

    def content_hash(self) -> bytes:
        """SHA-256 of the whole content, 32 bytes."""
        ...

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """All rows, in the content's order; the same content and `rows_max` always give the same chunks."""
        ...


class InputFile:
    """A file on disk that is read more than once and must be the same each time.

    Raises UsageError, here and in every method, where it cannot be read. What can be read only once, a pipe,
    is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # As UTF-8 in any case, since it goes into the ledger.
        self.name = os.fsencode(path).decode(errors="replace")
        with self._os_errors_named():
            status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UsageError(f"{self.name}: not a regular file; save it to one first")
        self.identity = (status.st_dev, status.st_ino)
        self._version = version_of(status)
        with self.open():  # what may not be read is told now
            pass

    @contextmanager
    def open(self) -> Generator[BufferedReader]:
        with self._os_errors_named(), self.path.open("rb") as stream:
            yield stream

    def content_hash(self) -> bytes:
        """SHA-256 of the file's bytes."""
        with self.open() as stream:
            return hashlib.file_digest(stream, "sha256").digest()

    def refuse_if_changed(self, stream: IO[bytes]) -> None:
        """Raises FileRejected where what was read last is not what `self` was made of."""
        if version_of(os.fstat(stream.fileno())) != self._version:
            self.reject("the file changed while it was being loaded; load it again once it is complete")

    def reject(self, reason: str) -> NoReturn:
        """Raises FileRejected for the file as a whole."""
        raise FileRejected(RowError(self.name, 1, None, None, reason))

    @contextmanager
    def _os_errors_named(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}") from error


class CsvFile:
    """A CSV file on disk, with a header naming the four columns in any order."""

    def __init__(self, path: Path) -> None:
        self.file = InputFile(path)

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """Raises FileRejected when the header is not the four columns, or the file changes underway."""
        with self.file.open() as stream:
            yield from csv_chunks(LineReader(stream, self.file.name), rows_max)
            self.file.refuse_if_changed(stream)


class Files:
    """One or several CSV files as one batch, one after the other."""

    def __init__(self, paths: list[Path]) -> None:
        self.csv_files = [CsvFile(path) for path in paths]
        self.files = [csv_file.file for csv_file in self.csv_files]
        self.name = ", ".join(file.name for file in self.files)
        for number, file in enumerate(self.files):
            if file.identity in [earlier.identity for earlier in self.files[:number]]:
                raise UsageError(f"{file.name}: the file is named twice; its rows would count twice")

    def content_hash(self) -> bytes:
        """Of one file its own, of several the hash of their hashes."""
        hashes = [file.content_hash() for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(b"".join(hashes)).digest()

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """Raises FileRejected as `CsvFile.chunks`, and when there is no row in any of the files."""
        chunk_count = 0
        for csv_file in self.csv_files:
            for chunk in csv_file.chunks(rows_max):
                chunk_count += 1
                yield chunk
        if not chunk_count:
            self.files[-1].reject("no rows: there is nothing below the header")


def version_of(status: os.stat_result) -> tuple[int, ...]:
    """What differs as soon as a file was written to, or another has taken its place."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
