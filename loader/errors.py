"""The loader's errors; each message is meant for the person who sent the file."""

from dataclasses import dataclass

FAILURE_CHARS_MAX = 1_000


class LoaderError(Exception):
    """Base of this package's errors."""


class UsageError(LoaderError):
    """What was asked for cannot be done as asked: a file that is not there, a key already taken."""


class Stopped(LoaderError):
    """The load was asked to stop between two chunks; the same call goes on from there."""


@dataclass(frozen=True)
class RowError:
    """One thing wrong with one row: `line` counts from 1 in `file`, `column` is None for the whole line."""

    file: str
    line: int
    column: str | None
    value: str | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        if self.column is None:
            return f"{where}: {self.reason}"
        if self.value is None:
            return f"{where}: {self.column}: {self.reason}"
        return f"{where}: {self.column} is {self.value!r}: {self.reason}"


@dataclass(frozen=True)
class ErrorKind:
    """All faults with the same column, value and reason: `count` rows have it, the first at `first_lines` of
    `file`. Where there are more values than can be told apart, one with no value stands for the others.

    `probably_meant` are codes of ports, one or two, where `value` is nearly one.
    """

    column: str | None
    value: str | None
    reason: str
    count: int
    first_lines: list[int]
    file: str
    probably_meant: list[str]

    def __str__(self) -> str:
        first = RowError(self.file, self.first_lines[0], self.column, self.value, self.reason)
        meant = f"; was {' or '.join(self.probably_meant)} meant?" if self.probably_meant else ""
        if self.count == 1:
            return f"{first}{meant}"
        lines = ", ".join(map(str, self.first_lines))
        more = ", …" if self.count > len(self.first_lines) else ""
        return f"{first}{meant} ({self.count:,} rows: lines {lines}{more})"


class FileRejected(LoaderError):
    """A file that is wrong as a whole, a header or a dump's structure: no row of it was read."""

    def __init__(self, error: RowError) -> None:
        super().__init__(str(error))
        self.error = error


def one_line(error: Exception) -> str:
    """What nobody expected, for the ledger: one line, as the database takes it."""
    text = f"{type(error).__name__}: {error}".replace("\0", "").encode(errors="replace").decode()
    return " ".join(text.split())[:FAILURE_CHARS_MAX]
