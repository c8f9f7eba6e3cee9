"""NDJSON: a JSON object a line, whose keys are the columns."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import starmap
from typing import Any

import polars as pl

from loader.chunks import COLUMNS, Fault, ReadRow
from loader.formats.lines import LineReader, decode_line, line_texts, split_lines, text_columns
from loader.formats.split import SplitLines, in_order, split_slowly

EXPECTED = f"expected an object with {', '.join(COLUMNS)}"
KEY_CHARS_MAX = 40
SURROGATE = re.compile("[\ud800-\udfff]")
# What may stand in a line that is read the fast way: no escape in a string, no fraction in a number.
SPACE = r"[ \t]*"
STRING = r'"([^"\\\x00-\x1f]*)"'
NUMBER = r"(-?(?:0|[1-9][0-9]*))"
VALUE = r'("[^"\\\x00-\x1f]*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'
PLAIN_NAME = re.compile("[A-Za-z0-9_]+")
# So many lines may be no good ones before none is looked for.
LINES_TRIED = 10


class Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands, in order and with what is there twice."""


class Number(str):
    """As it is spelled."""

    __slots__ = ()


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no value of JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=refuse_constant
)


@dataclass(frozen=True)
class NdjsonChunk:
    """`data` is whole lines."""

    file: str
    first_line: int
    data: bytes

    @cached_property
    def content_hash(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    def columns(self) -> pl.DataFrame | None:
        """Where every line has the keys in the order of the first, and strings and numbers where it has them.

        Whoever writes such a file does so all the way through.
        """
        pattern = pattern_of(BytesIO(self.data).readline())
        lines = text_columns(self.data, "\0", ("line",)) if pattern else None
        if pattern is None or lines is None:
            return None
        names, expression = pattern
        groups = pl.col("line").str.extract_groups(expression).struct.rename_fields(names)
        text = lines.select(groups).unnest("line")
        return None if text["day"].has_nulls() else text.select(COLUMNS)

    def split(self) -> SplitLines:
        """As columns where a line has the same keys as the first good one, in the same order."""
        lines, odd = line_texts(self.data, self.first_line)
        names = next(filter(None, map(names_in, lines["text"].head(LINES_TRIED))), [])
        members = [f'{SPACE}"{name}"{SPACE}:{SPACE}{VALUE}{SPACE}' for name in names]
        pattern = rf"^{SPACE}\{{{','.join(members)}\}}{SPACE}$"
        alike = pl.col("text").str.contains(pattern) if names else pl.lit(value=False)
        more_odd = lines.filter(~alike).select("line", pl.col("text").cast(pl.Binary)).rows()
        lines = lines.filter(alike)
        slowly = split_slowly(starmap(self._read_line, [*odd, *more_odd]))
        strange = [name for name in names if name not in COLUMNS]
        if strange or not names:
            nothing, reason = pl.lit(None, pl.String), pl.lit(strange_reason(strange[0]) if strange else "")
            faults = lines.with_columns(column=nothing, value=nothing, reason=reason)
            return in_order([slowly.rows], [faults, slowly.faults])
        values = pl.col("text").str.extract_groups(pattern).struct.rename_fields(names)
        rows = lines.select("line", values).unnest("text")
        rows = rows.select(
            "line",
            *(spelling_of(pl.col(name)) for name in names),
            *(pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in names),
        )
        return in_order([rows, slowly.rows], [slowly.faults])

    def rows(self) -> Iterator[ReadRow]:
        for number, line in enumerate(split_lines(self.data), self.first_line):
            yield self._read_line(number, line)

    def _read_line(self, number: int, line: bytes) -> ReadRow:
        text, fault = decode_line(line)
        fields: dict[str, str | None] = {}
        if fault is None:
            fields, fault = read_object(text)
        return ReadRow(number, {} if fault else fields, fault, line.decode(errors="backslashreplace"))


def ndjson_chunks(lines: LineReader, rows_max: int) -> Iterator[NdjsonChunk]:
    first_line = lines.line
    while data := lines.take(rows_max):
        yield NdjsonChunk(lines.file, first_line, data)
        first_line = lines.line


def pattern_of(line: bytes) -> tuple[list[str], str] | None:
    """A line's keys in their order and what all lines like it match; None where it is not a good one."""
    text, fault = decode_line(line)
    pairs = None if fault else decode(text)
    if not isinstance(pairs, Pairs) or sorted(name for name, _ in pairs) != sorted(COLUMNS):
        return None
    members = [
        f'{SPACE}"{name}"{SPACE}:{SPACE}{NUMBER if isinstance(value, Number) else STRING}{SPACE}'
        for name, value in pairs
    ]
    return [name for name, _ in pairs], rf"^{SPACE}\{{{','.join(members)}\}}{SPACE}$"


def names_in(line: str) -> list[str]:
    """The keys of a line in their order; none where it is no object, or one is there twice or not plain."""
    pairs = decode(line)
    names = [name for name, _ in pairs] if isinstance(pairs, Pairs) else []
    return names if len(set(names)) == len(names) and all(map(PLAIN_NAME.fullmatch, names)) else []


def strange_reason(name: str) -> str:
    return f"has {name[:KEY_CHARS_MAX]!r}, which is not a column; {EXPECTED}"


def spelling_of(value: pl.Expr) -> pl.Expr:
    """As `spelled` has it: a string without its quotes, null for null, all else as it stands."""
    text = value.str.strip_chars('"')
    return pl.when(value.str.starts_with('"')).then(text).when(value != "null").then(value)


def read_object(text: str) -> tuple[dict[str, str | None], Fault | None]:
    """The four values as spelled, None where one is null or absent; or what is wrong with the line."""
    value = decode(text)
    if isinstance(value, ValueError):
        return {}, (None, None, str(value) if text.strip() else f"the line is blank; {EXPECTED}")
    if not isinstance(value, Pairs):
        return {}, (None, None, f"{kind_of(value)}; {EXPECTED}")
    fields: dict[str, str | None] = dict.fromkeys(COLUMNS)
    seen = set()
    for name, member in value:
        if name not in fields:
            return {}, (None, None, strange_reason(name))
        if name in seen:
            return {}, (name, None, "there twice")
        seen.add(name)
        fields[name], reason = spelled(member)
        if reason:
            return {}, (name, None, reason)
    return fields, None


def decode(text: str) -> Any:
    """What a line of JSON says, or a ValueError whose message says what is wrong with it."""
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        return ValueError(f"not JSON: {what} at position {error.pos + 1} of the line")
    except ValueError as error:
        return ValueError(f"not JSON: {error}")
    except RecursionError:
        return ValueError("not JSON that can be read: it is nested too deep")


def spelled(value: Any) -> tuple[str | None, str | None]:
    """A value as it is judged, or why it cannot be."""
    if isinstance(value, bool):
        return str(value).lower(), None
    if value is None:
        return None, None
    if not isinstance(value, str):
        return None, f"{kind_of(value)}; expected a value"
    if "\0" in value:
        return None, "a NUL character in it"
    if SURROGATE.search(value):
        return None, "half of a surrogate pair in it, which is no character"
    return value, None


def kind_of(value: Any) -> str:
    kinds = {Pairs: "a JSON object", list: "a JSON array", Number: "a JSON number", str: "a JSON string"}
    return kinds.get(type(value), "a JSON constant")
