"""The file of bad rows: what `check` refuses, as CSV that can be mended and loaded.

A chunk's bad rows become lines in its own thread; they are written in the file's order, whichever chunk ends
first. Until the load has ended they stand in FILE.partial, so that FILE is whole or not there.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import TracebackType

import polars as pl

from loader.chunks import COLUMNS
from loader.errors import LoaderError, UsageError

# Loading passes over the last four, so that a mended file needs no other change.
HEADER = ",".join((*COLUMNS, "rejected_file", "rejected_line", "rejected_text", "rejected_reason")).encode()
IN_ORDER = (*COLUMNS, "file", "line", "text", "reason")
# With five values as long as this, of four bytes a character, a line is still one that may be loaded.
VALUE_CHARS_MAX = 2_000
ESCAPED = {"\0": "\\x00", "\n": "\\n", "\r": "\\r"}


def write_rejects(text: BytesIO, file: str, rows: pl.DataFrame) -> None:
    """Adds a line for each row. `rows`: line, COLUMNS as spelled, `text` as the line stood where it is no
    row, and reason."""
    rows = rows.with_columns(file=pl.lit(file))
    values = [pl.col(name) if name == "line" else shown(name) for name in IN_ORDER]
    rows.select(values).write_csv(text, include_header=False)


def shown(name: str) -> pl.Expr:
    """As it fits into a line of CSV; what would end that, or cannot stand there, spelled as in Python."""
    value = pl.col(name)
    short = pl.concat_str(value.str.slice(0, VALUE_CHARS_MAX - 1), pl.lit("…"))
    text = pl.when(value.str.len_chars() > VALUE_CHARS_MAX).then(short).otherwise(value)
    for character, escaped in ESCAPED.items():
        text = text.str.replace_all(character, escaped, literal=True)
    return pl.when(text != "").then(text)


class RejectsFile:
    """Where the bad rows of a load go: in `with`, FILE is replaced at its end, or removed if none was bad.

    A load that is cut short leaves FILE as it was. Raises UsageError where FILE cannot be written, is one of
    the `inputs`, or holds something else than bad rows.
    """

    def __init__(self, path: Path, inputs: Iterable[str]) -> None:
        self.name = os.fsencode(path).decode(errors="replace")
        self.row_bytes = 0
        self._path = path
        self._partial = Path(f"{path}.partial")
        self._next_chunk_no = 0
        self._early: dict[int, bytes] = {}
        with os_errors_named(self.name, UsageError):
            refuse_to_lose(path, self.name, inputs)
            self._stream = self._partial.open("wb")

    def add(self, chunk_no: int, lines: bytes) -> None:
        """The bad rows of a chunk, once; they wait until those of all chunks before it are there."""
        if chunk_no < self._next_chunk_no:
            return
        self._early.setdefault(chunk_no, lines)
        while (following := self._early.pop(self._next_chunk_no, None)) is not None:
            self._next_chunk_no += 1
            self._write(following)

    def _write(self, lines: bytes) -> None:
        if not lines:
            return
        with os_errors_named(self.name, LoaderError):
            self._stream.write(lines if self.row_bytes else HEADER + b"\n" + lines)
        self.row_bytes += len(lines)

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        try:
            with os_errors_named(self.name, LoaderError):
                self._stream.close()
                if kind is None:
                    self._take_place()
        except LoaderError:
            if kind is None:  # else there is something to tell already, which may be the same
                raise
        finally:
            self._partial.unlink(missing_ok=True)

    def _take_place(self) -> None:
        if self.row_bytes:
            self._partial.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)


def refuse_to_lose(path: Path, name: str, inputs: Iterable[str]) -> None:
    """Raises UsageError where a file that somebody may need stands in the place of the bad rows."""
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{name}: not a regular file; name another one for the bad rows")
    if any(os.path.exists(one) and path.samefile(one) for one in inputs):  # noqa: PTH110  # s3:// is no Path
        raise UsageError(f"{name}: is what is loaded; name another file for the bad rows")
    with path.open("rb") as stream:
        line = stream.readline(len(HEADER) + 2)
    if line and line.rstrip(b"\r\n") != HEADER:
        raise UsageError(f"{name}: is there already and holds no bad rows; name another file for them")


@contextmanager
def os_errors_named(name: str, kind: type[LoaderError]) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise kind(f"{name}: {error.strerror}") from error
