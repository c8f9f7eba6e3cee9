"""The first stage for CSV files: opens a file, reads its header, cuts the rest into chunks.

A source says what it is called, what its content hashes to, and gives its chunks; `dump` has the other one.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from loader.chunks import COLUMNS, Chunk, Layout, bounded_lines, cut
from loader.errors import FileRejected, RowError, UsageError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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


class CsvFile:
    """A CSV file on disk, with a header naming the four columns in any order."""

    def __init__(self, path: Path) -> None:
        check_readable(path)
        self.path = path
        self.name = str(path)

    def content_hash(self) -> bytes:
        return hash_file(self.path)

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """Raises FileRejected when the header is not the four columns."""
        with self.path.open("rb") as stream:
            lines = bounded_lines(stream, file=self.name, first_line=1)
            layout = Layout(header_columns(next(lines, b""), self.name), separator=",", quoted=True)
            yield from cut(lines, file=self.name, first_line=2, layout=layout, rows_max=rows_max)


class Files:
    """Several files as one batch, one after the other."""

    def __init__(self, paths: list[Path]) -> None:
        self.files = [CsvFile(path) for path in paths]
        self.name = ", ".join(file.name for file in self.files)

    def content_hash(self) -> bytes:
        """Of one file its own, of several the hash of their hashes."""
        hashes = [file.content_hash() for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(b"".join(hashes)).digest()

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        for file in self.files:
            yield from file.chunks(rows_max)


def header_columns(line: bytes, file: str) -> tuple[str, ...]:
    """The columns that a header line names, from left to right. Raises FileRejected, saying what is off."""
    try:
        text = line.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise FileRejected(
            RowError(file, 1, None, None, f"the header is not UTF-8: {error.reason}")
        ) from error
    names = tuple(name.strip() for name in next(csv.reader([text.rstrip("\r\n")]), []))
    faults = [f"lacks {name}" for name in COLUMNS if name not in names]
    faults += [f"has {name!r}, which is not a column" for name in names if name not in COLUMNS]
    faults += [f"has {name} twice" for name in COLUMNS if names.count(name) > 1]
    if faults:
        reason = f"the header {', '.join(faults)}; expected {','.join(COLUMNS)} in any order"
        raise FileRejected(RowError(file, 1, None, None, reason))
    return names


def check_readable(path: Path) -> None:
    """Raises UsageError unless there is a file to read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def hash_file(path: Path) -> bytes:
    """SHA-256 of the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
