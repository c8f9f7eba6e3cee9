"""Migrations: from nothing to the newest, once, by whoever comes first, and never half."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import database.migrate
from database.errors import DatabaseUnavailable
from database.migrate import LOCK_KEY, MIGRATIONS, migrate
from tests.database.waiting import waiting_for_locks
from tests.postgres import PASSWORD, Database
from tests.waiting import TIMEOUT_S, wait_until

SCRIPTS = sorted((MIGRATIONS / "versions").glob("*.py"))
HEAD = SCRIPTS[-1].name[:4]
NEXT_SCRIPT = f"""
from database.migrate import run_sql_beside

revision = "9999"
down_revision = "{HEAD}"


def upgrade() -> None:
    run_sql_beside(__file__)
"""
LOADER = [sys.executable, "-m", "loader", "migrate", "--json"]


def at(database: Database, monkeypatch: pytest.MonkeyPatch, user: str = "postgres") -> Database:
    """Makes this process the migrator of a database."""
    for name, value in database.environment(user).items():
        monkeypatch.setenv(name, value)
    return database


@pytest.fixture
def empty(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    return at(empty_database, monkeypatch)


@pytest.fixture
def migrated(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    return at(database, monkeypatch)


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder that a test may add to."""
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(database.migrate, "MIGRATIONS", copy)
    return copy


def add_migration(migrations: Path, text: str) -> None:
    (migrations / "versions" / "9999_next.py").write_text(NEXT_SCRIPT)
    (migrations / "versions" / "9999_next.sql").write_text(text)


def version(database: Database) -> str:
    return database.rows("SELECT version_num FROM schema_version")[0][0]


def exists(database: Database, relation: str) -> bool:
    return database.rows("SELECT to_regclass(%s) IS NOT NULL", relation)[0][0]


# --- running them ------------------------------------------------------------------------------------------


def test_an_empty_database_goes_to_the_newest_version_and_stays_there(empty: Database) -> None:
    assert migrate() == (None, HEAD)
    before = empty.rows("SELECT oid, relfilenode FROM pg_class ORDER BY oid")

    assert migrate() == (HEAD, HEAD)

    assert empty.rows("SELECT oid, relfilenode FROM pg_class ORDER BY oid") == before
    assert empty.rows("SELECT version FROM data_version") == [(0,)]


def test_of_several_processes_at_once_exactly_one_applies_them(empty: Database) -> None:
    with empty.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        processes = [subprocess.Popen(LOADER, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        try:
            wait_until(lambda: waiting_for_locks(empty) == len(processes))
            assert not exists(empty, "schema_version")
        finally:
            holder.execute("SELECT pg_advisory_unlock_all()")
            outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    answers = [json.loads(output) for output in outputs]
    assert sorted(answers, key=lambda answer: answer["before"] or "") == [
        {"before": None, "now": HEAD},
        {"before": HEAD, "now": HEAD},
        {"before": HEAD, "now": HEAD},
    ]


def test_a_database_that_is_behind_gets_only_what_it_lacks(migrated: Database, migrations: Path) -> None:
    add_migration(migrations, "CREATE TABLE carriers (name text);")
    assert migrate() == (HEAD, "9999")
    assert exists(migrated, "carriers")


def test_an_owner_who_is_no_superuser_can_run_them(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sql.Identifier(empty_database.name), sql.Identifier("rates_owner")
    with empty_database.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE rates_owner LOGIN CREATEROLE PASSWORD {}").format(PASSWORD))
        try:
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*names))
            at(empty_database, monkeypatch, user="rates_owner")
            assert migrate() == (None, HEAD)
        finally:
            connection.execute("REASSIGN OWNED BY rates_owner TO postgres")
            connection.execute("DROP OWNED BY rates_owner")
            connection.execute("DROP ROLE rates_owner")


# --- when one cannot go on ---------------------------------------------------------------------------------


def test_a_migration_that_waits_too_long_for_a_lock_leaves_the_earlier_state(
    migrated: Database, migrations: Path
) -> None:
    add_migration(
        migrations,
        "SET LOCAL lock_timeout = '50ms'; CREATE TABLE carriers (name text);"
        " ALTER TABLE prices ADD COLUMN carrier text;",
    )
    with migrated.connect("rates_loader") as loader, loader.transaction():
        loader.execute("INSERT INTO prices VALUES (1, 0, '2021-01-01', 1, 'A', 'B')")
        with pytest.raises(DatabaseUnavailable, match=r"is busy: .*lock timeout"):
            migrate()
    assert version(migrated) == HEAD
    assert not exists(migrated, "carriers")

    assert migrate() == (HEAD, "9999")
    assert exists(migrated, "carriers")


@pytest.mark.parametrize("mode", ["ROW EXCLUSIVE", "ACCESS EXCLUSIVE"])
def test_a_version_table_that_is_locked_is_not_waited_for_for_ever(
    migrated: Database, migrations: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(database.migrate, "LOCK_TIMEOUT", "50ms")
    add_migration(migrations, "SET LOCAL lock_timeout = '50ms'; CREATE TABLE carriers (name text);")
    with migrated.connect() as other, other.transaction():
        other.execute("UPDATE schema_version SET version_num = version_num")
        other.execute(f"LOCK TABLE schema_version IN {mode} MODE".encode())
        with pytest.raises(DatabaseUnavailable, match=r"is busy: .*lock timeout"):
            migrate()
    assert version(migrated) == HEAD
    assert not exists(migrated, "carriers")


def test_a_migration_with_a_fault_leaves_the_earlier_state_and_the_lock_free(
    migrated: Database, migrations: Path
) -> None:
    add_migration(migrations, "CREATE TABLE carriers (name text); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate()
    assert version(migrated) == HEAD
    assert not exists(migrated, "carriers")
    assert migrated.rows("SELECT pg_try_advisory_lock(%s)", LOCK_KEY) == [(True,)]


def test_a_database_that_is_away_is_exit_code_3_and_one_line() -> None:
    env = os.environ | {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGUSER": "rates", "PGDATABASE": "rates"}
    result = subprocess.run(LOADER, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert result.returncode == 3
    assert re.fullmatch(r"loader: the database could not be reached: .*\n", result.stderr)


# --- the files ---------------------------------------------------------------------------------------------


def test_they_are_one_chain_numbered_from_one_each_with_its_sql() -> None:
    before = None
    for number, script in enumerate(SCRIPTS, 1):
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in ast.parse(script.read_text()).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        assert constants == {"revision": f"{number:04}", "down_revision": before}, script.name
        assert script.name.startswith(f"{number:04}_")
        before = constants["revision"]
    assert [path.stem for path in sorted((MIGRATIONS / "versions").glob("*.sql"))] == [
        script.stem for script in SCRIPTS
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_each_says_what_it_is_for_and_how_long_it_may_wait(script: Path) -> None:
    lines = script.with_suffix(".sql").read_text().splitlines()
    statements = [line for line in lines if line and not line.startswith("--")]
    assert lines[0].startswith("-- ")
    assert re.fullmatch(r"SET LOCAL lock_timeout = '[1-9]s';", statements[0])
    assert re.fullmatch(r"SET LOCAL statement_timeout = '[0-9]+(s|min)';( -- .*)?", statements[1])


def test_there_is_one_data_version_and_there_cannot_be_two(migrated: Database) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation, match="data_version_pkey"):
        migrated.rows("INSERT INTO data_version (version) VALUES (1) RETURNING version")
    with pytest.raises(psycopg.errors.CheckViolation, match="data_version_only_row_check"):
        migrated.rows("INSERT INTO data_version (only_row, version) VALUES (false, 1) RETURNING version")
    assert migrated.rows("SELECT only_row, version FROM data_version") == [(True, 0)]
