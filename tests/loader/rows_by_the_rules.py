"""The rules for files of prices once more, in plain Python: what the loader must make of them, line by line.

Written from the rules' words, slowly and one value after the other; shares no code with the loader.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from typing import Any, NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COLUMNS = ["orig_code", "dest_code", "day", "price"]
# What the loader puts beside the four where it writes rejected rows down, so that they can come again.
OF_REJECTS = ["rejected_file", "rejected_line", "rejected_text", "rejected_reason"]
GZIP = b"\x1f\x8b"
ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60)))
# How files begin that nobody means to send.
OTHERS = (b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04", b"PARE")
# How text begins that is neither CSV nor NDJSON.
OTHER_TEXTS = (b"[", b"<")
SEPARATORS = ",;\t|"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_BYTES_MAX = 65_536
VALUE_CHARS_MAX = 200

Row = tuple[str, str, date, int]
Fields = dict[str, str | None]  # as they are spelled; None where a value is missing


class Fault(NamedTuple):
    """One thing wrong: where, with which value if there is one, and of which kind."""

    file: str
    line: int
    column: str | None
    value: str | None
    kind: str


@dataclass
class Reading:
    """What a batch holds: rows, which go in if there is no fault, and all faults.

    This says of a report exactly how many faults there are, and of each one the file, line, column, value
    (its first 200 characters) and kind. It does not say how a reason is worded, nor which fault of one line
    comes first: `in_order` brings both sides into one order. Of a file whose compression is `damaged` it only
    says that there is a fault, since what comes out before it depends on how much is read at a time.
    """

    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class BadLine(Exception):
    """A line that is no row; its arguments are column, value and kind."""


class BadFile(Exception):
    """A line after which nothing is read; its arguments are its number and the kind."""


def read_files(files: dict[str, bytes], codes: set[str]) -> Reading:
    """CSV and NDJSON, compressed or not, by their names as one batch; a file must have a row, good or not."""
    reading = Reading()
    line_count = 0
    for name, data in files.items():
        try:
            for number, line in lines_of(decompressed(data)):
                line_count += 1
                read_line(name, number, line, codes, reading)
        except BadFile as bad:
            number, kind = bad.args
            reading.faults.append(Fault(name, number, None, None, kind))
            return reading
    if not line_count:
        reading.faults.append(Fault(name, 1, None, None, "no rows"))
    return reading


def decompressed(data: bytes) -> bytes:
    """What is in a file, whatever it is called; compressed once at most."""
    if not data.startswith((GZIP, *ZSTD)):
        return data
    try:
        content = gzip.decompress(data) if data.startswith(GZIP) else zstd.decompress(data)
    except (OSError, EOFError, zlib.error, zstd.ZstdError):
        raise BadFile(0, "damaged") from None
    if content.startswith((GZIP, *ZSTD)):
        raise BadFile(1, "other kind")
    return content


def lines_of(data: bytes) -> Iterator[tuple[int, Fields | BadLine]]:
    """The rows of a file, by the numbers of their lines.

    UTF-8, perhaps with a mark in front; lines end in LF or CRLF, the last perhaps in neither. What begins
    with a brace is NDJSON, all else CSV, perhaps with a line `sep=` above its header.
    """
    if data.startswith(b"PAR1"):
        raise BadFile(0, "damaged")  # for here it is nothing but text
    if data.startswith(OTHERS):
        raise BadFile(1, "other kind")
    data = data.removeprefix(BYTE_ORDER_MARK)
    header = None if data.lstrip(b" \t\r\n").startswith(b"{") else []
    if data.lstrip().startswith(OTHER_TEXTS) or (header is None and is_spread(data)):
        raise BadFile(1, "other kind")
    number, separator = 0, ","
    for number, line in enumerate(BytesIO(data), 1):
        if len(line) > LINE_BYTES_MAX:
            raise BadFile(number, "too long")
        whole = line.removesuffix(b"\n").removesuffix(b"\r")
        if header == []:
            if number > 1 or whole not in {b"sep=" + one.encode() for one in SEPARATORS}:
                header, separator = names_in(whole, number)
            continue
        try:
            text = text_of(whole)
            yield number, members_in(text) if header is None else values_in(text, header, separator)
        except BadLine as bad:
            yield number, bad
    if header == []:
        raise BadFile(number + 1, "header")


def text_of(line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BadLine(None, None, "not UTF-8") from None
    if "\0" in text:
        raise BadLine(None, None, "NUL")
    return text


def is_spread(data: bytes) -> bool:
    """Whether the first object of a file goes on behind the end of its line."""
    text = data.decode(errors="replace").strip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]


def names_in(line: bytes, number: int) -> tuple[list[str], str]:
    """The columns that a header names: the four and perhaps those of rejects, each once, in any order.

    And what parts them: one of SEPARATORS.
    """
    for separator in SEPARATORS:
        try:
            names = [name.strip() for name in next(csv.reader([line.decode()], delimiter=separator), [])]
        except (UnicodeDecodeError, csv.Error):
            break
        if set(COLUMNS) <= set(names) <= {*COLUMNS, *OF_REJECTS} and len(names) == len(set(names)):
            return names, separator
    raise BadFile(number, "header")


def values_in(text: str, header: list[str], separator: str) -> Fields:
    """A line of CSV, with quotes as RFC 4180 has them, but none that goes on in the next line."""
    if text == "":
        raise BadLine(None, None, "blank")
    try:
        values = next(csv.reader([text], strict=True, delimiter=separator), [])
    except csv.Error:
        raise BadLine(None, None, "carriage return" if "\r" in text else "quote") from None
    if text.endswith("\r"):  # which Python takes for a line's end
        raise BadLine(None, None, "carriage return")
    if len(values) < len(header):
        raise BadLine(header[len(values)], None, "missing")
    if len(values) > len(header):
        raise BadLine(None, values[len(header)], "too many columns")
    return dict(zip(header, values, strict=True))


class Members(list[tuple[str, Any]]):
    """A JSON object as it stands."""


class Number(str):
    """As it is spelled."""

    __slots__ = ()


def members_in(text: str) -> Fields:
    """A line of NDJSON: an object with the four keys; null, or no key, is a missing value."""
    if text.strip() == "":
        raise BadLine(None, None, "blank")
    try:
        value = json.loads(
            text, object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=refuse
        )
    except (ValueError, RecursionError):
        raise BadLine(None, None, "not JSON") from None
    if not isinstance(value, Members):
        raise BadLine(None, None, "no object")
    fields: Fields = {}
    for name, member in value:
        if name not in COLUMNS:
            raise BadLine(None, None, "no column")
        if name in fields:
            raise BadLine(name, None, "twice")
        fields[name] = spelling_of(name, member)
    return dict.fromkeys(COLUMNS) | fields


def refuse(name: str) -> None:
    raise ValueError(name)


def spelling_of(name: str, value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case str():
            if "\0" in value:
                raise BadLine(name, None, "NUL")
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise BadLine(name, None, "no character")
            return value
    raise BadLine(name, None, "no value")


def read_line(name: str, number: int, line: Fields | BadLine, codes: set[str], reading: Reading) -> None:
    """Adds a line's row, or what is wrong with it."""
    if isinstance(line, BadLine):
        wrong = [line.args]
    else:
        wrong = [
            (column, line[column], "missing" if line[column] is None else KIND_OF_COLUMN[column])
            for column in COLUMNS
            if not is_good(column, line[column], codes)
        ]
        if not wrong:
            orig_code, dest_code, day, price = (str(line[column]) for column in COLUMNS)
            reading.rows.append((orig_code, dest_code, date.fromisoformat(day), int(price)))
    for column, value, kind in wrong:
        reading.faults.append(Fault(name, number, column, value and value[:VALUE_CHARS_MAX], kind))


KIND_OF_COLUMN = {"orig_code": "port", "dest_code": "port", "day": "day", "price": "price"}


def is_good(column: str, value: str | None, codes: set[str]) -> bool:
    if value is None:
        return False
    match column:
        case "day":
            return is_day(value)
        case "price":
            return is_price(value)
        case _:
            return value in codes


def is_day(text: str) -> bool:
    """YYYY-MM-DD, from 1970 to 2099, in the digits of ASCII, and a day that the calendar has."""
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(is_digits(part) for part in parts):
        return False
    try:
        return 1970 <= date(*(int(part) for part in parts)).year <= 2099
    except ValueError:
        return False


def is_price(text: str) -> bool:
    """A whole number of USD from 1 to 2,147,483,647, in nothing but digits, with no zero in front."""
    plain = is_digits(text) and not text.startswith("0") and len(text) <= 10
    return plain and int(text) <= 2_147_483_647


def is_digits(text: str) -> bool:
    return text != "" and set(text) <= set("0123456789")


# --- what the loader told ----------------------------------------------------------------------------------

# The kind of each of its reasons: of the first words that stand in it.
KINDS = {
    "the header ": "header",
    "the file is empty": "header",
    "the file is ": "other kind",
    "no rows: ": "no rows",
    "the line is longer than": "too long",
    "the line is blank": "blank",
    "which is not a column": "no column",
    "there twice": "twice",
    "not JSON": "not JSON",
    "expected an object": "no object",
    "expected a value": "no value",
    "no such port": "port",
    "no such day": "day",
    "expected a day as YYYY-MM-DD": "day",
    "expected a whole number of USD": "price",
    "missing: ": "missing",
    "columns, expected": "too many columns",
    "not UTF-8: byte": "not UTF-8",
    "a NUL ": "NUL",
    "which is no character": "no character",
    "a carriage return inside the line": "carriage return",
    "a quote is not closed": "quote",
}


class Told(Protocol):
    """A fault as the loader tells it."""

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> str | None: ...
    @property
    def value(self) -> str | None: ...
    @property
    def reason(self) -> str: ...


def faults_told(errors: Iterable[Told]) -> list[Fault]:
    """As the model has them, to be compared."""
    return [Fault(told.file, told.line, told.column, told.value, kind_of(told.reason)) for told in errors]


def kind_of(reason: str) -> str:
    return next(kind for words, kind in KINDS.items() if words in reason)


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """By file and line, as they come, and within a line by column."""
    files: dict[str, int] = {}
    faults = list(faults)
    for fault in faults:
        files.setdefault(fault.file, len(files))
    return sorted(faults, key=lambda fault: (files[fault.file], fault.line, str(fault.column)))
