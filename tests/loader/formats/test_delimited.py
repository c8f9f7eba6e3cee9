"""Delimited lines: both ways of reading give the same, and rejects come back; `test_check` has the values."""

import csv
from io import BytesIO, StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.chunks import COLUMNS
from loader.errors import FileRejected
from loader.formats.delimited import REJECT_COLUMNS, DelimitedChunk, Layout, csv_chunks
from loader.formats.lines import LineReader
from tests.examples import examples

CSV = Layout(COLUMNS, separator=",", quoted=True)
DUMP = Layout(COLUMNS, separator="\t", quoted=False)
REJECTS = Layout((*COLUMNS, *REJECT_COLUMNS), separator=",", quoted=True)
# Of a spreadsheet, and rejects that one was saved from.
OTHERS = [Layout(COLUMNS, separator, quoted=True) for separator in ";\t|"]
OTHER_REJECTS = [Layout((*COLUMNS, *REJECT_COLUMNS), separator, quoted=True) for separator in ";\t|"]
MIXED = Layout(("rejected_text", "price", "orig_code", "rejected_file", "day", "dest_code"), ",", quoted=True)
pieces = st.sampled_from([
    "CNSGH", "2021-01-01", "7", "", ",", ",", ",", "\t", ";", "|",
    '"', '""', '","', "\n", "\r\n", "\r", "\0", "Å",
])  # fmt: skip


def read(content: bytes, rows_max: int = 1000) -> list[DelimitedChunk]:
    return list(csv_chunks(LineReader(BytesIO(content), "a.csv"), rows_max))


@settings(max_examples=examples(1000), deadline=None)
@given(
    data=st.lists(pieces, min_size=1, max_size=30).map("".join).map(str.encode)
    | st.binary(min_size=1, max_size=60),
    layout=st.sampled_from([CSV, DUMP, REJECTS, MIXED, *OTHERS, *OTHER_REJECTS]),
)
def test_the_fast_way_accepts_only_what_the_rules_accept(data: bytes, layout: Layout) -> None:
    assert_same_both_ways(DelimitedChunk("a.csv", 2, layout, data))


@settings(max_examples=examples(300), deadline=None)
@given(
    rows=st.lists(
        st.lists(
            st.sampled_from(["CNSGH", "", "a,b", "a;b", "a|b", "a\tb", 'a"b', '"', "Å", " ", '""', "a\rb"]),
            min_size=8,
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    ),
    spoilt=st.sampled_from(["", "", "", '"', ",", "x\n", "\n"]),
    at=st.integers(0, 200),
    quote_all=st.booleans(),
    layout=st.sampled_from([REJECTS, REJECTS, *OTHER_REJECTS]),
)
def test_so_it_does_of_files_of_rejects(
    rows: list[list[str]], spoilt: str, at: int, quote_all: bool, layout: Layout
) -> None:
    text = StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(text, quoting=quoting, lineterminator="\n", delimiter=layout.separator).writerows(rows)
    data = text.getvalue()
    at %= len(data)
    assert_same_both_ways(DelimitedChunk("a.csv", 2, layout, (data[:at] + spoilt + data[at:]).encode()))


@pytest.mark.parametrize("start", [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"x\x01", b"x^", b"x\x9c", b"x\xda"])
def test_a_line_that_begins_as_something_compressed_does_is_but_a_line(start: bytes) -> None:
    """Polars would decompress it, and accept what is never looked at."""
    chunk = DelimitedChunk("a.csv", 2, CSV, start + b",NLRTM,2021-01-01,7\n")
    assert chunk.columns() is None
    assert len(list(chunk.rows())) == 1


def assert_same_both_ways(chunk: DelimitedChunk) -> None:
    fast = chunk.columns()
    if fast is not None:
        slow = list(chunk.rows())
        assert [read.fault for read in slow] == [None] * len(slow)
        assert fast.rows(named=True) == [read.fields for read in slow]


def test_a_mended_file_of_rejects_is_read_as_it_is_and_the_fast_way() -> None:
    header = ",".join([*COLUMNS, *REJECT_COLUMNS])
    row = 'CNSGH,NLRTM,2021-01-01,7,"a,b.csv",12,"CNSGH,""NLRTM"",2021-01-01,1.5","expected, a whole number"'
    (chunk,) = read(f"{header}\r\n{row}\r\n{row}\r\n".encode())
    fields = {"orig_code": "CNSGH", "dest_code": "NLRTM", "day": "2021-01-01", "price": "7"}
    fast = chunk.columns()
    assert fast is not None
    assert fast.rows(named=True) == [fields, fields]
    assert [row.fields for row in chunk.rows()] == [fields, fields]


def test_only_some_of_the_columns_of_rejects_may_be_there_and_in_any_order() -> None:
    (chunk,) = read(b'rejected_reason,price,day,dest_code,orig_code\n"a, b",7,2021-01-01,NLRTM,CNSGH\n')
    fast = chunk.columns()
    assert fast is not None
    assert fast.rows() == [("CNSGH", "NLRTM", "2021-01-01", "7")]


def test_a_row_of_rejects_that_lost_a_column_is_a_fault() -> None:
    (chunk,) = read(f"{','.join([*COLUMNS, *REJECT_COLUMNS])}\nCNSGH,NLRTM,2021-01-01,7,a.csv,12\n".encode())
    assert chunk.columns() is None
    (row,) = chunk.rows()
    assert row.fault == ("rejected_text", None, "missing: the line has 6 of 8 columns")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("orig_code,dest_code,day,rejected_file", "lacks price"),
        ("orig_code,dest_code,day,price,rejected_by", "has 'rejected_by', which is not a column"),
        ("orig_code,dest_code,day,price,rejected_file,rejected_file", "has rejected_file twice"),
    ],
)
def test_no_other_column_may_stand_beside_the_four(header: str, reason: str) -> None:
    with pytest.raises(FileRejected) as rejected:
        read(header.encode())
    expected = "expected orig_code,dest_code,day,price in any order"
    assert rejected.value.error.reason == f"the header {reason}; {expected}"


def test_a_chunk_is_known_by_its_lines_and_not_by_its_name_or_place() -> None:
    chunk = DelimitedChunk("a.csv", 2, CSV, b"CNSGH,NLRTM,2021-01-01,7\n")
    assert chunk.content_hash == DelimitedChunk("b.csv", 3, CSV, chunk.data).content_hash
    assert chunk.content_hash != DelimitedChunk("a.csv", 2, CSV, chunk.data.replace(b"7", b"8")).content_hash
