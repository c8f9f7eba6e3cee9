"""What the command line cannot do: its exit code, and the reason in one line and one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.postgres import free_port
from tests.loader.batches import (
    assert_answers_are_what_was_published,
    assert_nothing_is_left_but_the_ledger,
    json_of,
    make_rows,
    only_line,
    run,
    run_here,
    write_csv,
)
from tests.loader.dumps import dump_text, write_dump
from tests.postgres import Database

NO_KEY = "'' is not a key: it needs characters, and each of them printable"
# One call of every command that talks to the database.
CALLS = [
    ("load", "prices.csv"), ("import", "dump.sql"), ("batches",), ("show", "x"), ("withdraw", "x"), ("work",),
    ("redrive",), ("migrate",),
]  # fmt: skip
# For those that talk to storage too.
STORAGE: dict[str, Any] = {"BATCH_BUCKET": "batches", "BATCH_QUEUE_URL": "http://127.0.0.1:9/queue"}


# --- 2 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("fly",), "No such command 'fly'"),
        (("--fast",), "No such option"),
        (("load",), "Missing argument 'FILE...'"),
        (("load", "a.csv", "--fast"), "No such option"),
        (("load", "a.csv", "--workers", "many"), "'--workers'"),
        (("load", "a.csv", "--chunk-rows", "-1"), "'--chunk-rows'"),
        (("load", "--rejects", "b.csv"), "Missing argument 'FILE...'"),
        (("import", "a", "b"), "unexpected extra argument (b)"),
        (("show", "--\udcff"), "No such option"),
    ],
)
def test_a_wrong_call_is_2(arguments: tuple[str, ...], reason: str) -> None:
    done = run_here(*arguments, "--json")
    assert done.returncode == 2
    assert reason in done.stderr
    assert reason in json_of(done)["error"]


@pytest.mark.parametrize("arguments", [("fly",), ("load", "none.csv"), ("batches",)])
def test_without_json_nothing_but_results_goes_to_stdout(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("load", "none.csv"), "none.csv: No such file or directory"),
        (("load", "."), ".: Is a directory; name the files in it"),
        (("load", "good.csv", "good.csv"), "good.csv: the file is named twice; its rows would count twice"),
        (("load", "good.csv", "--key", ""), NO_KEY),
        (("import", "none.sql"), "none.sql: No such file or directory"),
        (("show", "monday"), "no batch has the id or key 'monday'; `loader batches` lists them"),
        (("withdraw", "monday"), "no batch has the id or key 'monday'; `loader batches` lists them"),
        (("show", "\udcff"), "no batch has the id or key '\\udcff'; `loader batches` lists them"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_as_asked_is_2_and_one_line(
    arguments: tuple[str, ...], reason: str, ports: Database, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    done = run_here(*arguments, "--json", database=ports)
    assert done.returncode == 2
    assert only_line(done) == f"loader: {reason}"
    assert json_of(done) == {"error": reason}


@pytest.mark.parametrize("call", ["work", "redrive"])
def test_every_missing_variable_of_database_and_storage_is_named_at_once(call: str) -> None:
    done = run_here(call, "--json", BATCH_BUCKET="", BATCH_QUEUE_URL="")
    assert done.returncode == 2
    assert json_of(done) == {
        "error": "no database is named: set PGHOST, PGUSER, PGDATABASE (or DATABASE_URL);"
        " no place for batches is named: set BATCH_BUCKET, BATCH_QUEUE_URL"
    }


@pytest.mark.parametrize("call", ["work", "redrive"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "10001", "1.5"])
def test_a_number_of_messages_that_cannot_be_is_named_beside_what_is_missing(call: str, value: str) -> None:
    done = run_here(call, "--json", BATCH_BUCKET="", BATCH_QUEUE_URL="q", RATES_TICKETS_MAX=value)
    assert done.returncode == 2
    assert json_of(done) == {
        "error": "no database is named: set PGHOST, PGUSER, PGDATABASE (or DATABASE_URL);"
        " no place for batches is named: set BATCH_BUCKET;"
        f" RATES_TICKETS_MAX is {value!r}: allowed is 1 to 10000"
    }


def test_other_content_under_a_used_key_is_2(ports: Database, good: Path, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", make_rows(5, seed=2))
    assert run_here("load", good, "--key", "monday", database=ports).returncode == 0
    done = run_here("load", other, "--key", "monday", "--json", database=ports)
    assert done.returncode == 2
    assert json_of(done)["error"].startswith("key 'monday' belongs to batch ")
    assert_answers_are_what_was_published(ports, make_rows(50))


@pytest.fixture
def call_folder(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder in which CALLS find their files."""
    good.rename(good.with_name("prices.csv"))
    write_dump(good.with_name("dump.sql"), dump_text())
    monkeypatch.chdir(good.parent)


@pytest.mark.usefixtures("call_folder")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0])
def test_every_missing_variable_is_named_at_once(call: tuple[str, ...]) -> None:
    done = run_here(*call, "--json", PGUSER="rates_loader", **STORAGE)
    assert done.returncode == 2
    reason = "no database is named: set PGHOST, PGDATABASE (or DATABASE_URL)"
    assert done.stderr.splitlines()[-1] == f"loader: {reason}"
    assert json_of(done) == {"error": reason}


@pytest.mark.usefixtures("call_folder")
@pytest.mark.parametrize(
    "call", [("load", "prices.csv"), ("import", "dump.sql"), ("batches",)], ids=lambda call: call[0]
)
def test_a_database_without_the_schema_is_2_and_says_what_to_run(
    call: tuple[str, ...], empty_database: Database
) -> None:
    done = run_here(*call, "--json", database=empty_database)
    assert done.returncode == 2
    assert only_line(done).endswith("run `loader migrate`")
    assert json_of(done)["error"].startswith("the schema is not there")


@pytest.mark.usefixtures("call_folder")
@pytest.mark.parametrize("call", [("load", "prices.csv"), ("import", "dump.sql")], ids=lambda c: c[0])
def test_a_role_that_may_not_load_is_2(call: tuple[str, ...], ports: Database) -> None:
    done = run_here(*call, "--json", database=ports, role="rates_api")
    assert done.returncode == 2
    assert only_line(done).startswith("loader: the database role lacks a right: permission denied for table")
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_role_that_may_not_migrate_is_2(empty_database: Database) -> None:
    done = run_here("migrate", database=empty_database, role="rates_loader")
    assert done.returncode == 2
    assert only_line(done).startswith("loader: the database role lacks a right: permission denied for schema")


# --- 3 -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("call_folder")
@pytest.mark.parametrize("call", [call for call in CALLS if call[0] != "work"], ids=lambda call: call[0])
def test_a_database_that_is_away_is_3_with_the_reason_in_one_line(call: tuple[str, ...]) -> None:
    done = run(
        *call,
        "--json",
        PGHOST="127.0.0.1",
        PGPORT=str(free_port()),
        PGUSER="me",
        PGDATABASE="rates",
        **STORAGE,
    )
    assert done.returncode == 3
    assert only_line(done).startswith("loader: the database could not be reached: ")
    assert only_line(done).endswith("Connection refused")
    assert only_line(done) == f"loader: {json_of(done)['error']}"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"PGPASSWORD": "wrong"}, 'password authentication failed for user "rates_loader"'),
        ({"PGDATABASE": "nowhere"}, 'database "nowhere" does not exist'),
        ({"PGHOST": "nowhere.invalid"}, "Name or service not known"),
    ],
    ids=["password", "database", "host"],
)
def test_a_database_that_lets_nobody_in_is_3_with_the_reason_in_one_line(
    wrong: dict[str, str], reason: str, ports: Database, good: Path
) -> None:
    done = run_here("load", good, "--json", database=ports, **wrong)
    assert done.returncode == 3
    assert only_line(done).startswith("loader: the database could not be reached: ")
    assert only_line(done).endswith(reason)
    assert only_line(done) == f"loader: {json_of(done)['error']}"


def test_a_password_in_an_address_is_used_and_never_shown(ports: Database, good: Path) -> None:
    named = ports.environment("rates_loader")
    address = "postgresql://rates_loader:{}@{PGHOST}:{PGPORT}/{PGDATABASE}"
    assert run_here("load", good, DATABASE_URL=address.format(named["PGPASSWORD"], **named)).returncode == 0
    refused = run_here("load", good, DATABASE_URL=address.format("secret", **named))
    assert refused.returncode == 3
    assert "password authentication failed" in only_line(refused)
    assert "secret" not in refused.stderr
