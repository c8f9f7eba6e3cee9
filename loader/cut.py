"""Cuts an accepted object into the chunks that `sources` and `dump` would cut it into, to be done by anybody.

What can be read from the middle is cut into ranges. Of the rest each chunk is taken out, and `plan` puts it
into an object of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TypeAlias

from msgspec.structs import replace

from loader.content import Content, Section
from loader.dump import Dump, is_dump
from loader.formats.compression import UnreadableStream
from loader.formats.content import Peekable, content_of, format_of
from loader.formats.delimited import DelimitedChunk, Layout, delimited_chunks, read_header
from loader.formats.lines import LineReader
from loader.formats.ndjson import NdjsonChunk, ndjson_chunks
from loader.formats.parquet import ParquetChunk, parquet_chunks
from loader.inputs import StoredContent, StoredStream, spool
from telemetry.log import get_logger

log = get_logger("rates.cut")


@dataclass(frozen=True)
class Cut:
    """A chunk: the bytes of the content from `begin_byte` to `end_byte`, or what `take_out` gives, encoded as
    `planned` reads it. `next_line` is the one behind it, `bytes_read` how far the object was read for it."""

    first_line: int
    next_line: int
    bytes_read: int
    begin_byte: int = 0
    end_byte: int = 0
    take_out: Callable[[], bytes] | None = None


Cuts: TypeAlias = Generator[Cut]


@contextmanager
def cutting(file: StoredContent, known: Content, rows_max: int) -> Generator[tuple[Content, Cuts]]:
    """What the content turns out to be, and its chunks in their order.

    Raises FileRejected where it is wrong as a whole, or from somewhere on.
    """
    try:
        with file.open() as stored:
            content, compressed = content_of(stored, file.size)
            if is_dump(content):
                found, cuts = cut_dump(file, known, rows_max, compressed=compressed)
            elif (kind := format_of(content)) == "parquet":
                found, cuts = replace(known, kind="parquet"), parquet_cuts(file, content, rows_max)
                cuts = refusing_none(cuts, file)
            else:
                lines = LineReader(content, file.name, position=content.position)
                found = replace(known, kind="ndjson") if kind == "ndjson" else with_header(known, lines)
                cuts = line_cuts(found, lines, stored, rows_max, compressed=compressed)
                cuts = refusing_none(cuts, file)
            with closing(cuts):
                yield found, cuts
    except UnreadableStream as error:
        file.reject(str(error))


@contextmanager
def cutting_on(
    file: StoredContent, known: Content, rows_max: int, *, byte: int, line: int
) -> Generator[tuple[Content, Cuts]]:
    """The same from a chunk on, of lines that are not compressed."""
    with file.open(byte) as stored:
        lines = LineReader(stored, file.name, line=line, position=byte)
        yield known, line_cuts(known, lines, stored, rows_max, compressed=False)


def refusing_none(cuts: Cuts, file: StoredContent) -> Cuts:
    """All of them; as `sources` does, raises FileRejected where there is none."""
    empty = True
    with closing(cuts):
        for cut in cuts:
            yield cut
            empty = False
    if empty:
        file.refuse_as_empty()


def with_header(known: Content, lines: LineReader) -> Content:
    layout = read_header(lines)
    return replace(known, kind="delimited", columns=layout.columns, separator=layout.separator)


def line_cuts(
    known: Content, lines: LineReader, stored: StoredStream, rows_max: int, *, compressed: bool
) -> Cuts:
    chunks: Iterator[DelimitedChunk | NdjsonChunk]
    if known.kind == "ndjson":
        chunks = ndjson_chunks(lines, rows_max)
    else:
        chunks = delimited_chunks(lines, Layout(known.columns, known.separator, known.quoted), rows_max)
    for chunk in chunks:
        yield line_cut(chunk, lines.position, lines.line, stored.tell(), compressed=compressed)


def line_cut(
    chunk: DelimitedChunk | NdjsonChunk, end: int, next_line: int, bytes_read: int, *, compressed: bool
) -> Cut:
    if compressed:
        return Cut(chunk.first_line, next_line, bytes_read, take_out=lambda: chunk.data)
    return Cut(chunk.first_line, next_line, bytes_read, end - len(chunk.data), end)


def cut_dump(file: StoredContent, known: Content, rows_max: int, *, compressed: bool) -> tuple[Content, Cuts]:
    """Read whole for its regions and ports, which its prices name, and then again for the prices."""
    dump = Dump(file)
    if told := dump.told():
        log.info("passed over in a dump", file=file.name, passed_over=told)
    sections = tuple(Section(one.first_line, one.columns) for one in dump.sections if one.line_count)
    tabs = replace(known, kind="delimited", separator="\t", quoted=False)
    found = replace(tabs, sections=sections, places=dump.places)
    return found, dump_cuts(dump, rows_max, compressed=compressed)


def dump_cuts(dump: Dump, rows_max: int, *, compressed: bool) -> Cuts:
    for chunk in dump.chunks(rows_max):
        next_line = chunk.first_line + chunk.data.count(b"\n")
        yield line_cut(chunk, dump.content_position, next_line, dump.position, compressed=compressed)


def parquet_cuts(file: StoredContent, content: Peekable, rows_max: int) -> Cuts:
    with spool(content, file.name) as parquet:
        for chunk, share in parquet_chunks(parquet, file.name, rows_max, file.size):
            next_line = chunk.first_line + chunk.text.height
            bytes_read = int(file.size * share)
            yield Cut(chunk.first_line, next_line, bytes_read, take_out=partial(as_ipc, chunk))


def as_ipc(chunk: ParquetChunk) -> bytes:
    encoded = BytesIO()
    chunk.text.write_ipc(encoded, compression="zstd")
    return encoded.getvalue()
