"""Parquet: read by a process of its own (`parquet_process`), which sends the rows as columns of strings.

Over one damaged file in a thousand, Polars ends the process that it runs in: a size that is wrong by a bit is
asked for as memory (`test_a_damaged_file_is_a_fault_however_it_is_damaged`). And a page of gigabytes is read
whole, which takes a file of some KB. Here that ends nobody's load.
"""

from __future__ import annotations

import csv
import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase, BytesIO, StringIO
from pathlib import Path
from struct import Struct
from typing import IO

import polars as pl

from loader.chunks import COLUMNS, ReadRow
from loader.errors import FileRejected, LoaderError, RowError
from loader.formats.split import SplitLines, in_order, numbered, split_slowly

# What the process may ask for. A file of row groups of five million rows takes 140 MB.
MEMORY_MAX = 512 * 1024 * 1024
TOO_MUCH = f"damaged, or takes more than {MEMORY_MAX // 1024**2} MB of memory to read"
PROGRAM = "loader.formats.parquet_process"
# What the process sends: a kind of message, how many rows the file has, how many bytes follow.
MESSAGE = Struct(">cQQ")
ROWS, FAULT, END = b"R", b"F", b"E"
# How a process ends by itself over what it reads, and not because somebody wanted it to.
CRASHES = {-signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGFPE}


@dataclass(frozen=True, eq=False)
class ParquetChunk:
    """`text` is COLUMNS as strings; a line is a row of the file."""

    file: str
    first_line: int
    text: pl.DataFrame

    @cached_property
    def content_hash(self) -> bytes:
        # Of what is spelled the same in any version of Polars; no good value is like the one for null.
        content = self.text.write_csv(quote_style="always", null_value="\0")
        return hashlib.sha256(content.encode()).digest()

    def columns(self) -> pl.DataFrame | None:
        doubtful = pl.all().is_null().any() | pl.all().str.contains("\0", literal=True).any()
        return None if self.text.select(pl.any_horizontal(doubtful)).item() else self.text

    def split(self) -> SplitLines:
        rows = numbered(self.text, self.first_line)
        nul = pl.any_horizontal(pl.col(COLUMNS).str.contains("\0", literal=True).fill_null(value=False))
        odd = rows.filter(nul).iter_rows(named=True)
        slowly = split_slowly(read_row(fields.pop("line"), fields) for fields in odd)
        return in_order([rows.filter(~nul), slowly.rows], [slowly.faults])

    def rows(self) -> Iterator[ReadRow]:
        for number, fields in enumerate(self.text.iter_rows(named=True), self.first_line):
            yield read_row(number, fields)


def read_row(number: int, fields: dict[str, str | None]) -> ReadRow:
    nul = next((name for name, value in fields.items() if "\0" in (value or "")), None)
    fault = (nul, None, "a NUL character in it") if nul else None
    return ReadRow(number, {} if fault else fields, fault, csv_line(fields.values()))


def parquet_chunks(
    file: BufferedIOBase | IO[bytes], name: str, rows_max: int, stored_size: int
) -> Iterator[tuple[ParquetChunk, float]]:
    """Each with the share of all rows that are read once it is.

    Raises FileRejected where the columns are not the four, the file is damaged, or its rows would be far more
    than `stored_size` bytes can hold, which is less than the file has where that came compressed.
    """
    file.seek(0)  # where the process begins too
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, str(rows_max), str(stored_size)],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a damaged file is told of in our own words
        cwd=Path(__file__).parents[2],  # so that it is this code which runs
        process_group=0,  # Ctrl-C is for us to obey
    )
    assert process.stdout
    line = 1
    try:
        while (message := read_message(process.stdout)) and message[0] != END:
            kind, row_count, content = message
            if kind == FAULT:
                raise FileRejected(RowError(name, line, None, None, content.decode()))
            chunk = ParquetChunk(name, line, pl.read_ipc(BytesIO(content)))
            line += chunk.text.height
            yield chunk, (line - 1) / row_count
        if message is None:
            raise ended_early(process.wait(), name, line)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def read_message(stream: IO[bytes]) -> tuple[bytes, int, bytes] | None:
    head = stream.read(MESSAGE.size)
    if len(head) < MESSAGE.size:
        return None
    kind, row_count, size = MESSAGE.unpack(head)
    content = stream.read(size)
    return (kind, row_count, content) if len(content) == size else None


def ended_early(exit_code: int, name: str, line: int) -> LoaderError:
    if exit_code in CRASHES:
        return FileRejected(RowError(name, line, None, None, f"the Parquet file is {TOO_MUCH}"))
    return LoaderError(f"{name}: the process that reads Parquet ended with {exit_code}; load the file again")


def csv_line(values: Iterable[str | None]) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
