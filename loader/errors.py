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


class FileRejected(LoaderError):
    """A file that is wrong as a whole, a header or a dump's structure: no row of it was read."""

    def __init__(self, error: RowError) -> None:
        super().__init__(str(error))
        self.error = error


def one_line(error: Exception) -> str:
    """What nobody expected, for the ledger: one line, as the database takes it."""
    text = f"{type(error).__name__}: {error}".replace("\0", "").encode(errors="replace").decode()
    return " ".join(text.split())[:FAILURE_CHARS_MAX]
