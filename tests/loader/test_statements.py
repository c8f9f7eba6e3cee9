"""Where statements of a dump end: as psql has it, which is asked the same."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loader.formats.lines import LineReader
from loader.statements import Statements
from local.postgres import PostgresServer
from tests.examples import examples
from tests.postgres import Database, clone

# What a dump is made of where its statements are hard to part.
PIECES = [
    *(
        "SELECT",
        " ",
        "\n",
        ";",
        "'",
        "''",
        '"',
        '""',
        "1",
        ",",
        "(",
        ")",
        "--",
        "/*",
        "*/",
        "$$",
        "$a$",
        "$_1$",
    ),
    *("E'", "e'", "U&'", "\\'", "x$$", "a$b$", "it's", "é", "-", "*", "/", "$1", "CREATE FUNCTION f()"),
    *("create or replace procedure p()", "BEGIN ATOMIC", "begin", "case", "END", "end ", "CREATE TABLE t"),
]
BACKSLASHES = "SET standard_conforming_strings = off"
SENT = re.compile(r"\*{3,} QUERY \*+/?\n(.*?)\n/?\*{10,}", re.DOTALL)


def statements_of(text: str) -> tuple[list[str], list[str]]:
    """(what ends, what does not) of a text."""
    lines = LineReader(BytesIO(text.encode()), "dump.sql")
    found = list(Statements(lines, lambda _line_no, line: line.decode().rstrip("\n"), lambda _text: None))
    return [each.text for each in found if each.ended], [each.text for each in found if not each.ended]


@pytest.fixture(scope="module")
def playground(server: PostgresServer) -> Iterator[Database]:
    """An empty database, in which psql may do what it reads."""
    database = clone(server, "template0")
    yield database
    database.drop()


def statements_of_psql(text: str, database: Database, log: Path) -> list[str]:
    """What psql would send of a text, also what it has no end of; its log has each between two lines."""
    command = [database.server.bin_dir / "psql", "--no-psqlrc", "--quiet", f"--log-file={log}", "--file=-"]
    environment = os.environ | database.environment()
    subprocess.run(command, input=text.encode(), env=environment, capture_output=True, check=False)
    sent = SENT.findall(log.read_text())
    return [query for query in sent if statements_of(query) not in (([], []), ([], ["/*"]))]  # comments alone


@given(pieces=st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", ";", "\n"])), min_size=1))
@settings(deadline=None, max_examples=examples(400))
def test_statements_end_where_psql_ends_them(
    pieces: list[tuple[str, str]], playground: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "".join(piece + between for piece, between in pieces)
    ended, open_ones = statements_of(text)
    assume(not any(statement.startswith("\\") for statement in ended))  # psql's own commands
    sent = statements_of_psql(text, playground, tmp_path_factory.mktemp("psql") / "log")
    assert len(sent) == len(ended) + len([each for each in open_ones if each != "/*"])


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SET a = b; SET c = d;", ["SET a = b", "SET c = d"]),
        ("SET a = b ; -- note", ["SET a = b"]),
        ("SET a = b; /* it's */ SET c = d;", ["SET a = b", "SET c = d"]),
        ("/* a /* nested; */ one */ SET a = b;", ["SET a = b"]),
        ("SELECT E'it\\'s;', 'it''s;', \"a;\"\"b\";", ["SELECT E'it\\'s;', 'it''s;', \"a;\"\"b\""]),
        ("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);", None),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END;", None),
        ("COMMENT ON TABLE t IS $a_1$ $$ ; ' $a_1$;", None),
        (f"{BACKSLASHES}; SELECT 'it\\'s;'; SET a = b;", [BACKSLASHES, "SELECT 'it\\'s;'", "SET a = b"]),
        ("\\restrict a\nSET a = b;\n\\unrestrict a\n", ["\\restrict a", "SET a = b", "\\unrestrict a"]),
    ],
)  # fmt: skip
def test_what_a_semicolon_stands_in_does_not_end_there(text: str, statements: list[str] | None) -> None:
    assert statements_of(text) == (statements or [text.removesuffix(";")], [])
