"""The command line as a real process: what it prints and how it ends, as JSON and for a person."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from loader.load import Options, load
from loader.sources import Files
from tests.loader.batches import (
    TIMEOUT_S,
    assert_answers_are_what_was_published,
    begin,
    command,
    contents,
    environment,
    json_of,
    make_rows,
    run,
    run_here,
    write_csv,
)
from tests.loader.dumps import dump_text, section, write_dump
from tests.postgres import Database

RESULT_KEYS = {"batch", "state", "rows", "seconds", "errors", "error_count"}
COMMANDS = ("migrate", "import", "load", "batches", "show", "withdraw", "work", "redrive")
# What a quick start has no time for, and what only some commands need.
HEAVY = ("polars", "psycopg", "msgspec", "rich", "alembic", "sqlalchemy", "boto3")
# A title, a screen that is cleared, a colour by one byte, a line of one's own.
STEERING = "\x1b]0;mine\x07\x1b[2J\x9b31m\x7f\r\nbatch x published\x85"
NOT_FOR_A_LOAD = ("rich", "alembic", "sqlalchemy", "boto3")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    rows = make_rows(50)
    return write_csv(
        tmp_path / "bad.csv", [*rows[:9], rows[9]._replace(dest_code="FIHEL", price=0), *rows[10:]]
    )


# --- 0 and 1 -----------------------------------------------------------------------------------------------


def test_a_good_file_is_published_with_0(ports: Database, good: Path) -> None:
    done = run("load", good, "--json", database=ports)
    assert (done.returncode, done.stderr) == (0, "")
    result = json_of(done)
    assert result.keys() >= RESULT_KEYS
    assert (result["state"], result["rows"], result["errors"], result["error_count"]) == (
        "published",
        50,
        [],
        0,
    )
    assert str(uuid.UUID(result["batch"])) == result["batch"]
    assert result["seconds"] > 0
    assert_answers_are_what_was_published(ports, make_rows(50))


def test_a_published_file_again_is_0_and_the_same_batch(ports: Database, good: Path) -> None:
    first, again = (json_of(run("load", good, "--json", database=ports)) for _ in range(2))
    assert (again["batch"], again["state"], again["rows"], again["repeat"]) == (
        first["batch"],
        "published",
        50,
        True,
    )
    told = run("load", good, database=ports)
    assert told.stdout == f"batch {first['batch']} is published already: 50 rows; nothing was done\n"


def test_a_bad_file_is_rejected_with_1_and_every_fault(ports: Database, bad: Path) -> None:
    done = run("load", bad, "--json", database=ports)
    assert done.returncode == 1
    result = json_of(done)
    assert result.keys() >= RESULT_KEYS
    assert (result["state"], result["rows"], result["error_count"]) == ("rejected", 0, 2)
    assert [error.pop("reason") != "" for error in result["errors"]] == [True, True]
    assert result["errors"] == [
        {"file": str(bad), "line": 11, "column": "dest_code", "value": "FIHEL"},
        {"file": str(bad), "line": 11, "column": "price", "value": "0"},
    ]
    assert result["bad_rows"] == 1
    assert_answers_are_what_was_published(ports)


def test_a_person_reads_the_faults_and_what_became_of_the_batch(ports: Database, bad: Path) -> None:
    done = run("load", bad, database=ports)
    assert done.returncode == 1
    assert done.stdout == ""
    dest, price, ports_listed, end = done.stderr.splitlines()
    assert dest == f"{bad}:11: dest_code is 'FIHEL': no such port"
    assert price.startswith(f"{bad}:11: price is '0': expected a whole number of USD")
    assert ports_listed.startswith("The ports there are: GET /ports")
    assert end.endswith("was rejected for 2 faults in 1 row; no row went in")


def test_faults_of_a_kind_are_one_line_with_how_many_rows_have_them(ports: Database, tmp_path: Path) -> None:
    rows = [row._replace(price=0) for row in make_rows(2_000)]
    rows[7] = rows[7]._replace(dest_code="FIHEL")
    path = write_csv(tmp_path / "bad.csv", rows)
    options = ("--chunk-rows", "300")
    price, dest, _, end = run("load", path, *options, database=ports).stderr.splitlines()
    assert price.startswith(f"{path}:2: price is '0': expected a whole number of USD")
    assert price.endswith(" (2,000 rows: lines 2, 3, 4, 5, 6, …)")
    assert dest == f"{path}:9: dest_code is 'FIHEL': no such port"
    assert end.endswith("was rejected for 2,001 faults in 2,000 rows; no row went in")
    result = json_of(run("load", path, *options, "--json", database=ports))
    kinds = result["error_kinds"]
    assert [(kind["column"], kind["value"], kind["count"], kind["first_lines"]) for kind in kinds] == [
        ("price", "0", 2_000, [2, 3, 4, 5, 6]),
        ("dest_code", "FIHEL", 1, [9]),
    ]
    assert json_of(run("load", path, "--dry-run", "--json", database=ports))["error_kinds"] == kinds
    assert json_of(run("show", result["batch"], "--json", database=ports))["error_kinds"] == kinds
    shown = run("show", result["batch"], database=ports)
    assert shown.stderr.splitlines()[:2] == [price, dest]
    assert "2,001, 2,001 of them" not in shown.stdout


def test_only_the_most_frequent_kinds_are_printed(ports: Database, tmp_path: Path) -> None:
    rows = make_rows(100)
    spelled = [(*row[:3], f"{number}.5") for number, row in enumerate(rows)]
    path = write_csv(tmp_path / "bad.csv", spelled)
    lines = run("load", path, database=ports).stderr.splitlines()
    assert len(lines) == 22
    assert lines[20] == "… and 80 more kinds of faults, in 80 rows; --json has them"


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("cnsgh", "; was CNSGH meant?"),
        ("CN SGH", "; was CNSGH meant?"),
        ("cn-sgh", "; was CNSGH meant?"),
        ("CNSHG", "; was CNSGH meant?"),
        ("NLRT", "; was NLRTM meant?"),
        ("FIHEL", ""),
    ],
)
def test_a_code_that_is_nearly_a_ports_is_told_with_that(
    code: str, meant: str, ports: Database, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "bad.csv", [row._replace(dest_code=code) for row in make_rows(3)])
    first, how_to_list, _ = run_here("load", path, database=ports).stderr.splitlines()
    assert first == f"{path}:2: dest_code is {code!r}: no such port{meant} (3 rows: lines 2, 3, 4)"
    assert "GET /ports" in how_to_list


def test_more_rows_than_a_chunk_may_have_bytes_are_told(ports: Database, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    row = b"CNSGH,NLRTM,2021-01-01,1,%s\n" % (b"x" * 60_000)
    path.write_bytes(b"orig_code,dest_code,day,price,rejected_reason\n" + row * 300)
    done = run("load", path, "--chunk-rows", "1000000", database=ports)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        "--chunk-rows 1000000: a chunk has 8 MiB at most, about 139 rows of this file"
    )
    few = run("load", path, "--chunk-rows", "100", "--key", "k", database=ports)
    assert "--chunk-rows" not in few.stderr


@pytest.mark.parametrize(("name", "status", "state"), [("good", 0, "valid"), ("bad", 1, "rejected")])
def test_a_dry_run_says_what_would_be_and_writes_nothing(
    name: str, status: int, state: str, ports: Database, good: Path, bad: Path
) -> None:
    before = contents(ports)
    done = run("load", {"good": good, "bad": bad}[name], "--dry-run", "--json", database=ports)
    assert done.returncode == status
    assert (json_of(done)["state"], json_of(done)["batch"]) == (state, None)
    assert contents(ports) == before


def test_several_files_and_all_options_make_one_batch(ports: Database, good: Path, tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", make_rows(30, seed=2))
    options = ("--key", "monday", "--workers", "3", "--chunk-rows", "7", "--json")
    assert json_of(run("load", good, other, *options, database=ports))["rows"] == 80
    assert_answers_are_what_was_published(ports, make_rows(50), make_rows(30, seed=2))


def test_an_import_is_published_with_0_and_a_bad_dump_rejected_with_1(
    as_loader: Database, tmp_path: Path
) -> None:
    path = write_dump(tmp_path / "dump.sql", dump_text())
    assert json_of(run("import", path, "--json", database=as_loader))["state"] == "published"
    write_dump(path, dump_text() + "DROP TABLE prices;\n")
    done = run("import", path, "--json", database=as_loader)
    assert (done.returncode, json_of(done)["state"], json_of(done)["batch"]) == (1, "rejected", None)
    assert json_of(done)["errors"][0]["reason"].startswith(
        "a statement that would change the rows above it: 'DROP TABLE prices'"
    )
    assert run("import", path, database=as_loader).stderr.splitlines()[-1] == (
        "the file was rejected for 1 fault; no row went in"
    )


def test_an_import_tells_what_of_the_dump_it_passed_over(as_loader: Database, tmp_path: Path) -> None:
    path = write_dump(tmp_path / "dump.sql", dump_text() + section("notes", [("a",), ("b",)], "note"))
    done = run("import", path, database=as_loader)
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        0,
        f"{path}: passed over: rows of public.notes (2)",
    )


def test_migrate_brings_the_schema_and_the_second_time_finds_it(empty_database: Database) -> None:
    first, again = (
        json_of(run("migrate", "--json", database=empty_database, role="postgres")) for _ in range(2)
    )
    assert first["before"] is None
    assert first["now"] == again["before"] == again["now"]


# --- what it tells -----------------------------------------------------------------------------------------


def test_batches_lists_the_newest_first(ports: Database, good: Path, bad: Path) -> None:
    published, rejected = (str(load(Files([path]), Options()).batch) for path in (good, bad))
    found = json_of(run("batches", "--json", database=ports))["batches"]
    assert [(one["batch"], one["state"], one["rows"], one["error_count"]) for one in found] == [
        (rejected, "rejected", 0, 2),
        (published, "published", 50, 0),
    ]
    heading, first, second = run("batches", database=ports).stdout.splitlines()
    assert heading.split() == ["batch", "state", "rows", "errors", "created", "source"]
    assert first.split()[:4] == [rejected, "rejected", "0", "2"]
    assert second.split()[:4] == [published, "published", "50", "0"]
    assert second.endswith(str(good))


def test_batches_of_an_empty_ledger_is_an_empty_list(ports: Database) -> None:
    assert json_of(run("batches", "--json", database=ports)) == {"batches": []}
    assert run("batches", database=ports).returncode == 0


def test_files_may_have_any_name(ports: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is markup to the table's printer, what is no UTF-8, what is not ASCII."""
    monkeypatch.chdir(tmp_path)
    Path("[").mkdir()
    names = [b"[/]:smile:.csv", b"[bold]x.csv", b"\xff.csv", "ü b.csv".encode()]
    paths = [write_csv(Path(os.fsdecode(name)), make_rows(5, seed=seed)) for seed, name in enumerate(names)]
    shown = ", ".join(name.decode(errors="replace") for name in names)
    assert json_of(run("load", *paths, "--json", database=ports))["state"] == "published"
    assert run("batches", database=ports).stdout.splitlines()[1].endswith(f" {shown}")
    assert json_of(run("batches", "--json", database=ports))["batches"][0]["source"] == shown
    paths[2].write_text("a\n")
    assert run("load", paths[2], database=ports).stderr.startswith("\ufffd.csv:1: the header lacks")


def test_nothing_that_a_name_or_value_holds_steers_the_terminal(
    ports: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where all goes well nor in any error; JSON is exact."""
    monkeypatch.chdir(tmp_path)
    value = STEERING.replace("\r\n", "")
    bad = write_csv(Path(f"bad{STEERING}"), [row._replace(orig_code=value) for row in make_rows(3)])
    good = write_csv(Path(f"good{STEERING}"), make_rows(5))
    dump = write_dump(Path(f"dump{STEERING}"), dump_text(prices=[(value, "B", "2021-01-01", 1)]))
    calls: list[tuple[str | Path, ...]] = [
        ("load", bad, "--key", "bad", "--rejects", f"rejects{STEERING}"),
        ("load", good, "--key", "good", "--progress-every", "0.001"),
        ("load", good, "--key", "bad"),
        ("load", good, "--key", STEERING),
        ("load", f"none{STEERING}"),
        ("load", good, "--rejects", good),
        ("load", "s3://nowhere/" + STEERING),
        ("load", good, "--workers", STEERING),
        ("import", dump),
        ("show", "bad"),
        ("show", STEERING),
        ("batches",),
        ("withdraw", "good"),
        ("withdraw", "one", f"two{STEERING}"),
        (STEERING,),
        ("load", good, f"--{STEERING}"),
    ]
    for call in calls:
        done = run_here(*call, database=ports)
        for line in (done.stdout + done.stderr).split("\n"):
            assert line.isprintable(), (call, line)
    told = run_here("show", "bad", "--json", database=ports)
    assert told.stdout[:-1].isprintable()
    found = json_of(told)
    assert (found["source"], found["errors"][0]["value"]) == (str(bad), value)


@pytest.mark.parametrize("arguments", [("load", "good.csv", "--json"), ("batches",), ("load", "good.csv")])
def test_a_reader_who_leaves_does_not_change_how_it_ends(
    arguments: tuple[str, ...], ports: Database, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    with begin(*arguments, database=ports) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(TIMEOUT_S), errors) == (0, "")


def modules_of(*arguments: str | Path, database: Database | None = None) -> tuple[set[str], str]:
    """The packages that a run of the loader imports, and what it says."""
    listed = [sys.executable, "-X", "importtime", *command(*arguments)[1:]]
    done = subprocess.run(
        listed, env=environment(database), capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done.stdout


@pytest.mark.parametrize("arguments", [(), *((name,) for name in COMMANDS)], ids="".join)
def test_every_command_explains_itself_and_waits_for_nothing_that_this_does_not_need(
    arguments: tuple[str, ...],
) -> None:
    imported, told = modules_of(*arguments, "--help")
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)
    assert told.startswith("Usage: ")
    assert all(name in told for name in (("--json",) if arguments else COMMANDS))


def test_a_load_waits_for_nothing_that_it_does_not_need(ports: Database, good: Path) -> None:
    imported, _ = modules_of("load", good, database=ports)
    assert {"polars", "psycopg"} <= imported
    assert imported.isdisjoint(NOT_FOR_A_LOAD)


def test_what_reads_no_chunk_does_not_wait_for_polars(ports: Database, good: Path) -> None:
    load(Files([good]), Options(key="k"))
    for arguments in (("batches", "--json"), ("show", "k"), ("withdraw", "k")):
        imported, _ = modules_of(*arguments, database=ports)
        assert "psycopg" in imported
        assert "polars" not in imported


def test_the_console_script_is_the_same_program(ports: Database, good: Path) -> None:
    script = Path(sys.executable).with_name("loader")
    for arguments, status in ((("load", good), 0), (("load", "none.csv"), 2), (("load",), 2)):
        done = subprocess.run(
            [script, *arguments], env=environment(ports), capture_output=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == status
