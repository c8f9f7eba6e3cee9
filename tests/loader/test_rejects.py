"""The file of bad rows: all of them, in the file's order, ready to be mended and loaded."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO, StringIO
from operator import methodcaller
from pathlib import Path

import polars as pl
import pytest

from loader.chunks import COLUMNS
from loader.errors import Stopped, UsageError
from loader.faults import ERRORS_KEPT
from loader.formats.lines import LINE_BYTES_MAX
from loader.load import AHEAD_MAX, Options, Result, load
from loader.progress import Progress
from loader.rejects import HEADER, RejectsFile, write_rejects
from loader.sources import Files
from tests.examples import nightly
from tests.loader.batches import (
    TIMEOUT_S,
    Row,
    assert_answers_are_what_was_published,
    command,
    contents,
    cut_short,
    environment,
    json_of,
    make_rows,
    only_line,
    run,
    run_here,
    write_csv,
)
from tests.loader.dumps import PRICES, dump_text, write_dump
from tests.postgres import Database
from tests.waiting import wait_until

NO_PORT = "dest_code: no such port"
NO_PRICE = "price: expected a whole number of USD from 1 to 2147483647, in plain digits"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    return tmp_path / "bad.csv"


def read_rejects(path: Path) -> list[dict[str, str]]:
    """As any reader of CSV takes it; each row is on a line of its own."""
    text = path.read_bytes().decode()
    assert text.startswith(HEADER.decode() + "\n")
    rows = list(csv.DictReader(StringIO(text, newline=""), strict=True))
    assert len(rows) == text.count("\n") - 1
    return rows


def write_lines(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in [",".join(COLUMNS).encode(), *lines]))
    return path


def load_with_rejects(path: Path, rejects: Path, **options: object) -> Result:
    with RejectsFile(rejects, [str(path)]) as bad_rows:
        return load(Files([path]), Options(**options), progress=Progress(bad_rows))  # ty: ignore[invalid-argument-type]


def spoil(rows: list[Row], *line_nos: int) -> list[Row]:
    return [row._replace(price=0) if number in line_nos else row for number, row in enumerate(rows, 2)]


# --- what is in it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["load", "dry run"])
def test_a_bad_row_is_in_it_once_with_all_its_reasons(
    dry_run: list[str], ports: Database, path: Path, rejects: Path
) -> None:
    rows = make_rows(50)
    bad = rows[9]._replace(dest_code="FIHEL", price=0)
    write_csv(path, [*rows[:9], bad, *rows[10:]])
    done = run("load", path, "--rejects", rejects, *dry_run, database=ports)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"was rejected for 2 faults in 1 row; no row went in; its bad rows are in {rejects}"
    )
    (row,) = read_rejects(rejects)
    assert row == {
        **dict(zip(COLUMNS, map(str, bad), strict=True)),
        "rejected_file": str(path),
        "rejected_line": "11",
        "rejected_text": "",
        "rejected_reason": f"{NO_PORT}; {NO_PRICE}",
    }


@pytest.mark.parametrize("separator", ",;\t|")
def test_bad_rows_of_a_spreadsheet_are_loaded_once_mended_and_saved_by_one(
    separator: str, ports: Database, path: Path, rejects: Path
) -> None:
    path.write_bytes(b"sep=;\r\norig_code;dest_code;day;price\r\nCNSGH;NLRTM;2021-01-01;1.234,50\r\n")
    assert load_with_rejects(path, rejects).state == "rejected"
    (row,) = read_rejects(rejects)
    assert (row["rejected_line"], row["price"]) == ("3", "1.234,50")
    with rejects.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), delimiter=separator)
        writer.writeheader()
        writer.writerow({**row, "price": "1234"})
    assert load(Files([rejects]), Options()).state == "published"
    assert_answers_are_what_was_published(ports, [Row("CNSGH", "NLRTM", date(2021, 1, 1), 1234)])


def test_a_machine_is_told_how_many_rows_are_bad_and_where_they_are(
    ports: Database, good: Path, path: Path, rejects: Path
) -> None:
    write_csv(path, [row._replace(price=0, dest_code="FIHEL") for row in make_rows(3)])
    result = json_of(run_here("load", path, "--rejects", rejects, "--json", database=ports))
    assert (result["error_count"], result["bad_rows"], result["rejects"]) == (6, 3, str(rejects))
    result = json_of(run_here("load", good, "--rejects", rejects, "--json", database=ports))
    assert (result["error_count"], result["bad_rows"], result["rejects"]) == (0, 0, None)


def test_all_bad_rows_are_in_it_where_only_the_first_are_told(
    ports: Database, path: Path, rejects: Path
) -> None:
    count = ERRORS_KEPT + 700
    write_csv(path, [row._replace(price=0) for row in make_rows(count)])
    result = json_of(run_here("load", path, "--rejects", rejects, "--json", database=ports))
    assert (len(result["errors"]), result["error_count"], result["bad_rows"]) == (ERRORS_KEPT, count, count)
    assert [int(row["rejected_line"]) for row in read_rejects(rejects)] == list(range(2, count + 2))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(("workers", "chunk_rows"), [(1, 7), (4, 7), (4, 1), (2, 1000)])
def test_they_come_in_the_order_of_files_and_lines_whatever_ends_first(
    dry_run: bool, workers: int, chunk_rows: int, ports: Database, tmp_path: Path, rejects: Path
) -> None:
    bad = range(2, 102, 3)
    files = [
        write_csv(tmp_path / f"{name}.csv", spoil(make_rows(100, seed=number), *bad))
        for number, name in enumerate("za")
    ]
    options = Options(workers=workers, chunk_rows=chunk_rows, dry_run=dry_run)
    with RejectsFile(rejects, []) as bad_rows:
        result = load(Files(files), options, progress=Progress(bad_rows))
    assert (result.error_count, result.bad_rows) == (2 * len(bad), 2 * len(bad))
    found = [(row["rejected_file"], int(row["rejected_line"])) for row in read_rejects(rejects)]
    assert found == [(str(path), line) for path in files for line in bad]


LINES = {
    b"CNSGH,NLRTM,2021-01-01": "price: missing: the line has 3 of 4 columns",
    b'CNSGH,"NLRTM,2021-01-01,7': "a quote is not closed on its line, or stands inside a field",
    b"CNSGH,NLRTM,2021-01-01,7,8": "5 columns, expected 4: orig_code,dest_code,day,price",
    b"": "the line is blank; expected orig_code,dest_code,day,price",
    b"CNSGH,NLRTM,2021-01-01,\xff": "not UTF-8: byte 0xff at position 24 of the line",
    b"CNSGH,NLRTM,\x00,7": "a NUL byte at position 13 of the line",
    b"CNSGH,NL\rRTM,2021-01-01,7": "a carriage return inside the line",
}
SPELLED = {b"\xff": b"\\xff", b"\x00": b"\\x00", b"\r": b"\\r"}


@pytest.mark.parametrize(("line", "reason"), LINES.items(), ids=lambda value: repr(value)[:30])
def test_a_line_that_is_no_row_is_in_it_as_it_stood(
    line: bytes, reason: str, ports: Database, path: Path, rejects: Path
) -> None:
    """But for what CSV cannot hold in a line: that is spelled out."""
    write_lines(path, [b"CNSGH,NLRTM,2021-01-01,7", line, b"CNSGH,NLRTM,2021-01-01,7"])
    assert load_with_rejects(path, rejects).state == "rejected"
    (row,) = read_rejects(rejects)
    assert [row[name] for name in COLUMNS] == [""] * 4
    for byte, spelled in SPELLED.items():
        line = line.replace(byte, spelled)
    assert (row["rejected_line"], row["rejected_text"].encode(), row["rejected_reason"]) == (
        "3",
        line,
        reason,
    )


@pytest.mark.parametrize("value", ['a"b', '"', "a,b", " a ", "", "ä☃", "a\rb", "=1+1", "'"])
def test_values_are_in_it_as_spelled(value: str, ports: Database, path: Path, rejects: Path) -> None:
    quoted = '"{}"'.format(value.replace('"', '""'))
    write_lines(path, [f"{quoted},NLRTM,2021-01-01,7".encode()])
    assert load_with_rejects(path, rejects).state == "rejected"
    (row,) = read_rejects(rejects)
    assert [row[name] for name in COLUMNS] == [value.replace("\r", "\\r"), "NLRTM", "2021-01-01", "7"]
    assert row["rejected_reason"] == "orig_code: no such port"


@pytest.mark.parametrize("character", ["x", '"', "☃", "😀", "\0", "\r"])
def test_no_line_of_it_is_too_long_to_be_loaded(character: str) -> None:
    long = character * LINE_BYTES_MAX
    row = {"line": 2, **dict.fromkeys(COLUMNS, long), "text": long, "reason": "not it"}
    text = BytesIO()
    write_rejects(text, long, pl.DataFrame([row, row]))
    lines = text.getvalue().splitlines(keepends=True)
    assert len(lines) == 2
    assert max(map(len, lines)) <= LINE_BYTES_MAX


def test_what_is_wrong_with_a_file_as_a_whole_is_in_it(ports: Database, path: Path, rejects: Path) -> None:
    write_csv(path, spoil(make_rows(30), 5))
    with path.open("a") as stream:
        stream.write("x" * (LINE_BYTES_MAX + 1))
    result = load_with_rejects(path, rejects, chunk_rows=10)
    assert (result.error_count, result.bad_rows) == (2, 1)
    row, whole = read_rejects(rejects)
    assert (row["rejected_line"], row["rejected_reason"]) == ("5", NO_PRICE)
    assert (whole["rejected_line"], whole["rejected_text"]) == ("32", "")
    assert whole["rejected_reason"].startswith("the line is longer than 65,536 bytes")


def test_the_bad_rows_of_a_dump_are_in_it_and_so_is_a_bad_dump(
    as_loader: Database, tmp_path: Path, rejects: Path
) -> None:
    path = write_dump(tmp_path / "dump.sql", dump_text(prices=[*PRICES, ("CNSGH", "FIHEL", "2021-01-02", 1)]))
    assert run_here("import", path, "--rejects", rejects, database=as_loader).returncode == 1
    (row,) = read_rejects(rejects)
    assert ([row[name] for name in COLUMNS], row["rejected_reason"]) == (
        ["CNSGH", "FIHEL", "2021-01-02", "1"],
        NO_PORT,
    )
    write_dump(path, dump_text() + "DROP TABLE prices;\n")
    done = run_here("import", path, "--rejects", rejects, database=as_loader)
    assert done.stderr.splitlines()[-1] == (
        f"the file was rejected for 1 fault; no row went in; its bad rows are in {rejects}"
    )
    (row,) = read_rejects(rejects)
    assert row["rejected_reason"].startswith("a statement that would change the rows above it: 'DROP TABLE")


def test_once_mended_it_is_a_batch_file(ports: Database, path: Path, rejects: Path) -> None:
    """Its values are set right, and the columns that say what was wrong stay in it."""
    rows = make_rows(200)
    write_csv(path, spoil(rows, *range(10, 60)))
    assert load_with_rejects(path, rejects, chunk_rows=7).state == "rejected"
    mended = [
        {**row, "price": str(right.price)}
        for row, right in zip(read_rejects(rejects), rows[8:58], strict=True)
    ]
    with rejects.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, HEADER.decode().split(","), lineterminator="\n")
        writer.writeheader()
        writer.writerows(mended)
    assert run_here("load", rejects, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, rows[8:58])


# --- when it is there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("earlier", [None, b"", HEADER + b"\nCNSGH,NLRTM,2021-01-01,0,a.csv,2,,no\n"])
@pytest.mark.parametrize("good", [True, False])
def test_it_is_there_exactly_when_a_row_was_bad(
    good: bool, earlier: bytes | None, ports: Database, path: Path, rejects: Path
) -> None:
    """Whatever an earlier load has left."""
    if earlier is not None:
        rejects.write_bytes(earlier)
    write_csv(path, make_rows(30) if good else spoil(make_rows(30), 7, 20))
    assert load_with_rejects(path, rejects, chunk_rows=5).state == ("published" if good else "rejected")
    if good:
        assert list(path.parent.iterdir()) == [path]
    else:
        assert sorted(path.parent.iterdir()) == sorted([path, rejects])
        assert [row["rejected_line"] for row in read_rejects(rejects)] == ["7", "20"]


def test_a_published_batch_again_leaves_no_stale_one(ports: Database, path: Path, rejects: Path) -> None:
    write_csv(path, make_rows(30))
    for _ in range(2):
        rejects.write_bytes(HEADER + b"\n")
        assert load_with_rejects(path, rejects).state == "published"
        assert not rejects.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none/bad.csv", "none/bad.csv: No such file or directory"),
        (".", ".: not a regular file; name another one for the bad rows"),
        ("", ".: not a regular file; name another one for the bad rows"),
        ("good.csv", "good.csv: is what is loaded; name another file for the bad rows"),
        ("link.csv", "link.csv: is what is loaded; name another file for the bad rows"),
        ("other.csv", "other.csv: is there already and holds no bad rows; name another file for them"),
        ("good.csv/bad.csv", "good.csv/bad.csv: Not a directory"),
    ],
)
def test_a_file_that_cannot_be_it_is_2_before_anything_is_done(
    name: str, reason: str, ports: Database, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    good.with_name("link.csv").symlink_to(good)
    write_csv(good.with_name("other.csv"), make_rows(3))
    files = {path: path.read_bytes() for path in good.parent.iterdir()}
    before = contents(ports)
    done = run_here("load", "good.csv", "--rejects", name, "--json", database=ports)
    assert (done.returncode, only_line(done), json_of(done)) == (2, f"loader: {reason}", {"error": reason})
    assert contents(ports) == before
    assert {path: path.read_bytes() for path in good.parent.iterdir()} == files


def test_a_mended_one_may_be_loaded_but_not_be_written_over_by_that(
    ports: Database, rejects: Path, good: Path
) -> None:
    rejects.write_bytes(HEADER + b"\n")
    with pytest.raises(UsageError, match="is what is loaded"):
        RejectsFile(rejects, [str(good), str(rejects)])


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_load_cut_short_leaves_the_one_of_before(
    how: str, ports: Database, path: Path, rejects: Path
) -> None:
    write_csv(path, spoil(make_rows(1000), *range(2, 500)))
    rejects.write_bytes(HEADER + b"\n")
    cut = ("--chunk-rows", "20", "--workers", "2", "--rejects", rejects)
    cut_short(methodcaller(how), "load", path, *cut, database=ports, until_chunks=10)
    assert rejects.read_bytes() == HEADER + b"\n"
    assert rejects.with_name("bad.csv.partial").exists() == (how == "kill")

    assert run("load", path, *cut, database=ports).returncode == 1

    assert [int(row["rejected_line"]) for row in read_rejects(rejects)] == list(range(2, 500))
    assert not rejects.with_name("bad.csv.partial").exists()


def test_a_load_that_goes_on_has_the_bad_rows_of_before_too(
    ports: Database, path: Path, rejects: Path
) -> None:
    bad = [3, 4, 27, 55, 98]
    write_csv(path, spoil(make_rows(100), *bad))
    with pytest.raises(Stopped):
        load(
            Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False, False, False, True]).__next__
        )
    assert ports.rows("SELECT sum(error_count) FROM chunks") == [(3,)]
    result = load_with_rejects(path, rejects)
    assert (result.state, result.error_count, result.bad_rows) == ("rejected", 5, 5)
    assert [int(row["rejected_line"]) for row in read_rejects(rejects)] == bad


def test_without_it_a_load_that_goes_on_does_not_say_how_many_rows_were_bad(
    ports: Database, path: Path
) -> None:
    write_csv(path, spoil(make_rows(100), 3, 98))
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False, False, True]).__next__)
    done = run_here("load", path, database=ports)
    assert done.stderr.splitlines()[-1].endswith("was rejected for 2 faults; no row went in")


@pytest.mark.parametrize("round_no", range(10 if nightly else 2))
def test_two_loads_of_one_file_at_once_have_all_bad_rows_each(
    round_no: int, ports: Database, path: Path, tmp_path: Path
) -> None:
    bad = range(2, 302, 4)
    write_csv(path, spoil(make_rows(300, seed=round_no), *bad))
    files = [tmp_path / f"bad{number}.csv" for number in range(2)]
    with ThreadPoolExecutor(2) as executor:
        loads = [
            executor.submit(load_with_rejects, path, file, workers=2, chunk_rows=10, key=f"k{round_no}")
            for file in files
        ]
        found = [future.exception() or future.result() for future in loads]
    # One that comes when the other has ended begins the batch again, as any load of a rejected batch does.
    for file, result in zip(files, found, strict=True):
        if isinstance(result, Result):
            assert (result.state, result.error_count) == ("rejected", len(bad))
            assert [kind.count for kind in result.error_kinds] == [len(bad)]
            assert [int(row["rejected_line"]) for row in read_rejects(file)] == list(bad)
        else:
            assert "begun again by another load" in str(result)
    assert any(isinstance(result, Result) for result in found)


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing_of_it(
    ports: Database, path: Path, rejects: Path
) -> None:
    write_csv(path, spoil(make_rows(2000), *range(2, 2000)))
    limited = ["bash", "-c", 'ulimit -f 16; exec "$@"', "bash", *command("load", path, "--rejects", rejects)]
    # Coverage's own data would be too large too.
    unmeasured = {
        name: value for name, value in environment(ports).items() if not name.startswith("COVERAGE_")
    }
    done = subprocess.run(
        limited, env=unmeasured, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, only_line(done)) == (3, f"loader: {rejects}: File too large")
    assert list(path.parent.iterdir()) == [path]


# --- bounded memory ----------------------------------------------------------------------------------------


def test_no_chunk_runs_far_ahead_of_a_slow_one(ports: Database, path: Path, rejects: Path) -> None:
    """Somebody else is about to write the first chunk, and all others could go in meanwhile."""
    write_csv(path, spoil(make_rows(400), *range(2, 402)))
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=lambda: True)
    in_now, ahead_max = "SELECT count(*) FROM chunks", 2 * AHEAD_MAX + 1
    with ports.connect() as owner, ThreadPoolExecutor(1) as executor:
        with owner.transaction(force_rollback=True):
            owner.execute(
                "INSERT INTO chunks (batch_no, chunk_no, content_hash, row_count, error_count)"
                " SELECT batch_no, 0, content_hash, 0, 0 FROM batches"
            )
            loading = executor.submit(load_with_rejects, path, rejects, workers=2, chunk_rows=10)
            wait_until(lambda: ports.rows(in_now) == [(ahead_max,)])
            # As long as all of its chunks take where nobody holds one up.
            another = write_csv(path.with_name("another.csv"), spoil(make_rows(400, seed=2), *range(2, 402)))
            more = rejects.with_name("more.csv")
            assert load_with_rejects(another, more, chunk_rows=10).state == "rejected"
            assert ports.rows(f"{in_now} WHERE batch_no = 1") == [(ahead_max,)]
        assert loading.result().state == "rejected"
    assert [int(row["rejected_line"]) for row in read_rejects(rejects)] == list(range(2, 402))
