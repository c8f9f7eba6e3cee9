"""The loader against a model of its rules in plain Python: of files with faults in them it makes the same."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.check import Ports, check
from loader.errors import FileRejected, RowError
from loader.load import Options, load
from loader.sources import Files
from local.postgres import PostgresServer
from tests.examples import examples
from tests.loader.batches import CODES, DIFFERENCES, one_database
from tests.loader.rows_by_the_rules import (
    BYTE_ORDER_MARK,
    COLUMNS,
    BadFile,
    Row,
    decompressed,
    faults_told,
    in_order,
    read_files,
)
from tests.postgres import Database

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KNOWN = {*CODES}
BAD_VALUES = {
    "orig_code": [
        "", "cnsgh", "CNSGH ", " CNSGH", "XXXXX", "5", "Gävle", "\ufeffCNSGH", "\u2028", "a,b", 'a"b',
    ],
    "dest_code": ["", "nlrtm", "NLRTM\t", "YYYYY", "NULL", "\\N", "\x85", "ÅÄÖ", "x" * 300],
    "day": [
        "", "2021-02-29", "1969-12-31", "2100-01-01", "0000-01-01", "2021-1-1", "21-01-01", "2021/01/01",
        "2021-01-01T00:00", "+2021-01-01", "-2021-01-01", " 2021-01-01", "٢٠٢١-01-01", "20210101", "today",
        "2021-W01-1", "2021-00-01", "2021-13-01", "2021-01-32",
    ],
    "price": [
        "", "0", "-1", "+1", "01", "00", "1.0", "1,5", "1e3", "1_000", "1 000", " 1", "1 ", "٣", "²", "0x10",
        "NaN", "2147483648", "4294967297", "99999999999999999999", "9" * 300, "true", "free",
    ],
}  # fmt: skip
GOOD_VALUES = {
    "orig_code": st.sampled_from(CODES),
    "dest_code": st.sampled_from(CODES),
    "day": st.dates(date(1970, 1, 1), date(2099, 12, 31)).map(str)
    | st.sampled_from(["1970-01-01", "2099-12-31"]),
    "price": st.integers(1, 2**31 - 1).map(str) | st.sampled_from(["1", "2147483647"]),
}
# What a line is spoilt with, at any place.
SPOILS = [
    b"\r", b"\r", b"\r", b"\r", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b'"', b'""', b",", b" ", b"\t", b";", b"\n", b"\r\n",
    b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\x1a", b"\\", b"'",
]  # fmt: skip


# Values of JSON that no string of BAD_VALUES spells.
BAD_JSON = [
    "null", "true", "false", "NaN", "-Infinity", "{}", "[]", "[7]", '{"a": 7}', "1.0", "1e3", "-1", "-0", "0",
    "01", "1E400", r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"', "7x", "", "9" * 300, "[" * 300 + "]" * 300,
]  # fmt: skip


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@st.composite
def csv_lines(draw: st.DrawFn, columns: list[str], fault: str | None, separator: str = ",") -> bytes:
    """Values as they are, with or without quotes; more or fewer of them where that is the fault."""
    values = draw_values(draw, columns, fault)
    if fault == "count":
        values = draw(st.sampled_from([values[:3], values[:1], [], [*values, ""], [*values, "7", "8"]]))
    quotes = [draw(st.booleans()) or bool({*value} & {separator, '"'}) for value in values]
    fields = [quoted(value) if quote else value for value, quote in zip(values, quotes, strict=True)]
    return separator.join(fields).encode()


@st.composite
def ndjson_lines(draw: st.DrawFn, columns: list[str], fault: str | None) -> bytes:
    """An object of strings, the price perhaps a number; with other keys or values as a fault."""
    ascii_only, as_number = draw(st.booleans()), draw(st.booleans())
    members = []
    for name, value in zip(columns, draw_values(draw, columns, fault), strict=True):
        plain = as_number and name == "price" and '"' not in value
        members.append((name, value if plain else json.dumps(value, ensure_ascii=ascii_only)))
    if fault == "count":
        more = [("x", "7"), ("price", "7"), ("Day", '"2021-01-01"'), ("price", "null")]
        members = draw(st.sampled_from([members[:3], [], *([*members, one] for one in more)]))
    elif fault == "json":
        at = draw(st.integers(0, 3))
        members[at] = (members[at][0], draw(st.sampled_from(BAD_JSON)))
    space = draw(st.sampled_from(["", "", " ", "\t"]))
    text = ",".join(f'{space}"{name}":{space}{value}' for name, value in members)
    return f"{{{text}{space}}}".encode()


def draw_values(draw: st.DrawFn, columns: list[str], fault: str | None) -> list[str]:
    """Good values, but for some or all of them where values are the fault."""
    values = [draw(GOOD_VALUES[name]) for name in columns]
    if fault == "values":
        for number in draw(st.sets(st.integers(0, 3), min_size=1)):
            values[number] = draw(st.sampled_from(BAD_VALUES[columns[number]]))
    return values


@st.composite
def spoilt(draw: st.DrawFn, line: bytes) -> bytes:
    at = draw(st.integers(0, len(line)))
    return line[:at] + draw(st.sampled_from(SPOILS)) + line[at + draw(st.integers(0, 1)) :]


@st.composite
def headers(draw: st.DrawFn, columns: list[str], good: bool, separator: str) -> bytes:
    """A line that names the columns, or not quite."""
    names = [quoted(name) if draw(st.booleans()) else name for name in columns]
    text = separator.join(names)
    if good:
        return draw(st.sampled_from([text, text, f"{separator} ".join(columns)])).encode()
    bad = [
        text[1:],
        text + separator + "x",
        text + separator + columns[0],
        "",
        text.upper(),
        text.replace(separator, ";"),
        text.replace(separator, ":"),
        "\0",
        "a\rb",
    ]
    return draw(st.sampled_from(bad)).encode()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of either format; half of them have nothing wrong, most others a line or two."""
    clean, is_csv = draw(st.booleans()), draw(st.booleans())
    columns = draw(st.permutations(COLUMNS))
    separator = draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    good_header = clean or draw(st.integers(0, 9)) > 0
    rows = [draw(headers(columns, good=good_header, separator=separator))] if is_csv else []
    if is_csv and draw(st.integers(0, 9)) == 0:
        rows.insert(0, b"sep=" + separator.encode())
    kinds = ["values", "values", "count", "json", "spoilt"]
    for _ in range(draw(st.integers(1 if clean else 0, 12))):
        fault = None if clean or draw(st.booleans()) else draw(st.sampled_from(kinds))
        line = draw(csv_lines(columns, fault, separator) if is_csv else ndjson_lines(columns, fault))
        rows.append(draw(spoilt(line)) if fault == "spoilt" else line)
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    data = end.join(rows) + draw(st.sampled_from([end, b"", b"" if clean else end + end]))
    data = draw(st.sampled_from([b"", b"", BYTE_ORDER_MARK])) + data
    return draw(st.sampled_from([lambda plain: plain, gzip.compress, zstd.compress]))(data)


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    with one_database(server, template) as database:
        yield database


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


def write(folder: Path, contents: list[bytes]) -> dict[str, bytes]:
    """The files by their names."""
    named = {str(folder / str(number)): data for number, data in enumerate(contents)}
    for name, data in named.items():
        Path(name).write_bytes(data)
    return named


def unpacked(data: bytes) -> bytes:
    try:
        return decompressed(data)
    except BadFile:
        return data


# Twins are refused for being that (`test_the_same_content_twice_in_one_load_is_refused_naming_both`).
batches = st.lists(files(), min_size=1, max_size=2, unique_by=unpacked)


def assert_chunks_are_by_the_rules(named: dict[str, bytes], chunk_rows: int) -> None:
    ports = Ports(KNOWN)
    rows: list[Row] = []
    errors: list[RowError] = []
    error_count = 0
    try:
        for chunk in Files([Path(name) for name in named]).chunks(chunk_rows):
            checked = check(chunk, ports)
            rows += checked.prices.rows()
            errors += checked.errors
            error_count += checked.error_count
    except FileRejected as rejected:
        errors.append(rejected.error)
        error_count += 1
    expected = read_files(named, KNOWN)
    assert in_order(faults_told(errors)) == in_order(expected.faults)
    assert error_count == len(expected.faults)
    if not expected.faults:
        assert rows == expected.rows


@settings(max_examples=examples(400), deadline=None)
@given(contents=batches, chunk_rows=st.integers(1, 6))
@example(contents=[b"orig_code,dest_code,day,price\nCNSGH,NLRTM,2021-01-01,1\r\r\n"], chunk_rows=1)
def test_chunks_hold_the_rows_and_faults_that_the_rules_find(
    contents: list[bytes], chunk_rows: int, folder: Path
) -> None:
    assert_chunks_are_by_the_rules(write(folder, contents), chunk_rows)


@settings(max_examples=examples(100), deadline=None)
@given(
    before=st.lists(csv_lines(COLUMNS, "values") | csv_lines(COLUMNS, None), max_size=5),
    length=st.sampled_from([100, 65_535, 65_536, 65_537, 200_000]),
    after=st.lists(csv_lines(COLUMNS, "values"), max_size=2),
    chunk_rows=st.integers(1, 6),
)
@example(before=[b"CNSGH,NLRTM,2021-01-01,0"], length=65_537, after=[], chunk_rows=2)
def test_a_line_too_long_for_a_row_is_told_after_the_faults_before_it_and_nothing_after(
    before: list[bytes], length: int, after: list[bytes], chunk_rows: int, folder: Path
) -> None:
    """`length` is in bytes and with the line's end, where it has one."""
    row = b"CNSGH,NLRTM,2021-01-01,"
    data = b"\n".join([",".join(COLUMNS).encode(), *before, row.ljust(length - 1, b"7"), *after])
    assert_chunks_are_by_the_rules(write(folder, [data]), chunk_rows)


@settings(max_examples=examples(60), deadline=None)
@given(contents=batches, chunk_rows=st.integers(1, 6), workers=st.integers(1, 3), dry_run=st.booleans())
def test_a_load_publishes_the_rows_or_tells_the_faults_that_the_rules_find(
    contents: list[bytes], chunk_rows: int, workers: int, dry_run: bool, database: Database, folder: Path
) -> None:
    named = write(folder, contents)
    source = Files([Path(name) for name in named])

    result = load(source, Options(str(uuid4()), workers, chunk_rows, dry_run))

    expected = read_files(named, KNOWN)
    good = "valid" if dry_run else "published"
    assert result.state == ("rejected" if expected.faults else good)
    assert in_order(faults_told(result.errors)) == in_order(expected.faults)
    assert result.error_count == len(expected.faults)
    assert result.rows == (0 if expected.faults else len(expected.rows))
    published = database.rows(
        "SELECT orig_code, dest_code, day, price FROM prices JOIN batches USING (batch_no)"
        " WHERE id = %s AND state = 'published'",
        result.batch,
    )
    assert sorted(published) == ([] if expected.faults or dry_run else sorted(expected.rows))
    assert database.rows(DIFFERENCES) == []
