"""SQL stands in files, each described and each used, and Python holds none longer than a line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.files import ROOT, modules, our_files, strings_of

QUERIES = [path.relative_to(ROOT) for path in our_files(ROOT, "*.sql") if path.parent.name == "sql"]
STATEMENT = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|COPY|CREATE|ALTER|DROP|GRANT|TRUNCATE)\b")
SQUAWK = Path(sys.executable).with_name("squawk")
# What would lock or break a table that is in use, though a test database would not mind.
UNSAFE = {
    "CREATE INDEX prices_day ON prices (day);": "require-concurrent-index-creation",
    "ALTER TABLE prices ADD COLUMN carrier text NOT NULL;": "adding-required-field",
    "ALTER TABLE prices ALTER COLUMN price TYPE bigint;": "changing-column-type",
    "ALTER TABLE prices ALTER COLUMN price SET NOT NULL;": "adding-not-nullable-field",
    "ALTER TABLE prices RENAME COLUMN price TO amount;": "renaming-column",
    "ALTER TABLE prices DROP COLUMN chunk_no;": "ban-drop-column",
    "DROP TABLE prices;": "ban-drop-table",
    "ALTER TABLE prices ADD FOREIGN KEY (orig_code) REFERENCES ports;": "adding-foreign-key-constraint",
    "ALTER TABLE prices ADD CONSTRAINT positive CHECK (price > 0);": "constraint-missing-not-valid",
}
TIMEOUTS = "SET LOCAL lock_timeout = '5s';\nSET LOCAL statement_timeout = '60s';\n"


@pytest.mark.parametrize("path", QUERIES, ids=str)
def test_every_query_is_described_and_used(path: Path) -> None:
    text = (ROOT / path).read_text()
    assert text.startswith("-- "), "its first line says what it is for"
    assert text.endswith(";\n")
    assert text.count(";\n") == 1, "one query a file"
    package = path.parts[0]
    assert path.stem in strings_of(package), f"nothing in {package}/ asks for it"


def test_every_query_that_is_asked_for_has_its_file() -> None:
    asked = [call for tree in modules().values() for call in ast.walk(tree) if is_query(call)]
    files = {(path.parts[0], path.stem) for path in QUERIES}
    constant = {arguments for call in asked if len(arguments := constants_of(call)) == 2}
    assert len(constant) > 10
    assert constant - files == {("api", "no_such_query")}, "which tests/database asks for"


def test_python_holds_no_sql_longer_than_a_line() -> None:
    """Outside of the tests, where a statement is read beside what it shows."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if path.parts[0] != "tests"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and is_long_sql(node)
    ]
    assert found == []


@pytest.mark.parametrize(("statement", "rule"), UNSAFE.items(), ids=UNSAFE.values())
def test_a_migration_that_would_lock_or_break_what_runs_is_flagged(
    statement: str, rule: str, tmp_path: Path
) -> None:
    result = squawk(tmp_path, TIMEOUTS + statement)
    assert result.returncode == 1
    assert rule in result.stdout


def test_a_migration_without_timeouts_is_flagged(tmp_path: Path) -> None:
    result = squawk(tmp_path, "ALTER TABLE prices ADD COLUMN carrier text;")
    assert result.returncode == 1
    assert "require-lock-timeout" in result.stdout
    assert "require-statement-timeout" in result.stdout


def test_a_migration_that_only_expands_is_let_through(tmp_path: Path) -> None:
    text = (
        TIMEOUTS
        + "ALTER TABLE prices ADD COLUMN carrier text;\nCREATE TABLE carriers (name text PRIMARY KEY);"
    )
    result = squawk(tmp_path, text)
    assert result.returncode == 0, result.stdout


def squawk(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What `make check` says of a migration."""
    migration = folder / "0099_next.sql"
    migration.write_text(text + "\n")
    command = [SQUAWK, "--config", ROOT / ".squawk.toml", migration]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def is_query(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "query"


def constants_of(call: ast.AST) -> tuple[object, ...]:
    arguments = call.args if isinstance(call, ast.Call) else []
    return tuple(argument.value for argument in arguments if isinstance(argument, ast.Constant))


def is_long_sql(node: ast.Constant | ast.JoinedStr) -> bool:
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    text = first.value if isinstance(first, ast.Constant) else None
    return isinstance(text, str) and bool(STATEMENT.match(text)) and node.lineno != node.end_lineno
