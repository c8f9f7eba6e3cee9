"""A chunk: a run of rows of one file, small enough to be checked in memory and written in seconds.

`sources` and `dump` cut them, `formats` knows how each is read, `check` judges what is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from loader.errors import RowError

if TYPE_CHECKING:
    import polars as pl

    from loader.formats.split import SplitLines

COLUMNS = ("orig_code", "dest_code", "day", "price")
# Enough for a chunk's totals to be far fewer than its rows (docs/decisions/0009-totals-a-lane-and-month.md),
# and little enough for four chunks at once in 256 MB.
CHUNK_ROWS = 200_000
# However long the rows are, so that the memory a chunk takes is bounded: up to ten times its bytes while
# it is checked (`tests/system/test_upload_memory.py`).
CHUNK_BYTES_MAX = 8 * 1024 * 1024

Fault = tuple[str | None, str | None, str]  # column, value, reason


class ReadRow(NamedTuple):
    """A row as the slow way reads it: its four `fields` as spelled, None where one is missing.

    With a `fault` the line is no row at all and has no fields. `text` is the line as it stood.
    """

    line: int
    fields: dict[str, str | None]
    fault: Fault | None
    text: str


class Chunk(Protocol):
    """What every format makes of a file. `first_line` is the line of its first row, from 1."""

    @property
    def file(self) -> str:
        """As the sender calls it."""
        ...

    @property
    def first_line(self) -> int: ...

    @property
    def content_hash(self) -> bytes:
        """SHA-256 of what the rows are read from, without the file's name: that may be another next time."""
        ...

    def columns(self) -> pl.DataFrame | None:
        """The fast way: COLUMNS as strings, just as spelled; None where a line needs explaining."""
        ...

    def split(self) -> SplitLines:
        """The way where a line needs explaining: nearly all of them as columns, whatever is in them."""
        ...

    def rows(self) -> Iterator[ReadRow]:
        """The slow way, which is the rule: each line with its fields, or with what is wrong about it."""
        ...


@dataclass(frozen=True)
class FaultChunk:
    """Stands for all that could not be read of a file, so that its fault becomes part of the ledger."""

    fault: RowError

    @property
    def file(self) -> str:
        return self.fault.file

    @property
    def first_line(self) -> int:
        return self.fault.line

    @property
    def content_hash(self) -> bytes:
        return hashlib.sha256(f"{self.fault.line} {self.fault.reason}".encode()).digest()

    def columns(self) -> None:
        return None

    def split(self) -> SplitLines:
        from loader.formats.split import split_slowly  # noqa: PLC0415  # Polars, which only `check` needs

        return split_slowly(self.rows())

    def rows(self) -> Iterator[ReadRow]:
        fault = (self.fault.column, self.fault.value, self.fault.reason)
        yield ReadRow(self.fault.line, {}, fault, "")
