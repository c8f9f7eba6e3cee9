"""What is published already, and a batch that comes after it: the same prices, another dump, one replaced."""

from __future__ import annotations

import gzip
import random
from contextlib import closing
from pathlib import Path

import polars as pl
import psycopg
import pytest

from loader.errors import Stopped
from loader.load import Options, load
from loader.sources import Files
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    PORTS,
    REGIONS,
    Row,
    assert_answers_are_what_was_published,
    begin,
    contents,
    data_version,
    discard,
    fold,
    fold_a_step,
    json_of,
    load_rows,
    make_rows,
    run,
    run_here,
    write_csv,
)
from tests.loader.dumps import dump_text, write_dump
from tests.postgres import Database
from tests.waiting import TIMEOUT_S, wait_until

ROWS, OTHERS, NEWER = make_rows(60), make_rows(20, seed=2), make_rows(70, seed=3)
STATES = "SELECT key, state FROM batches ORDER BY batch_no"


def dump_of(path: Path, rows: list[Row], word: str = "4fR7bUvVwq3", ports: list = PORTS) -> Path:
    """As pg_dump writes it, with a random word of its own."""
    return write_dump(path, dump_text(REGIONS, ports, rows).replace("4fR7bUvVwq3", word))


# --- a dump again -------------------------------------------------------------------------------------------


def test_a_dump_of_the_same_data_is_the_same_batch(as_loader: Database, tmp_path: Path) -> None:
    first = json_of(run("import", dump_of(tmp_path / "a.sql", ROWS), "--json", database=as_loader))
    before = contents(as_loader)
    for name, text in [("b.sql", b""), ("c.sql.gz", b"-- with a comment\n")]:
        path = dump_of(tmp_path / name, ROWS, word=f"word{len(text)}")
        if text:
            path.write_bytes(gzip.compress(text + path.read_bytes()))
        again = json_of(run_here("import", path, "--json", database=as_loader))
        assert (again["batch"], again["state"], again["repeat"]) == (first["batch"], "published", True)
    assert contents(as_loader) == before


def test_a_dump_with_its_rows_in_another_order_is_the_same_batch(as_loader: Database, tmp_path: Path) -> None:
    first = json_of(run_here("import", dump_of(tmp_path / "a.sql", ROWS), "--json", database=as_loader))
    shuffled = random.Random(1).sample(ROWS, len(ROWS))  # noqa: S311
    done = run_here("import", dump_of(tmp_path / "b.sql", shuffled), "--json", database=as_loader)
    again = json_of(done)
    assert (done.returncode, again["batch"], again["repeat"]) == (0, first["batch"], True)
    assert_answers_are_what_was_published(as_loader, ROWS)
    assert data_version(as_loader) == 1


def test_a_later_dump_is_refused_with_the_batch_in_its_way_and_the_ways_on(
    as_loader: Database, tmp_path: Path
) -> None:
    first = json_of(run_here("import", dump_of(tmp_path / "a.sql", ROWS), "--json", database=as_loader))
    later = dump_of(tmp_path / "b.sql", [*ROWS, *OTHERS])
    done = run("import", later, database=as_loader)
    assert done.returncode == 1
    for told in (first["batch"], "--replace", "--add", "--places-only", "no row went in"):
        assert told in done.stderr
    assert_answers_are_what_was_published(as_loader, ROWS)


def test_a_later_dump_with_as_many_prices_is_refused_too(as_loader: Database, tmp_path: Path) -> None:
    """Which only its prices tell, once they are read."""
    run_here("import", dump_of(tmp_path / "a.sql", ROWS), database=as_loader)
    other = [ROWS[0]._replace(price=ROWS[0].price + 1), *ROWS[1:]]
    done = json_of(run_here("import", dump_of(tmp_path / "b.sql", other), "--json", database=as_loader))
    assert (done["state"], done["error_count"]) == ("rejected", 1)
    assert "--replace takes its place" in done["errors"][0]["reason"]
    discard(as_loader)
    assert_answers_are_what_was_published(as_loader, ROWS)


def test_a_dump_of_the_same_prices_and_other_places_says_how_these_go_in(
    as_loader: Database, tmp_path: Path
) -> None:
    run_here("import", dump_of(tmp_path / "a.sql", ROWS), database=as_loader)
    more = dump_of(tmp_path / "b.sql", ROWS, ports=[*PORTS, ("FIHEL", "Helsinki", "europe")])
    done = json_of(run_here("import", more, "--json", database=as_loader))
    assert done["state"] == "rejected"
    assert "--places-only" in done["errors"][0]["reason"]
    assert as_loader.rows("SELECT count(*) FROM ports") == [(len(PORTS),)]
    assert run_here("import", more, "--places-only", database=as_loader).returncode == 0
    assert as_loader.rows("SELECT count(*) FROM ports") == [(len(PORTS) + 1,)]
    assert_answers_are_what_was_published(as_loader, ROWS)


def test_a_dump_may_be_meant_beside_another(as_loader: Database, tmp_path: Path) -> None:
    run_here("import", dump_of(tmp_path / "a.sql", ROWS), database=as_loader)
    assert run("import", dump_of(tmp_path / "b.sql", OTHERS), "--add", database=as_loader).returncode == 0
    assert_answers_are_what_was_published(as_loader, ROWS, OTHERS)


def test_a_dump_beside_files_of_prices_goes_in(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, OTHERS)
    assert run_here("import", dump_of(tmp_path / "a.sql", ROWS), database=ports).returncode == 0
    assert run_here("load", write_csv(tmp_path / "c.csv", NEWER), database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, ROWS, OTHERS, NEWER)


@pytest.mark.parametrize("way", ["after", "before"])
def test_import_replace_takes_the_place_of_the_one_dump_there_is(
    way: str, as_loader: Database, tmp_path: Path
) -> None:
    first = json_of(run_here("import", dump_of(tmp_path / "a.sql", ROWS), "--json", database=as_loader))
    later = dump_of(tmp_path / "b.sql", [*ROWS, *OTHERS])
    options = [later, "--replace"] if way == "after" else ["--replace", later]
    done = json_of(run("import", *options, "--json", database=as_loader))
    assert (done["state"], done["rows"]) == ("published", 80)
    shown = json_of(run_here("show", first["batch"], "--json", database=as_loader))
    assert (shown["state"], shown["replaced_by"]) == ("withdrawn", done["batch"])
    assert [event["event"] for event in shown["events"]][-1] == "replaced"
    assert data_version(as_loader) == 2
    assert_answers_are_what_was_published(as_loader, [*ROWS, *OTHERS])


# --- the same prices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["packed", "parquet", "shuffled", "other columns first", "one more chunk"])
def test_the_same_prices_are_the_same_batch(how: str, ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    first = json_of(run_here("load", path, "--json", database=ports))
    options: list[str] = []
    if how == "packed":
        path = tmp_path / "a.csv.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    elif how == "parquet":
        path = tmp_path / "a.parquet"
        pl.DataFrame(ROWS, schema=Row._fields, orient="row").write_parquet(path)
    elif how == "shuffled":
        path = write_csv(tmp_path / "b.csv", random.Random(1).sample(ROWS, len(ROWS)))  # noqa: S311
    elif how == "other columns first":
        path = write_csv(tmp_path / "b.csv", [row[::-1] for row in ROWS], "price,day,dest_code,orig_code")
    else:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        options = ["--chunk-rows", "7"]
    again = run_here("load", path, *options, "--json", database=ports)
    told = json_of(again)
    assert (again.returncode, told["batch"], told["state"]) == (0, first["batch"], "published")
    assert (told["rows"], told["repeat"]) == (60, True)
    discard(ports)
    assert_answers_are_what_was_published(ports, ROWS)


def test_under_a_key_of_its_own_the_same_prices_are_meant(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    for options in ([], ["--key", "second"], ["--key", "third"]):
        assert run_here("load", path, *options, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, ROWS, ROWS, ROWS)


def test_a_withdrawn_batch_keeps_the_same_prices_from_nothing(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    batch = json_of(run_here("load", path, "--json", database=ports))["batch"]
    run_here("withdraw", batch, database=ports)
    path.write_bytes(gzip.compress(path.read_bytes()))
    done = json_of(run_here("load", path, "--json", database=ports))
    assert (done["state"], done["repeat"], done["batch"] == batch) == ("published", False, False)


def test_a_batch_that_a_release_of_before_has_begun_is_the_same_as_none(
    ports: Database, tmp_path: Path
) -> None:
    """Of its chunks there is no sum."""
    path = write_csv(tmp_path / "a.csv", ROWS)
    with pytest.raises(Stopped):
        load(Files([path]), Options(chunk_rows=20), stop=iter([False, False, True]).__next__)
    ports.rows("UPDATE chunks SET prices_sum = NULL RETURNING 1")
    assert load(Files([path]), Options()).state == "published"
    assert ports.rows("SELECT prices_sum FROM batches") == [(None,)]


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_content_twice_in_one_load_is_refused_naming_both(
    packed: bool, ports: Database, tmp_path: Path
) -> None:
    first = write_csv(tmp_path / "a.csv", ROWS)
    second = tmp_path / ("b.csv.gz" if packed else "b.csv")
    second.write_bytes(gzip.compress(first.read_bytes()) if packed else first.read_bytes())
    other = write_csv(tmp_path / "c.csv", OTHERS)
    for options in ([], ["--dry-run"]):
        done = json_of(run_here("load", first, other, second, "--json", *options, database=ports))
        assert done["state"] == "rejected"
        assert done["errors"][0]["file"] == str(second)
        assert f"the same content as {first}" in done["errors"][0]["reason"]
    assert ports.rows("SELECT count(*) FROM postings") == [(0,)]


def test_parts_without_a_row_may_be_alike(ports: Database, tmp_path: Path) -> None:
    empty = [write_csv(tmp_path / f"{number}.csv", []) for number in range(2)]
    full = write_csv(tmp_path / "a.csv", ROWS)
    assert run_here("load", *empty, full, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, ROWS)


# --- one that takes another's place -------------------------------------------------------------------------


@pytest.mark.parametrize("folded", ["not", "partly", "whole"])
def test_replaced_is_out_as_the_new_one_is_in(folded: str, ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, OTHERS, "other")
    old = load_rows(tmp_path, ROWS, "old", chunk_rows=25).batch
    if folded == "partly":
        fold_a_step(ports, 3)
    elif folded == "whole":
        fold(ports)
    path = write_csv(tmp_path / "new.csv", NEWER)
    done = json_of(run_here("load", path, "--replace", "old", "--json", database=ports))
    assert done["state"] == "published"
    assert data_version(ports) == 3, "out and in are one change"
    assert_answers_are_what_was_published(ports, OTHERS, NEWER)
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, OTHERS, NEWER)
    assert ports.rows("SELECT replaced_by::text FROM batches WHERE id = %s", old) == [(done["batch"],)]
    assert run_here("load", path, "--replace", "old", database=ports).stdout.endswith("nothing was done\n")


def test_the_new_one_withdrawn_does_not_bring_the_old_one_back(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, ROWS, "old")
    path = write_csv(tmp_path / "new.csv", NEWER)
    run_here("load", path, "--replace", "old", "--key", "new", database=ports)
    assert run_here("withdraw", "new", database=ports).returncode == 0
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports)
    assert ports.rows(STATES) == [("old", "withdrawn"), ("new", "withdrawn")]


def test_a_rejected_batch_leaves_the_one_it_was_to_replace(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, ROWS, "old")
    path = write_csv(tmp_path / "new.csv", [*NEWER, NEWER[0]._replace(price=0)])
    assert run_here("load", path, "--replace", "old", database=ports).returncode == 1
    assert_answers_are_what_was_published(ports, ROWS)


def test_without_a_key_load_replaces_the_batch_of_the_same_file(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    run_here("load", path, database=ports)
    load_rows(tmp_path, OTHERS, "other")
    write_csv(path, NEWER)
    assert run_here("load", "--replace", path, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, NEWER, OTHERS)


def test_what_cannot_be_replaced_is_named(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, ROWS, "old")
    run_here("withdraw", "old", database=ports)
    path = write_csv(tmp_path / "new.csv", NEWER)
    before = contents(ports)
    for options, told in [
        (["--replace", "nobody's"], "no batch to replace has the id or key"),
        (["--replace", "old"], "is withdrawn; only a published one can be replaced"),
        (["--replace"], "no published batch is of source"),
        (["--replace", "old", "--dry-run"], "leave --replace out"),
    ]:
        done = run_here("load", path, *options, database=ports)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    for options in (
        ["--add", "--replace"],
        ["--add", "--places-only"],
        ["--places-only", "--rejects", "x.csv"],
    ):
        assert run_here("import", path, *options, database=ports).returncode == 2
    assert contents(ports) == before


def test_of_two_that_replace_one_the_second_is_refused(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, ROWS, "old")
    second = write_csv(tmp_path / "second.csv", OTHERS)
    with pytest.raises(Stopped):
        load(Files([second]), Options(replace="old", chunk_rows=5), stop=iter([False, False, True]).__next__)
    first = write_csv(tmp_path / "first.csv", NEWER)
    done = json_of(run_here("load", first, "--replace", "old", "--json", database=ports))
    late = run_here("load", second, "--replace", "old", "--json", database=ports)
    assert late.returncode == 1
    assert f"was replaced by batch {done['batch']}" in json_of(late)["errors"][0]["reason"]
    discard(ports)
    assert_answers_are_what_was_published(ports, NEWER)


def test_a_load_goes_on_for_what_it_was_begun(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, ROWS, "old")
    path = write_csv(tmp_path / "new.csv", NEWER)
    killed_at(ports, "data_version", "UPDATE", "load", path, "--replace", "old")
    done = run_here("load", path, database=ports)
    assert done.returncode == 2
    assert "was begun with --replace" in done.stderr
    assert run_here("load", path, "--replace", "old", database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, NEWER)


def hold_before(owner: psycopg.Connection, table: str, what: str) -> None:
    """A session that writes so to a table waits, until `owner` lets go."""
    owner.execute(
        "CREATE OR REPLACE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock_shared(4712); RETURN coalesce(NEW, OLD); END'"
    )
    owner.execute(
        f"CREATE OR REPLACE TRIGGER held BEFORE {what} ON {table} FOR EACH ROW"
        " EXECUTE FUNCTION held()".encode()
    )
    owner.execute("SELECT pg_advisory_lock(4712)")


def killed_at(database: Database, table: str, what: str, *call: str | Path) -> None:
    """Runs the loader up to the moment at which it writes so, and kills it there."""
    with closing(database.connect()) as owner:
        hold_before(owner, table, what)
        with begin(*call, database=database) as process:
            wait_until(lambda: waiting_for_locks(database) > 0 or process.poll() is not None)
            assert process.poll() is None, process.communicate()
            process.kill()
            process.communicate(timeout=TIMEOUT_S)
        owner.execute("SELECT pg_advisory_unlock_all()")
        wait_until(lambda: waiting_for_locks(database) == 0)
        owner.execute(f"DROP TRIGGER held ON {table}".encode())


STEPS = [
    ("batches", "INSERT"),  # opened
    ("chunks", "INSERT"),  # a chunk of the new one
    ("chunks", "UPDATE OF reversed"),  # a chunk of the old one's reversal
    ("lane_month_deltas", "INSERT"),  # the totals of either
    ("postings", "INSERT OR DELETE"),  # what counts
    ("discards", "INSERT"),  # the old one's rows, within the publish
    ("batches", "UPDATE OF state"),  # the old one's end
    ("data_version", "UPDATE"),  # the last statement but one
]


@pytest.mark.parametrize("folded", [False, True], ids=["not folded", "folded"])
def test_killed_at_any_step_it_is_the_old_one_or_the_new_one(
    folded: bool, ports: Database, tmp_path: Path
) -> None:
    """The same call goes on, and ends it."""
    load_rows(tmp_path, ROWS, "old", chunk_rows=25)
    if folded:
        fold(ports)
    path = write_csv(tmp_path / "new.csv", NEWER)
    call = ("load", path, "--replace", "old", "--workers", "1", "--chunk-rows", "40")
    for table, what in STEPS:
        if what == "UPDATE OF reversed" and not folded:
            continue
        killed_at(ports, table, what, *call)
        assert_answers_are_what_was_published(ports, ROWS)
        assert data_version(ports) == 1
    assert run_here(*call, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, NEWER)
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, NEWER)
    assert data_version(ports) == 2
