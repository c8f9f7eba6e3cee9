"""What is sent by mistake is told by how it begins, and what is sent on purpose is never taken for that."""

from __future__ import annotations

import csv
import json
from io import BytesIO, StringIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.chunks import COLUMNS
from loader.dump import is_dump
from loader.formats.content import HEAD_BYTES, Peekable
from loader.formats.delimited import REJECT_COLUMNS
from loader.formats.mistaken import mistaken_for
from tests.examples import examples

NDJSON = b'{"orig_code":"CNSGH","dest_code":"NLRTM","day":"2021-01-01","price":7}\n' * 2
# A port may have any code that has no NUL and no line end in it.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=12) | st.sampled_from(
    ["CNSGH", "PK", "%PDF-", "}{", "ustar", "[", "<html>", "BZh9", 'x","y', "-- MySQL dump", "ORC"]
)
spaces = st.sampled_from(["", "", " ", "\t"])


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    separator = draw(st.sampled_from(",;\t|"))
    columns = draw(st.permutations([*COLUMNS, *draw(st.sampled_from([(), REJECT_COLUMNS]))]))
    text = StringIO()
    quoting = csv.QUOTE_ALL if draw(st.booleans()) else csv.QUOTE_MINIMAL
    end = draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(columns)
    writer.writerows(
        draw(st.lists(st.lists(texts, min_size=len(columns), max_size=len(columns)), max_size=20))
    )
    before = draw(st.sampled_from(["", "", "\ufeff", f"sep={separator}{end}"]))
    return (before + text.getvalue()).removesuffix(draw(st.sampled_from(["", end]))).encode()


@st.composite
def ndjson_files(draw: st.DrawFn) -> bytes:
    rows = st.fixed_dictionaries(dict.fromkeys(COLUMNS, texts | st.integers()))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [
        draw(spaces) + json.dumps(row, ensure_ascii=draw(st.booleans())) + draw(spaces)
        for row in draw(st.lists(rows, min_size=1, max_size=10))
    ]
    return (draw(st.sampled_from(["", "\ufeff"])) + end.join(lines)).encode()


@st.composite
def parquet_files(draw: st.DrawFn) -> bytes:
    content = BytesIO()
    rows = draw(st.lists(st.tuples(texts, texts, st.dates(), st.integers(1, 2**31)), max_size=5))
    pl.DataFrame(rows, schema=list(COLUMNS), orient="row").write_parquet(content)
    return content.getvalue()


@given(content=csv_files() | ndjson_files() | parquet_files())
@settings(max_examples=examples(2_000), deadline=None)
def test_no_file_of_prices_is_taken_for_something_else(content: bytes) -> None:
    assert mistaken_for(content[:HEAD_BYTES], whole=len(content) < HEAD_BYTES) is None
    assert not is_dump(Peekable(BytesIO(content)))


def test_the_bundled_sample_is_taken_for_nothing_else() -> None:
    sample = Path(__file__).parents[3] / "local" / "sample.sql"
    assert mistaken_for(sample.read_bytes()[:HEAD_BYTES], whole=False) is None


SPREAD = json.dumps([{"price": 7, "of": {"day": None, "x": [1, 2]}}] * 3, indent=2)[1:-1].strip().encode()


@pytest.mark.parametrize("lines", range(2, SPREAD.count(b"\n")))
def test_json_spread_over_lines_is_told_wherever_its_head_ends(lines: int) -> None:
    head = b"".join(SPREAD.splitlines(keepends=True)[:lines])
    told = ("JSON spread over lines", "expected NDJSON, an object a line (jq -c .)")
    assert mistaken_for(head, whole=True) == told
    assert mistaken_for(head + b'  "pri', whole=False) == told


@pytest.mark.parametrize(
    "content",
    [
        NDJSON[:40] + b"\n" + NDJSON,
        NDJSON + NDJSON[:40],
        NDJSON[:40],
        b"{\n" + NDJSON,
        b'{"price": 7, "day": "2021\n-01-01"}\n',
        b'{"price": ' + b"[" * 50_000 + b"\n",
        b'{"price": ' + b"9" * 5_000 + b"}\n",
        b"",
    ],
)
def test_a_line_of_ndjson_that_is_cut_or_wrong_is_left_to_the_rules(content: bytes) -> None:
    assert mistaken_for(content, whole=True) is None
