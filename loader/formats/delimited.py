"""Lines with a separator between the fields: CSV, and the rows of a dump."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import islice
from typing import IO

import polars as pl

from loader.chunks import COLUMNS, Fault, ReadRow
from loader.errors import FileRejected, RowError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A good row has some 30 bytes; a line past this is no row, and without an end it would fill the memory.
LINE_BYTES_MAX = 64 * 1024
QUOTED = r'^"([^"]*)"$'  # as all but all quoted values are; the slow way knows the rest


@dataclass(frozen=True)
class Layout:
    """How a line is read: its columns from left to right, what parts them, whether quotes mean anything."""

    columns: tuple[str, ...]
    separator: str
    quoted: bool


@dataclass(frozen=True)
class DelimitedChunk:
    """`data` is whole lines."""

    file: str
    first_line: int
    layout: Layout
    data: bytes

    @cached_property
    def content_hash(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    def columns(self) -> pl.DataFrame | None:
        layout, data = self.layout, self.data
        if data.startswith(BYTE_ORDER_MARK) or data.count(b"\r") != data.count(b"\r\n"):
            return None  # Polars would drop a mark in front, and a carriage return where a field ends
        if not data.endswith(b"\n"):
            data += b"\n"  # without it, Polars would take one field too many, if that is empty
        try:
            text = pl.read_csv(
                BytesIO(data),
                has_header=False,
                separator=layout.separator,
                quote_char=None,  # with quotes, Polars takes `"1""` for 1, and `"1"0"` too
                schema=dict.fromkeys(layout.columns, pl.String),
                encoding="utf8",
            )
        except pl.exceptions.PolarsError:
            return None
        if text.height != data.count(b"\n"):  # a blank line
            return None
        if layout.quoted and b'"' in data:
            text = text.select(pl.all().str.replace(QUOTED, "$1"))
            if text.select(pl.any_horizontal(pl.all().str.starts_with('"').any())).item():
                return None
        return text.select(COLUMNS)

    def rows(self) -> Iterator[ReadRow]:
        for number, line in enumerate(split_lines(self.data), self.first_line):
            text = line.decode(errors="backslashreplace")
            fields, fault = self._read_line(line)
            named: dict[str, str | None] = (
                {} if fault else dict(zip(self.layout.columns, fields, strict=True))
            )
            yield ReadRow(number, named, fault, text)

    def _read_line(self, line: bytes) -> tuple[list[str], Fault | None]:
        """A line's fields, as many as the layout has columns, or what is wrong with it."""
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            reason = f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1} of the line"
            return [], (None, None, reason)
        if "\0" in text:
            return [], (None, None, f"a NUL byte at position {text.index(chr(0)) + 1} of the line")
        return self._split_fields(text)

    def _split_fields(self, text: str) -> tuple[list[str], Fault | None]:
        columns = self.layout.columns
        if not self.layout.quoted:
            fields = text.split(self.layout.separator)
        else:
            try:
                fields = next(csv.reader([text], delimiter=self.layout.separator, strict=True), [])
            except csv.Error:
                reason = "a quote is not closed on its line, or stands inside a field"
                return [], (None, None, "a carriage return inside the line" if "\r" in text else reason)
        if text == "":
            return [], (None, None, f"the line is blank; expected {','.join(columns)}")
        if len(fields) < len(columns):
            missing = columns[len(fields)]
            return [], (missing, None, f"missing: the line has {len(fields)} of {len(columns)} columns")
        if len(fields) > len(columns):
            extra = fields[len(columns)]
            return [], (None, extra, f"{len(fields)} columns, expected {len(columns)}: {','.join(columns)}")
        return fields, None


def split_lines(data: bytes) -> list[bytes]:
    """Lines without their ends, LF or CRLF."""
    return [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")]


def cut(
    lines: Iterable[bytes], *, file: str, first_line: int, layout: Layout, rows_max: int
) -> Iterator[DelimitedChunk]:
    """Chunks of `rows_max` lines, the last with what is left."""
    lines = iter(lines)
    while data := b"".join(islice(lines, rows_max)):
        yield DelimitedChunk(file, first_line, layout, data)
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
