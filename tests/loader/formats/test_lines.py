"""Lines are cut where they end, whatever blocks they come in; and one that is too long is found wherever."""

from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import FileRejected
from loader.formats import lines
from loader.formats.lines import LINE_BYTES_MAX, LineReader
from tests.examples import examples

contents = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b"\\.", b"\\", b"."]), max_size=40).map(
    b"".join
)


class Dripping:
    """A stream that gives what is there in pieces of its own choice."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._stream = BytesIO(content)
        self._sizes = sizes

    def read(self, size: int, /) -> bytes:
        self._sizes = self._sizes[1:] + self._sizes[:1]
        return self._stream.read(min(size, self._sizes[0]))


def runs_of(reader: LineReader, lines_max: int) -> list[bytes]:
    return list(iter(lambda: reader.take(lines_max), b""))


@settings(max_examples=examples(300), deadline=None)
@given(
    content=contents,
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    lines_max=st.integers(1, 8),
    found_max=st.sampled_from([0, 2, 64]),
)
def test_runs_have_as_many_lines_as_asked_for_whatever_the_blocks(
    content: bytes, sizes: list[int], lines_max: int, found_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LINES_FOUND_MAX", found_max)
        reader = LineReader(Dripping(content, sizes), "a.csv")
        runs = runs_of(reader, lines_max)
    whole = content.splitlines(keepends=True)
    assert runs == [b"".join(whole[at : at + lines_max]) for at in range(0, len(whole), lines_max)]
    assert reader.line == len(whole) + 1
    assert reader.take(1) == b"", "the end stays the end"


@settings(max_examples=examples(300), deadline=None)
@given(content=contents, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_run_is_bounded_in_bytes_too_and_always_the_same(content: bytes, sizes: list[int]) -> None:
    bytes_max = max([6, *map(len, content.splitlines(keepends=True))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES_MAX", bytes_max)
        runs = runs_of(LineReader(Dripping(content, sizes), "a.csv"), 100)
        assert runs == runs_of(LineReader(BytesIO(content), "a.csv"), 100)
    assert b"".join(runs) == content
    for run, following in pairwise(runs):
        assert len(run) <= bytes_max < len(run + following.splitlines(keepends=True)[0])


@settings(max_examples=examples(300), deadline=None)
@given(
    lengths=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    last_end=st.booleans(),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_the_first_line_that_is_too_long_is_found_after_all_lines_before_it(
    lengths: list[int], last_end: bool, sizes: list[int]
) -> None:
    whole = [b"x" * length + b"\n" for length in lengths]
    whole[-1] = whole[-1] if last_end else whole[-1][:-1]
    too_long = next((number for number, line in enumerate(whole, 1) if len(line) > 8), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "LINE_BYTES_MAX", 8)
        reader = LineReader(Dripping(b"".join(whole), sizes), "a.csv")
        read: list[bytes] = []
        if too_long is None:
            read = runs_of(reader, 1)
        else:
            with pytest.raises(FileRejected) as rejected:
                read.extend(iter(lambda: reader.take(1), b""))
            assert rejected.value.error.line == too_long
            assert rejected.value.error.reason.startswith("the line is longer than 8 bytes; expected a row")
    assert read == [line for line in whole[: None if too_long is None else too_long - 1] if line]


@pytest.mark.parametrize("length", [LINE_BYTES_MAX - 1, LINE_BYTES_MAX])
def test_a_line_may_be_as_long_as_is_said_with_its_end(length: int) -> None:
    content = b"a\n" + b"x" * length + b"\n" + b"b\n"
    reader = LineReader(BytesIO(content), "a.csv")
    if length < LINE_BYTES_MAX:
        assert runs_of(reader, 3) == [content]
    else:
        assert reader.take(3) == b"a\n"
        with pytest.raises(FileRejected, match=r"^a\.csv:2: the line is longer than 65,536 bytes"):
            reader.take(2)


def test_a_file_of_one_endless_line_is_not_read_to_its_end() -> None:
    stream = BytesIO(b"x" * (20 * lines.BLOCK_BYTES))
    with pytest.raises(FileRejected):
        LineReader(stream, "a.csv").take(1)
    assert stream.tell() == lines.BLOCK_BYTES


@settings(max_examples=examples(300), deadline=None)
@given(content=contents, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_what_is_skipped_ends_with_the_line_that_is_looked_for(content: bytes, sizes: list[int]) -> None:
    whole = content.split(b"\n")
    ends = [number for number, line in enumerate(whole, 1) if line in (b"\\.", b"\\.\r")]
    if content.endswith(b"\\.\r"):  # half an end of a line is none
        ends = [number for number in ends if number != len(whole)]
    reader = LineReader(Dripping(content, sizes), "a.csv")
    assert reader.skip_past(b"\\.") == bool(ends)
    if ends:
        assert reader.line == ends[0] + 1
        assert b"".join(runs_of(reader, 1)) == b"\n".join(whole[ends[0] :])
