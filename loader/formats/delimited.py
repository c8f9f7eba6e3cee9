"""Lines with a separator between the fields: CSV, and the rows of a dump."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from loader.chunks import COLUMNS, Fault, ReadRow
from loader.errors import FileRejected, RowError
from loader.formats.lines import LineReader, decode_line, split_lines, text_columns

# Beside the four in a file of rejected rows, which can be sent again once it is mended.
REJECT_COLUMNS = ("rejected_file", "rejected_line", "rejected_text", "rejected_reason")
QUOTED = r'^"([^"]*)"$'  # as all but all quoted values are; the slow way knows the rest
# What a file of prices may be parted by; its header alone tells which (docs/formats.md says why).
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What spreadsheets write above the header.
SEPARATOR_LINE = re.compile(rb'"?sep=.?"?\r?\n', re.IGNORECASE)
CARRIAGE_RETURN = "a carriage return inside the line"
# A file of another kind may have thousands of columns, of any length.
FAULTS_SHOWN = 10
NAME_CHARS_MAX = 40


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
        layout = self.layout
        if len(layout.columns) > len(COLUMNS):
            text = self._columns_among_others()
        else:
            text = text_columns(self.data, layout.separator, layout.columns)
        if text is None:
            return None
        if layout.quoted and b'"' in self.data:
            text = text.select(pl.all().str.replace(QUOTED, "$1"))
            if text.select(pl.any_horizontal(pl.all().str.starts_with('"').any())).item():
                return None
        return text.select(COLUMNS)

    def _columns_among_others(self) -> pl.DataFrame | None:
        """Of a file of rejects, whose other columns may hold separators between quotes."""
        lines = text_columns(self.data, "\0", ("line",))
        if lines is None:
            return None
        separator = self.layout.separator
        wanted_field = rf'("[^"]*"|[^"{separator}]*)'
        ignored_field = rf'(?:"(?:[^"]|"")*"|[^"{separator}]*)'
        wanted = [name for name in self.layout.columns if name in COLUMNS]
        fields = [wanted_field if name in COLUMNS else ignored_field for name in self.layout.columns]
        line = pl.col("line").str.extract_groups(f"^{f'[{separator}]'.join(fields)}$")
        text = lines.select(line.struct.rename_fields(wanted)).unnest("line")
        return None if text["day"].has_nulls() else text

    def rows(self) -> Iterator[ReadRow]:
        for number, line in enumerate(split_lines(self.data), self.first_line):
            text, fault = decode_line(line)
            fields: list[str] = []
            if fault is None:
                fields, fault = self._split_fields(text)
            named = dict(zip(self.layout.columns, fields, strict=True)) if fault is None else {}
            yield ReadRow(
                number,
                {name: named[name] for name in COLUMNS if name in named},
                fault,
                line.decode(errors="backslashreplace"),
            )

    def _split_fields(self, text: str) -> tuple[list[str], Fault | None]:
        """A line's fields, as many as the layout has columns, or what is wrong with it."""
        columns = self.layout.columns
        if not self.layout.quoted:
            fields = text.split(self.layout.separator)
        else:
            try:
                fields = next(csv.reader([text], delimiter=self.layout.separator, strict=True), [])
            except csv.Error:
                reason = "a quote is not closed on its line, or stands inside a field"
                return [], (None, None, CARRIAGE_RETURN if "\r" in text else reason)
            if text.endswith("\r"):  # which `csv` takes for the line's end
                return [], (None, None, CARRIAGE_RETURN)
        if text == "":
            return [], (None, None, f"the line is blank; expected {','.join(columns)}")
        if len(fields) < len(columns):
            missing = columns[len(fields)]
            return [], (missing, None, f"missing: the line has {len(fields)} of {len(columns)} columns")
        if len(fields) > len(columns):
            extra = fields[len(columns)]
            return [], (None, extra, f"{len(fields)} columns, expected {len(columns)}: {','.join(columns)}")
        return fields, None


def csv_chunks(lines: LineReader, rows_max: int) -> Iterator[DelimitedChunk]:
    """Of a CSV file, which begins with its header. Raises FileRejected when that is not the four columns."""
    yield from delimited_chunks(lines, read_header(lines), rows_max)


def delimited_chunks(
    lines: LineReader, layout: Layout, rows_max: int, *, rows: int | None = None
) -> Iterator[DelimitedChunk]:
    """All the rows to the end, or so many of them, in chunks of `rows_max`, the last with what is left."""
    line_after = None if rows is None else lines.line + rows
    first_line = lines.line
    while data := lines.take(rows_max if line_after is None else min(rows_max, line_after - lines.line)):
        yield DelimitedChunk(lines.file, first_line, layout, data)
        first_line = lines.line


def read_header(lines: LineReader) -> Layout:
    """How the rows below a header are read. Raises FileRejected, saying what is off about the header."""
    line_no, line = lines.line, lines.take(1)
    if SEPARATOR_LINE.fullmatch(line):
        line_no, line = lines.line, lines.take(1)
    layout = Layout((), ",", quoted=True)
    try:
        text = line.decode().rstrip("\r\n")
        layouts = [Layout(names_in(text, separator), separator, quoted=True) for separator in SEPARATORS]
        layout = max(layouts, key=lambda one: len({*COLUMNS} & {*one.columns}))
        faults = header_faults(layout.columns)
    except UnicodeDecodeError as error:
        faults = [f"is not UTF-8: {error.reason}"]
    except csv.Error:  # of a header, there is no other fault it could have
        faults = ["has a carriage return inside: lines end in LF or CRLF"]
    if faults:
        parted = "" if layout.separator == "," else f"parted by {SEPARATORS[layout.separator]} "
        what = f"the header {parted}{', '.join(faults)}" if line else "the file is empty"
        reason = f"{what}; expected {','.join(COLUMNS)} in any order"
        raise FileRejected(RowError(lines.file, line_no, None, None, reason))
    return layout


def names_in(header: str, separator: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in next(csv.reader([header], delimiter=separator), []))


def header_faults(names: tuple[str, ...], beside: tuple[str, ...] = REJECT_COLUMNS) -> list[str]:
    """What is off about names of columns, of which these four are wanted and some others may stand beside."""
    known = (*COLUMNS, *beside)
    faults = [f"lacks {name}" for name in COLUMNS if name not in names]
    faults += [f"has {name[:NAME_CHARS_MAX]!r}, which is not a column" for name in names if name not in known]
    faults += [f"has {name} twice" for name in known if names.count(name) > 1]
    return faults[:FAULTS_SHOWN]
