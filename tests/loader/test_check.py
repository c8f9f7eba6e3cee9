"""The second stage: what the rules accept, what they say of the rest, and that the fast reader obeys them."""

import json
from datetime import date

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader import faults, kinds
from loader.check import Ports, check, typed
from loader.chunks import COLUMNS, Chunk, FaultChunk
from loader.errors import RowError
from loader.faults import (
    DAY_MAX,
    DAY_MIN,
    DAY_REASON,
    ERRORS_KEPT,
    NO_DAY_REASON,
    PRICE_MAX,
    PRICE_REASON,
    VALUE_CHARS_MAX,
)
from loader.formats.delimited import REJECT_COLUMNS, DelimitedChunk, Layout
from loader.formats.ndjson import NdjsonChunk
from loader.formats.parquet import ParquetChunk
from loader.kinds import FIRST_LINES
from tests.examples import examples
from tests.loader.judged_by_rows import Row, judge_rows

QUOTE_REASON = "a quote is not closed on its line, or stands inside a field"

CSV = Layout(COLUMNS, separator=",", quoted=True)
DUMP = Layout(COLUMNS, separator="\t", quoted=False)
REJECTS = Layout(
    ("rejected_text", "price", "orig_code", *REJECT_COLUMNS[:1], "day", "dest_code"), ",", quoted=True
)
# Codes as they are, and some that a CSV reader could trip over.
CODES = ["CNSGH", "NLRTM", "ÅÄÖ", "with space", "a,b", 'a"b', "a\tb", '"', '"a', "5"]
PORTS = Ports(set(CODES))

NASTY_DAYS = [
    "2021-02-28", "2021-02-29", "2024-02-29", "2021-02-30", "0000-01-01", "10000-01-01", "1969-12-31",
    "1970-01-01", "2099-12-31", "2100-01-01", "2021-1-1", "21-01-01", "2021/01/01", "2021-01-01T00:00:00",
    "+2021-01-01", "-2021-01-01", " 2021-01-01", "2021-01-01 ", "٢٠٢١-01-01", "2021-00-10", "2021-13-01",
    "20210101", "2021-W01-1", "", "\\N", "null",
]  # fmt: skip
NASTY_PRICES = [
    "1", "0", "-0", "-1", "+1", "01", "1.0", "1e3", "1_000", "1 000", " 1", "1 ", "٣", "²", "0x10", "NaN",
    "2147483647", "2147483648", "9999999999", "99999999999999999999999", "true", "", "\\N", "null",
]  # fmt: skip
NASTY_TEXTS = [
    '"', '""', '"""', '"\n', "\n", "\r", "\r\n", ",", "\t", "\0", "\ufeff", "\u2028", "\x85", "\x1a", "\\",
    "\\.", "#", "'", " ",
]  # fmt: skip

days = st.sampled_from(NASTY_DAYS) | st.dates(DAY_MIN, DAY_MAX).map(str)
prices = st.sampled_from(NASTY_PRICES) | st.integers(-3, 2**33).map(str)
codes = st.sampled_from([*CODES, "", "cnsgh", "CNSGH ", "XXXXX"])


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def good_fields() -> st.SearchStrategy[Row]:
    code = st.sampled_from(CODES)
    return st.tuples(code, code, st.dates(DAY_MIN, DAY_MAX), st.integers(1, PRICE_MAX))


@st.composite
def nasty_lines(draw: st.DrawFn) -> bytes:
    """A line that is nearly right: good and bad values, quoted or not, too many, too few, perhaps spoilt."""
    fields = [draw(codes), draw(codes), draw(days), draw(prices)]
    if draw(st.integers(0, 3)):
        fields = [str(field) for field in draw(good_fields())]
    fields = [quoted(field) if draw(st.booleans()) else field for field in fields]
    spoilt = draw(st.sampled_from([None, None, None, "edge", "text", "byte"]))
    if spoilt == "edge":
        number, text = draw(st.integers(0, 3)), draw(st.sampled_from(NASTY_TEXTS))
        fields[number] = draw(st.sampled_from([fields[number] + text, text + fields[number]]))
    fields += draw(st.sampled_from([[], [], [], [""], ["7"], ['"']]))
    fields = fields[draw(st.sampled_from([0, 0, 0, 0, 1])) :]
    text = draw(st.sampled_from([",", ",", ",", "\t", ";"])).join(fields)
    at = draw(st.integers(0, len(text)))
    if spoilt == "text":
        text = text[:at] + draw(st.sampled_from(NASTY_TEXTS)) + text[at:]
    line = text.encode()
    if spoilt == "byte":
        line = line[:at] + draw(st.binary(min_size=1, max_size=2)) + line[at:]
    return line


@st.composite
def nasty_data(draw: st.DrawFn) -> bytes:
    ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n"])
    lines = draw(st.lists(nasty_lines(), min_size=1, max_size=4))
    data = b"".join(line + draw(ends) for line in lines)
    return data.rstrip(b"\r\n") if draw(st.booleans()) else data


def chunk_of(data: bytes, layout: Layout = CSV, first_line: int = 2) -> DelimitedChunk:
    return DelimitedChunk("prices.csv", first_line, layout, data)


def read_fast(chunk: Chunk) -> pl.DataFrame | None:
    """The rows where neither of the slower ways is needed."""
    text = chunk.columns()
    rows = None if text is None else typed(text, PORTS)
    return None if rows is None or any(column.has_nulls() for column in rows) else rows


def assert_judged_as_by_the_rules(chunk: Chunk) -> None:
    checked, expected = check(chunk, PORTS, keep_bad_rows=True), judge_rows(chunk, PORTS)
    assert checked.errors == expected.errors
    assert checked.error_count == len(expected.errors)
    assert checked.prices.rows() == ([] if expected.errors else expected.rows)
    assert (checked.row_count, checked.bad_row_count) == (len(expected.rows), expected.bad_row_count)
    assert checked.bad_rows_csv == expected.bad_rows_csv
    told = {key: (found.row_count, found.first_lines) for key, found in checked.kinds.items()}
    assert told == {key: (len(lines), lines[:FIRST_LINES]) for key, lines in expected.kinds.items()}


@settings(max_examples=examples(1500), deadline=None)
@given(data=nasty_data() | st.binary(min_size=1, max_size=60), layout=st.sampled_from([CSV, DUMP, REJECTS]))
@example(data=b'CNSGH,CNSGH,2021-02-28,"1""', layout=CSV)
@example(data=b'CNSGH,CNSGH,2021-02-28,"1"0"', layout=CSV)
@example(data=b"CNSGH,CNSGH,2021-02-28,1\nCNSGH,CNSGH,2021-02-28,1,", layout=CSV)
@example(data=b"CNSGH,CNSGH\r,2021-02-28,1\n", layout=CSV)
@example(data=b"\xef\xbb\xbfCNSGH,CNSGH,2021-02-28,1\n", layout=CSV)
@example(data=b"\xff\nCNSGH,CNSGH,2021-02-28,1\r\r\n", layout=CSV)
def test_as_columns_a_chunk_is_judged_as_by_the_rules(data: bytes, layout: Layout) -> None:
    assert_judged_as_by_the_rules(chunk_of(data, layout))


@settings(max_examples=examples(300), deadline=None)
@given(data=nasty_data(), layout=st.sampled_from([CSV, DUMP]))
def test_so_it_is_where_not_all_is_kept_or_done_at_once(data: bytes, layout: Layout) -> None:
    chunk = chunk_of(data, layout)
    expected = judge_rows(chunk, PORTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faults, "ERRORS_KEPT", 2)
        patch.setattr(faults, "REJECTS_AT_ONCE", 2)
        for module in (faults, kinds):
            patch.setattr(module, "KINDS_KEPT", 1)
        checked = check(chunk, PORTS, keep_bad_rows=True)
    assert checked.errors == expected.errors[:2]
    assert checked.error_count == len(expected.errors)
    assert checked.bad_rows_csv == expected.bad_rows_csv
    assert sum(found.row_count for found in checked.kinds.values()) == len(expected.errors)
    assert len(checked.kinds) <= 3
    for key, found in checked.kinds.items():
        if key[1] is not None:
            lines = expected.kinds[key]
            assert (found.row_count, found.first_lines) == (len(lines), lines[:FIRST_LINES])


json_values = (
    st.sampled_from([*CODES, *NASTY_DAYS, *NASTY_PRICES, *NASTY_TEXTS, "2021-01-31"])
    | st.none() | st.booleans() | st.integers(-3, 2**33) | st.floats() | st.lists(st.integers(), max_size=1)
)  # fmt: skip
json_lines = st.builds(
    lambda names, values, escaped, end: (
        json.dumps(dict(zip(names, values, strict=False)), ensure_ascii=escaped) + end
    ).encode(),
    st.permutations([*COLUMNS, *COLUMNS[:1]]) | st.just(COLUMNS) | st.just((*COLUMNS, "unit")),
    st.tuples(codes, codes, days, prices | st.integers(-3, 2**33)) | st.tuples(*[json_values] * 5),
    st.booleans(),
    st.sampled_from(["", "", "", " ", "\r", "}", "\0"]),
)


@settings(max_examples=examples(800), deadline=None)
@given(lines=st.lists(json_lines | st.binary(max_size=9), min_size=1, max_size=8))
def test_so_are_lines_of_json(lines: list[bytes]) -> None:
    assert_judged_as_by_the_rules(NdjsonChunk("prices.ndjson", 1, b"\n".join(lines)))


parquet_values = st.sampled_from([*CODES, *NASTY_DAYS, *NASTY_PRICES, *NASTY_TEXTS, None, "x" * 3000])


@settings(max_examples=examples(400), deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[parquet_values] * 4) | good_fields().map(lambda row: tuple(map(str, row))), min_size=1
    )
)
def test_so_are_rows_of_parquet(rows: list[tuple[str | None, ...]]) -> None:
    text = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    assert_judged_as_by_the_rules(ParquetChunk("prices.parquet", 1, text))


def test_a_byte_order_mark_inside_a_file_belongs_to_the_code_behind_it() -> None:
    chunk = chunk_of(b"\xef\xbb\xbfCNSGH,NLRTM,2021-01-01,1\n")
    assert read_fast(chunk) is None
    assert [(error.column, error.value) for error in check(chunk, PORTS).errors] == [
        ("orig_code", "\ufeffCNSGH")
    ]


@settings(max_examples=examples(200), deadline=None)
@given(
    rows=st.lists(good_fields(), min_size=1, max_size=8),
    order=st.permutations(COLUMNS),
    end=st.sampled_from(["\n", "\r\n"]),
    quote_all=st.booleans(),
    last_end=st.booleans(),
)
def test_a_well_formed_file_is_read_as_columns(
    rows: list[Row], order: list[str], end: str, quote_all: bool, last_end: bool
) -> None:
    lines = []
    for row in rows:
        fields = [str(value) for value in pick(row, order)]
        fields = [quoted(text) if quote_all or set(text) & set(',"') else text for text in fields]
        lines.append(",".join(fields))
    text = end.join(lines) + (end if last_end else "")
    chunk = chunk_of(text.encode(), Layout(tuple(order), ",", quoted=True))

    assert check(chunk, PORTS).prices.rows() == rows
    # A code that needs its quotes is too rare for the fast reader to bother.
    assert (read_fast(chunk) is None) == any(set(code) & set(',"') for row in rows for code in row[:2])


def test_rows_of_a_dump_are_read_as_columns() -> None:
    data = b'a"b\ta,b\t2021-01-31\t7\nCNSGH\t5\t1970-01-01\t2147483647\n'
    found = read_fast(chunk_of(data, DUMP))
    assert found is not None
    assert found.rows() == [
        ('a"b', "a,b", date(2021, 1, 31), 7),
        ("CNSGH", "5", date(1970, 1, 1), 2147483647),
    ]


@pytest.mark.parametrize(
    ("line", "column", "value", "reason"),
    [
        (b"XXXXX,NLRTM,2021-01-01,1", "orig_code", "XXXXX", "no such port"),
        (b"CNSGH,cnsgh,2021-01-01,1", "dest_code", "cnsgh", "no such port"),
        (b"CNSGH,,2021-01-01,1", "dest_code", "", "no such port"),
        (b"CNSGH,NLRTM,2021-02-29,1", "day", "2021-02-29", NO_DAY_REASON),
        (b"CNSGH,NLRTM,2021-13-01,1", "day", "2021-13-01", NO_DAY_REASON),
        (b"CNSGH,NLRTM,0000-00-00,1", "day", "0000-00-00", DAY_REASON),
        (b"CNSGH,NLRTM,1969-12-31,1", "day", "1969-12-31", DAY_REASON),
        (b"CNSGH,NLRTM,2100-01-01,1", "day", "2100-01-01", DAY_REASON),
        (b"CNSGH,NLRTM,01/02/2021,1", "day", "01/02/2021", DAY_REASON),
        (b"CNSGH,NLRTM,2021-1-1,1", "day", "2021-1-1", DAY_REASON),
        (b"CNSGH,NLRTM,,1", "day", "", DAY_REASON),
        (b"CNSGH,NLRTM,2021-01-01,0", "price", "0", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01,-5", "price", "-5", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01,1.5", "price", "1.5", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01,007", "price", "007", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01, 7", "price", " 7", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01,2147483648", "price", "2147483648", PRICE_REASON),
        ("CNSGH,NLRTM,2021-01-01,٣".encode(), "price", "٣", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01,", "price", "", PRICE_REASON),
        (b"CNSGH,NLRTM,2021-01-01", "price", None, "missing: the line has 3 of 4 columns"),
        (b" ", "dest_code", None, "missing: the line has 1 of 4 columns"),
        (b"", None, None, "the line is blank; expected orig_code,dest_code,day,price"),
        (b"CNSGH,NLRTM,2021-01-01,1,x", None, "x", "5 columns, expected 4: orig_code,dest_code,day,price"),
        (b'CNSGH,NLRTM,2021-01-01,"1', None, None, QUOTE_REASON),
        (b'"CNSGH"x,NLRTM,2021-01-01,1', None, None, QUOTE_REASON),
        (b"CNSGH,NLRTM\r,2021-01-01,1", None, None, "a carriage return inside the line"),
        (b"CNSGH,NL\0TM,2021-01-01,1", None, None, "a NUL byte at position 9 of the line"),
        (b"CNSGH,NL\xffTM,2021-01-01,1", None, None, "not UTF-8: byte 0xff at position 9 of the line"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_line_column_value_and_reason(
    line: bytes, column: str | None, value: str | None, reason: str
) -> None:
    good = b"CNSGH,NLRTM,2021-01-01,1\n"
    checked = check(chunk_of(good + line + b"\n" + good, first_line=100), PORTS)
    assert checked.errors == [RowError("prices.csv", 101, column, value, reason)]
    assert checked.error_count == 1


def test_every_fault_of_a_row_is_told_at_once() -> None:
    checked = check(chunk_of(b"XXXXX,YYYYY,today,free\n"), PORTS)
    assert [error.column for error in checked.errors] == ["orig_code", "dest_code", "day", "price"]
    assert {error.line for error in checked.errors} == {2}
    assert checked.error_count == 4


def test_a_row_error_reads_as_a_sentence_with_its_place() -> None:
    assert str(RowError("a.csv", 7, "price", "1.5", "expected a whole number")) == (
        "a.csv:7: price is '1.5': expected a whole number"
    )
    assert str(RowError("a.csv", 7, None, None, "the line is blank")) == "a.csv:7: the line is blank"
    assert str(RowError("a.csv", 7, "price", None, "missing")) == "a.csv:7: price: missing"


def test_all_faults_are_counted_and_the_first_are_kept_shortened() -> None:
    line = b"CNSGH,NLRTM,2021-01-01," + b"9" * 5000 + b"\n"
    checked = check(chunk_of(line * (ERRORS_KEPT + 5)), PORTS)
    assert checked.error_count == ERRORS_KEPT + 5
    assert [error.line for error in checked.errors] == list(range(2, ERRORS_KEPT + 2))
    assert {error.value for error in checked.errors} == {"9" * VALUE_CHARS_MAX}


def test_a_batch_may_be_checked_where_no_port_is_known() -> None:
    checked = check(chunk_of(b"CNSGH,NLRTM,2021-01-01,1\n"), Ports(set()))
    assert [error.reason for error in checked.errors] == ["no such port", "no such port"]


def test_the_fault_of_a_whole_file_is_the_one_error_of_its_chunk() -> None:
    fault = RowError("prices.csv", 9, None, None, "the line is longer than 65,536 bytes")
    checked = check(FaultChunk(fault), PORTS)
    assert (checked.errors, checked.error_count, checked.row_count) == ([fault], 1, 0)


def pick(row: Row, order: list[str]) -> list[object]:
    named = dict(zip(COLUMNS, row, strict=True))
    return [named[column] for column in order]
