"""The loader against a model of its rules in plain Python: of files with faults in them it makes the same."""

from __future__ import annotations

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
from tests.loader.batches import CODES, DIFFERENCES, add_places
from tests.loader.rows_by_the_rules import (
    BYTE_ORDER_MARK,
    COLUMNS,
    Reading,
    faults_told,
    in_order,
    read_files,
)
from tests.postgres import Database, clone

KNOWN = {*CODES}
BAD_VALUES = {
    "orig_code": [
        "", "cnsgh", "CNSGH ", " CNSGH", "XXXXX", "5", "Gävle", "\ufeffCNSGH", "\u2028", "a,b", 'a"b', "'CNSGH'",
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
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\r", b'"', b'""', b",", b" ", b"\t", b";", b"\n", b"\r\n",
    b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\x1a", b"\\", b"'",
]  # fmt: skip


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@st.composite
def lines(draw: st.DrawFn, header: list[str], fault: str | None) -> bytes:
    """A line of good values, with none, some or all of them bad, or the line itself spoilt."""
    values = [draw(GOOD_VALUES[name]) for name in header]
    if fault == "values":
        for number in draw(st.sets(st.integers(0, 3), min_size=1)):
            values[number] = draw(st.sampled_from(BAD_VALUES[header[number]]))
    elif fault == "count":
        values = draw(st.sampled_from([values[:3], values[:1], [], [*values, ""], [*values, "7", "8"]]))
    quotes = [draw(st.booleans()) or bool({*value} & {",", '"'}) for value in values]
    text = ",".join(quoted(value) if quote else value for value, quote in zip(values, quotes, strict=True))
    line = text.encode()
    if fault == "bytes":
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from(SPOILS)) + line[at + draw(st.integers(0, 1)) :]
    return line


@st.composite
def headers(draw: st.DrawFn, good: bool) -> tuple[list[str], bytes]:
    """An order of the columns, and a line that names them, or does not quite."""
    header = draw(st.permutations(COLUMNS))
    names = [quoted(name) if draw(st.booleans()) else name for name in header]
    text = draw(st.sampled_from([",", ",", " , "])).join(names).replace('" ', '"').replace(' "', '"')
    if not good:
        bad = [
            text[1:],
            text + ",x",
            text + "," + header[0],
            "",
            text.upper(),
            text.replace(",", ";"),
            "\0",
            "a\rb",
        ]
        text = draw(st.sampled_from(bad))
    return header, text.encode()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A CSV file; half of them have nothing wrong, most others a line or two."""
    clean = draw(st.booleans())
    header, first = draw(headers(good=clean or draw(st.integers(0, 9)) > 0))
    faults = st.just(None) if clean else st.sampled_from([None, None, "values", "values", "count", "bytes"])
    rows = draw(
        st.lists(
            faults.flatmap(lambda fault: lines(header, fault)), min_size=0 if not clean else 1, max_size=12
        )
    )
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    data = end.join([first, *rows])
    data += draw(st.sampled_from([end, b"" if clean else end + end, b""]))
    return draw(st.sampled_from([b"", b"", BYTE_ORDER_MARK])) + data


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    """One for all the batches of this module; its loader is this process."""
    database = clone(server, template)
    add_places(database)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in database.environment("rates_loader").items():
            patch.setenv(name, value)
        yield database
    database.drop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


def write(folder: Path, contents: list[bytes]) -> dict[str, bytes]:
    """The files by their names."""
    named = {str(folder / f"{number}.csv"): data for number, data in enumerate(contents)}
    for name, data in named.items():
        Path(name).write_bytes(data)
    return named


batches = st.lists(files(), min_size=1, max_size=2)


@settings(max_examples=600, deadline=None)
@given(contents=batches, chunk_rows=st.integers(1, 6))
#@example(contents=[b"orig_code,dest_code,day,price\nCNSGH,NLRTM,2021-01-01,1\r\r\n"], chunk_rows=1)
def test_chunks_hold_the_rows_and_faults_that_the_rules_find(
    contents: list[bytes], chunk_rows: int, folder: Path
) -> None:
    named = write(folder, contents)
    ports = Ports(KNOWN)
    found, errors, error_count = Reading(), list[RowError](), 0
    try:
        for chunk in Files([Path(name) for name in named]).chunks(chunk_rows):
            checked = check(chunk, ports)
            found.rows += checked.prices.rows()
            errors += checked.errors
            error_count += checked.error_count
    except FileRejected as rejected:
        errors.append(rejected.error)
        error_count += 1

    expected = read_files(named, KNOWN)

    assert in_order(faults_told(errors)) == in_order(expected.faults)
    assert error_count == len(expected.faults)
    if not expected.faults:
        assert found.rows == expected.rows


@settings(max_examples=60, deadline=None)
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
