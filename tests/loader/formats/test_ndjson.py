"""NDJSON: what the rules accept, what they say of the rest, and that the fast way accepts no more."""

import json
from io import BytesIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.chunks import COLUMNS
from loader.formats.lines import LineReader
from loader.formats.ndjson import EXPECTED, NdjsonChunk, ndjson_chunks
from tests.examples import examples

GOOD = b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}'
FIELDS = {"orig_code": "CNSGH", "dest_code": "NLRTM", "day": "2021-01-01", "price": "7"}

strings = st.sampled_from(["CNSGH", "Åland", "a b", "", "a,b", "a}b", "\x7f", "\u2028"]).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
odd_values = st.sampled_from([
    '"a\\"b"', '"\\u0041"', '"\\ud800"', '"\\u0000"', '"a\tb"', '"a\x01b"', '"', "null", "true", "[]", "{}",
    "NaN", "-Infinity", "1.0", "1e3", "007", "-0", "+1", "- 1", "1 2", "9" * 30, '"7"', "'7'", "",
])  # fmt: skip
numbers = st.integers(-3, 2**33).map(str)
spaces = st.sampled_from(["", "", "", " ", "\t", "  ", "\r", "\f", "\u00a0"])


@st.composite
def nasty_lines(draw: st.DrawFn) -> bytes:
    """A line that is nearly right: keys in any order, values of any kind, space anywhere, perhaps spoilt."""
    names = list(draw(st.sampled_from([COLUMNS, COLUMNS, ("price", "day", "dest_code", "orig_code")])))
    if not draw(st.integers(0, 5)):
        names = draw(st.sampled_from([names[1:], [*names, "day"], [*names, "note"], []]))
    members = []
    for name in names:
        value = draw(numbers if name == "price" and draw(st.booleans()) else strings)
        value = draw(odd_values) if not draw(st.integers(0, 9)) else value
        members.append(f'{draw(spaces)}"{name}"{draw(spaces)}:{draw(spaces)}{value}{draw(spaces)}')
    line = f"{{{','.join(members)}}}{draw(spaces)}".encode()
    if not draw(st.integers(0, 5)):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.binary(min_size=1, max_size=2)) + line[at:]
    return line


@st.composite
def nasty_data(draw: st.DrawFn) -> bytes:
    ends = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n"])
    lines = draw(st.lists(nasty_lines() | st.just(GOOD), min_size=1, max_size=4))
    data = b"".join(line + draw(ends) for line in lines)
    return data.rstrip(b"\r\n") if draw(st.booleans()) else data


def chunk_of(data: bytes) -> NdjsonChunk:
    return NdjsonChunk("a.ndjson", 1, data)


@settings(max_examples=examples(1000), deadline=None)
@given(data=nasty_data() | st.binary(min_size=1, max_size=60))
@example(data=GOOD + b"\n\n")
@example(data=GOOD.replace(b"7", b"007"))
@example(data=GOOD.replace(b"CNSGH", b"CN\tGH"))
@example(data=b"\xef\xbb\xbf" + GOOD)
def test_the_fast_way_accepts_only_what_the_rules_accept(data: bytes) -> None:
    fast = chunk_of(data).columns()
    if fast is not None:
        slow = list(chunk_of(data).rows())
        assert [read.fault for read in slow] == [None] * len(slow)
        assert fast.rows(named=True) == [read.fields for read in slow]


@settings(max_examples=examples(200), deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["CNSGH", "Åland", "a b", ""]), st.dates(), st.integers(0)), min_size=1
    ),
    order=st.permutations(COLUMNS),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" , ", "\t:\t")]),
    end=st.sampled_from(["\n", "\r\n"]),
    number=st.booleans(),
)
def test_what_a_program_writes_is_read_the_fast_way(
    rows: list[tuple], order: list[str], separators: tuple[str, str], end: str, number: bool
) -> None:
    lines, expected = [], []
    for code, day, price in rows:
        row = {
            "orig_code": code, "dest_code": code, "day": str(day), "price": price if number else str(price)
        }  # fmt: skip
        line = {name: row[name] for name in order}
        lines.append(json.dumps(line, separators=separators, ensure_ascii=False))
        expected.append({name: str(row[name]) for name in COLUMNS})
    chunk = chunk_of(end.join(lines).encode())
    fast = chunk.columns()
    assert fast is not None
    assert fast.rows(named=True) == expected
    assert [read.fields for read in chunk.rows()] == expected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b' { "price" : "7" , "day" : "2021-01-01","dest_code":"NLRTM","orig_code":"CNSGH"}\t', {}),
        (b'{"orig_code":"\\u0043NSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}', {}),
        (GOOD.replace(b"7", b"7.0"), {"price": "7.0"}),
        (GOOD.replace(b"7", b"1e3"), {"price": "1e3"}),
        (GOOD.replace(b"7", b"9" * 5000), {"price": "9" * 5000}),
        (GOOD.replace(b"7", b"true"), {"price": "true"}),
        (GOOD.replace(b"7", b"null"), {"price": None}),
        (GOOD.replace(b',"price":7', b""), {"price": None}),
        (GOOD.replace(b'"CNSGH"', b"5"), {"orig_code": "5"}),
        (b"{}", dict.fromkeys(COLUMNS)),
    ],
)  # fmt: skip
def test_values_are_kept_as_they_are_spelled(line: bytes, fields: dict[str, str | None]) -> None:
    (read,) = chunk_of(line + b"\n").rows()
    assert (read.fault, read.fields) == (None, FIELDS | fields)


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (b"", None, f"the line is blank; {EXPECTED}"),
        (b" \t", None, f"the line is blank; {EXPECTED}"),
        (b"[1]", None, f"a JSON array; {EXPECTED}"),
        (b'"CNSGH"', None, f"a JSON string; {EXPECTED}"),
        (b"7", None, f"a JSON number; {EXPECTED}"),
        (b"null", None, f"a JSON constant; {EXPECTED}"),
        (b"CNSGH,NLRTM,2021-01-01,7", None, "not JSON: Expecting value at position 1 of the line"),
        (GOOD[:-1], None, "not JSON: Expecting ',' delimiter at position 70 of the line"),
        (GOOD + b",", None, "not JSON: Extra data at position 71 of the line"),
        (GOOD.replace(b"7", b"007"), None, "not JSON: Expecting ',' delimiter at position 70 of the line"),
        (GOOD.replace(b"7", b"NaN"), None, "not JSON: NaN is no value of JSON"),
        (GOOD.replace(b"CNSGH", b"CN\tGH"), None, "not JSON: Invalid control character at position 17 of"),
        (b"[" * 60_000, None, "not JSON that can be read: it is nested too deep"),
        (GOOD.replace(b"CNSGH", b"CN\0GH"), None, "a NUL byte at position 17 of the line"),
        (GOOD.replace(b"CNSGH", b"CN\xffGH"), None, "not UTF-8: byte 0xff at position 17 of the line"),
        (GOOD.replace(b"CNSGH", b"\xed\xa0\x80"), None, "not UTF-8: byte 0xed at position 15 of the line"),
        (b"\xef\xbb\xbf" + GOOD, None, "not JSON: Expecting value at position 1 of the line"),
        (GOOD.replace(b"}", b',"note":1}'), None, f"has 'note', which is not a column; {EXPECTED}"),
        (GOOD.replace(b"}", b',"\\u0000\\ud800":1}'), None, r"has '\x00\ud800', which is not a column"),
        (GOOD.replace(b"}", b',"day":"2021-01-01"}'), "day", "there twice"),
        (GOOD.replace(b"CNSGH", b"\\u0000"), "orig_code", "a NUL character in it"),
        (GOOD.replace(b"CNSGH", b"\\udfff"), "orig_code", "half of a surrogate pair in it"),
        (GOOD.replace(b"7", b"[7]"), "price", "a JSON array; expected a value"),
        (GOOD.replace(b"7", b'{"day":1,"day":2}'), "price", "a JSON object; expected a value"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_told_by_line_and_reason(
    line: bytes, column: str | None, reason: str
) -> None:
    chunk = NdjsonChunk("a.ndjson", 10, GOOD + b"\n" + line + b"\n" + GOOD)
    assert chunk.columns() is None
    before, read, after = chunk.rows()
    assert (before.line, before.fields, after.line, after.fields) == (10, FIELDS, 12, FIELDS)
    assert (read.line, read.fields) == (11, {})
    assert read.fault is not None
    assert read.fault[:2] == (column, None)
    assert read.fault[2].startswith(reason)
    assert read.text == line.decode(errors="backslashreplace")


def test_pairs_of_surrogates_are_one_character() -> None:
    (read,) = chunk_of(GOOD.replace(b"CNSGH", b"\\ud83d\\udea2")).rows()
    assert read.fields["orig_code"] == "🚢"


def test_lines_are_cut_and_numbered_from_the_first() -> None:
    content = b"".join(GOOD.replace(b"7", b"%d" % number) + b"\n" for number in range(25))
    chunks = list(ndjson_chunks(LineReader(BytesIO(content), "a.ndjson"), 10))
    assert [chunk.first_line for chunk in chunks] == [1, 11, 21]
    assert b"".join(chunk.data for chunk in chunks) == content
    assert len({chunk.content_hash for chunk in chunks}) == 3
