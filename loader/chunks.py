"""A chunk: a run of whole lines of one file, small enough to be checked in memory and written in seconds.

`sources` and `dump` cut them, `check` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import IO

from loader.errors import FileRejected, RowError

COLUMNS = ("orig_code", "dest_code", "day", "price")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CHUNK_ROWS = 100_000
# A good row has some 30 bytes; a line past this is no row, and without an end it would fill the memory.
LINE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Layout:
    """How a line is read: its columns from left to right, what parts them, whether quotes mean anything."""

    columns: tuple[str, ...]
    separator: str
    quoted: bool


@dataclass(frozen=True)
class Chunk:
    """`data` is whole lines, the first being line `first_line` of `file` (from 1).

    A chunk with a `fault` stands for all that could not be read of the file; it has no lines.
    """

    file: str
    first_line: int
    layout: Layout
    data: bytes
    fault: RowError | None = None

    @classmethod
    def of_fault(cls, fault: RowError) -> Chunk:
        """The chunk that makes a fault of the whole file part of the ledger."""
        return cls(fault.file, fault.line, Layout(COLUMNS, ",", quoted=False), b"", fault)

    @cached_property
    def content_hash(self) -> bytes:
        # Without the file's name, which may be given another way the next time.
        fault = f"{self.fault.line} {self.fault.reason}" if self.fault else ""
        return hashlib.sha256(self.data + fault.encode()).digest()


def cut(
    lines: Iterable[bytes], *, file: str, first_line: int, layout: Layout, rows_max: int
) -> Iterator[Chunk]:
    """Chunks of `rows_max` lines, the last with what is left."""
    lines = iter(lines)
    while data := b"".join(islice(lines, rows_max)):
        yield Chunk(file, first_line, layout, data)
        first_line += rows_max


def bounded_lines(stream: IO[bytes], *, file: str, first_line: int) -> Iterator[bytes]:
    """The stream's lines with their ends. Raises FileRejected at one longer than LINE_BYTES_MAX."""
    for number, line in enumerate(iter(lambda: stream.readline(LINE_BYTES_MAX + 1), b""), first_line):
        if len(line) > LINE_BYTES_MAX:
            reason = (
                f"the line is longer than {LINE_BYTES_MAX:,} bytes; expected a row of {', '.join(COLUMNS)}"
            )
            raise FileRejected(RowError(file, number, None, None, reason))
        yield line
