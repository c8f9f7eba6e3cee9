"""NDJSON: a JSON object a line, whose keys are the columns."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import polars as pl

from loader.chunks import COLUMNS, Fault, ReadRow
from loader.formats.lines import LineReader, decode_line, split_lines, text_columns

EXPECTED = f"expected an object with {', '.join(COLUMNS)}"
KEY_CHARS_MAX = 40
SURROGATE = re.compile("[\ud800-\udfff]")
# What may stand in a line that is read the fast way: no escape in a string, no fraction in a number.
SPACE = r"[ \t]*"
STRING = r'"([^"\\\x00-\x1f]*)"'
NUMBER = r"(-?(?:0|[1-9][0-9]*))"


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

    def rows(self) -> Iterator[ReadRow]:
        for number, line in enumerate(split_lines(self.data), self.first_line):
            text, fault = decode_line(line)
            fields: dict[str, str | None] = {}
            if fault is None:
                fields, fault = read_object(text)
            yield ReadRow(number, {} if fault else fields, fault, line.decode(errors="backslashreplace"))


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
            return {}, (None, None, f"has {name[:KEY_CHARS_MAX]!r}, which is not a column; {EXPECTED}")
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
