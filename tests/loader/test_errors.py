"""What nobody expected, as the ledger keeps it."""

from __future__ import annotations

import psycopg
import pytest

from loader.errors import FAILURE_CHARS_MAX, one_line
from tests.postgres import Database


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("two\nlines\tand  more", "OSError: two lines and more"),
        ("a\0b", "OSError: ab"),
        ("no text: \udcff", "OSError: no text: ?"),
        ("x" * 5_000, f"OSError: {'x' * (FAILURE_CHARS_MAX - 9)}"),
    ],
)
def test_any_error_is_one_line_that_the_database_takes(text: str, told: str, database: Database) -> None:
    line = one_line(OSError(text))
    assert line == told
    with database.connect() as connection:
        assert psycopg.ClientCursor(connection).execute("SELECT %s", [line]).fetchone() == (told,)
