"""Lines with a separator between the fields: CSV, and the rows of a dump."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap

import polars as pl

from loader.chunks import COLUMNS, Fault, ReadRow
from loader.errors import FileRejected, RowError
from loader.formats.lines import (
    LineReader,
    NumberedLine,
    decode_line,
    line_texts,
    split_lines,
    text_columns,
)
from loader.formats.split import SplitLines, in_order, split_slowly

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
        text = lines.select(self._wanted_fields("line")).unnest("line")
        return None if text["day"].has_nulls() else text

    def _wanted_fields(self, column: str) -> pl.Expr:
        """The four values of a line whose quotes are plain, as a struct; of another line null."""
        separator = self.layout.separator
        wanted_field = rf'("[^"]*"|[^"{separator}]*)'
        ignored_field = rf'(?:"(?:[^"]|"")*"|[^"{separator}]*)'
        names = self.layout.columns
        fields = [wanted_field if name in COLUMNS else ignored_field for name in names]
        values = pl.col(column).str.extract_groups(f"^{f'[{separator}]'.join(fields)}$")
        return values.struct.rename_fields([name for name in names if name in COLUMNS])

    def split(self) -> SplitLines:
        """Only a line that is no plain text, or whose quotes are not plain, is read by itself."""
        lines, odd = line_texts(self.data, self.first_line)
        quoted = pl.lit(self.layout.quoted) & pl.col("text").str.contains('"', literal=True)
        rows, more_odd = self._quoted_rows(lines.filter(quoted))
        slowly = split_slowly(starmap(self._read_line, [*odd, *more_odd]))
        lines = lines.filter(~quoted).with_columns(
            count=pl.col("text").str.count_matches(self.layout.separator, literal=True) + 1
        )
        is_row = (pl.col("text") != "") & (pl.col("count") == len(self.layout.columns))
        return in_order(
            [self._bare_rows(lines.filter(is_row)), rows, slowly.rows],
            [self._bare_faults(lines.filter(~is_row)), slowly.faults],
        )

    def _bare_rows(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Of lines without quotes that have as many fields as there are columns."""
        fields = pl.col("text").str.split_exact(self.layout.separator, len(self.layout.columns) - 1)
        return lines.select("line", fields.struct.rename_fields(self.layout.columns)).unnest("text")

    def _bare_faults(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Of lines without quotes that have another number of fields: as `_split_fields` tells them."""
        columns, text, count = self.layout.columns, pl.col("text"), pl.col("count")
        few, many = (text != "") & (count < len(columns)), count > len(columns)
        lacking = dict(enumerate(columns[1:], 1))
        fields = text.str.split(self.layout.separator)
        return lines.select(
            "line",
            pl.when(few)
            .then(count.replace_strict(lacking, default=None, return_dtype=pl.String))
            .alias("column"),
            pl.when(many).then(fields.list.get(len(columns), null_on_oob=True)).alias("value"),
            pl.when(few)
            .then(pl.format(few_reason("{}", columns), count))
            .when(many)
            .then(pl.format(many_reason("{}", columns), count))
            .otherwise(pl.lit(blank_reason(columns)))
            .alias("reason"),
            "text",
        )

    def _quoted_rows(self, lines: pl.DataFrame) -> tuple[pl.DataFrame, list[NumberedLine]]:
        """Of lines with quotes the rows, and the lines whose quotes are not plain."""
        wanted = [name for name in self.layout.columns if name in COLUMNS]
        rows = lines.with_columns(self._wanted_fields("text").alias("values")).unnest("values")
        rows = rows.with_columns(pl.col(wanted).str.replace(QUOTED, "$1"))
        plain = pl.all_horizontal(~pl.col(wanted).str.starts_with('"')).fill_null(value=False)
        odd = rows.filter(~plain).select("line", pl.col("text").cast(pl.Binary))
        return rows.filter(plain), odd.rows()

    def rows(self) -> Iterator[ReadRow]:
        for number, line in enumerate(split_lines(self.data), self.first_line):
            yield self._read_line(number, line)

    def _read_line(self, number: int, line: bytes) -> ReadRow:
        text, fault = decode_line(line)
        fields: list[str] = []
        if fault is None:
            fields, fault = self._split_fields(text)
        named = dict(zip(self.layout.columns, fields, strict=True)) if fault is None else {}
        values: dict[str, str | None] = {name: named[name] for name in COLUMNS if name in named}
        return ReadRow(number, values, fault, line.decode(errors="backslashreplace"))

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
            return [], (None, None, blank_reason(columns))
        if len(fields) < len(columns):
            return [], (columns[len(fields)], None, few_reason(len(fields), columns))
        if len(fields) > len(columns):
            return [], (None, fields[len(columns)], many_reason(len(fields), columns))
        return fields, None


def blank_reason(columns: Sequence[str]) -> str:
    return f"the line is blank; expected {','.join(columns)}"


def few_reason(count: object, columns: Sequence[str]) -> str:
    return f"missing: the line has {count} of {len(columns)} columns"


def many_reason(count: object, columns: Sequence[str]) -> str:
    return f"{count} columns, expected {len(columns)}: {','.join(columns)}"


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
