"""A load, in this process: a batch goes in whole or not at all, whatever its size, cut and company."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loader.errors import Stopped, UsageError
from loader.load import Options, Result, load
from loader.publish import ERRORS_SHOWN
from loader.sources import Files
from tests.loader.batches import (
    Row,
    assert_answers_are_what_was_published,
    assert_nothing_is_left_but_the_ledger,
    contents,
    data_version,
    discard,
    make_rows,
    write_csv,
)
from tests.postgres import Database


def load_csv(*paths: Path, **options: object) -> Result:
    return load(Files(list(paths)), Options(**options))  # ty: ignore[invalid-argument-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


def spoil(rows: list[Row], *line_nos: int) -> list[Row]:
    """The rows with an impossible price in these lines of the file they are written to."""
    return [row._replace(price=0) if number in line_nos else row for number, row in enumerate(rows, 2)]


@pytest.mark.parametrize(("workers", "chunk_rows"), [(1, 7), (4, 7), (1, 1000), (4, 1), (3, 100)])
def test_the_result_is_the_same_for_any_number_of_workers_and_any_cut(
    workers: int, chunk_rows: int, ports: Database, path: Path
) -> None:
    rows = make_rows(100)
    result = load_csv(write_csv(path, rows), workers=workers, chunk_rows=chunk_rows)
    assert (result.state, result.rows, result.errors, result.error_count) == ("published", 100, [], 0)
    assert not result.repeat
    assert_answers_are_what_was_published(ports, rows)
    assert data_version(ports) == 1
    assert ports.rows("SELECT state, row_count, chunk_count, error_count FROM batches") == [
        ("published", 100, -(-100 // chunk_rows), 0)
    ]


@pytest.mark.parametrize("workers", [1, 4])
def test_a_batch_with_one_bad_row_leaves_nothing_behind(workers: int, ports: Database, path: Path) -> None:
    write_csv(path, spoil(make_rows(200), 102))
    result = load_csv(path, workers=workers, chunk_rows=10)
    assert (result.state, result.rows, result.error_count) == ("rejected", 0, 1)
    (error,) = result.errors
    assert (error.file, error.line, error.column, error.value) == (str(path), 102, "price", "0")
    assert_nothing_is_left_but_the_ledger(ports)
    assert ports.rows("SELECT state, row_count, chunk_count, error_count, ended_at IS NULL FROM batches") == [
        ("rejected", 0, 20, 1, False)
    ]


def test_the_faults_of_a_rejected_batch_stay_in_the_ledger(ports: Database, path: Path) -> None:
    write_csv(path, spoil(make_rows(50), 7, 33))
    errors = load_csv(path, chunk_rows=10).errors
    kept = ports.rows('SELECT file, line, "column", value, reason FROM batch_errors ORDER BY line')
    assert kept == [(e.file, e.line, e.column, e.value, e.reason) for e in errors]
    assert [error.line for error in errors] == [7, 33]


@pytest.mark.parametrize("dry_run", [True, False])
def test_faults_come_in_the_order_of_files_and_lines_whatever_ends_first(
    dry_run: bool, ports: Database, tmp_path: Path
) -> None:
    bad = range(2, 402, 3)
    first = write_csv(tmp_path / "z.csv", spoil(make_rows(400), *bad))
    second = write_csv(tmp_path / "a.csv", spoil(make_rows(400, seed=2), *bad))
    result = load_csv(first, second, workers=4, chunk_rows=11, dry_run=dry_run)
    assert [(error.file, error.line) for error in result.errors] == [
        (str(path), line) for path in (first, second) for line in bad
    ]
    assert result.error_count == 2 * len(bad)


@pytest.mark.parametrize("dry_run", [True, False])
def test_all_faults_are_counted_and_the_first_are_told(dry_run: bool, ports: Database, path: Path) -> None:
    count = ERRORS_SHOWN + 500
    write_csv(path, [row._replace(price=0) for row in make_rows(count)])
    result = load_csv(path, workers=4, chunk_rows=100, dry_run=dry_run)
    assert result.error_count == count
    assert [error.line for error in result.errors] == list(range(2, ERRORS_SHOWN + 2))


def test_a_fault_after_good_chunks_takes_them_out_again(ports: Database, path: Path) -> None:
    write_csv(path, spoil(make_rows(100), 101))
    assert load_csv(path, workers=1, chunk_rows=10).state == "rejected"
    assert ports.rows("SELECT count(*), sum(row_count) FROM chunks") == [(10, 99)]
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_file_that_turns_bad_at_its_end_is_rejected_whole(ports: Database, path: Path) -> None:
    write_csv(path, make_rows(30))
    with path.open("a") as stream:
        stream.write("x" * 100_000)
    result = load_csv(path, chunk_rows=10)
    assert [(error.line, error.column) for error in result.errors] == [(32, None)]
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_file_with_a_wrong_header_is_a_rejected_batch(ports: Database, path: Path) -> None:
    result = load_csv(write_csv(path, make_rows(3), header="a,b,c,d"))
    assert (result.state, result.error_count) == ("rejected", 1)
    assert ports.rows("SELECT state, error_count, chunk_count FROM batches") == [("rejected", 1, 1)]


def test_a_file_without_rows_is_a_rejected_batch(ports: Database, path: Path) -> None:
    result = load_csv(write_csv(path, []))
    assert [error.reason for error in result.errors] == ["no rows: there is nothing below the header"]
    assert_nothing_is_left_but_the_ledger(ports)


# --- again -------------------------------------------------------------------------------------------------


def test_a_published_file_again_does_nothing(ports: Database, path: Path) -> None:
    rows = make_rows(30)
    first = load_csv(write_csv(path, rows))
    before = contents(ports)
    again = load_csv(path, workers=3, chunk_rows=4)
    assert (again.batch, again.state, again.rows, again.repeat) == (first.batch, "published", 30, True)
    assert contents(ports) == before


def test_the_same_content_under_another_name_is_the_same_batch(ports: Database, tmp_path: Path) -> None:
    rows = make_rows(30)
    first = load_csv(write_csv(tmp_path / "a.csv", rows))
    assert load_csv(write_csv(tmp_path / "b.csv", rows)).batch == first.batch
    assert_answers_are_what_was_published(ports, rows)


def test_the_same_content_under_another_key_is_another_batch(ports: Database, path: Path) -> None:
    rows = make_rows(30)
    write_csv(path, rows)
    results = [load_csv(path, key=key) for key in ("monday", "tuesday")]
    assert len({result.batch for result in results}) == 2
    assert_answers_are_what_was_published(ports, rows, rows)


def test_other_content_under_the_same_key_is_refused(ports: Database, path: Path) -> None:
    rows = make_rows(30)
    load_csv(write_csv(path, rows), key="monday")
    before = contents(ports)
    with pytest.raises(UsageError, match=r"key 'monday' belongs to batch .* \(published\), whose content is"):
        load_csv(write_csv(path, make_rows(30, seed=2)), key="monday")
    assert contents(ports) == before


@pytest.mark.parametrize("key", ["", " ", "a\nb", "a\0b", "a\udcff"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="is not a key"):
        Options(key=key)


def test_a_rejected_file_is_tried_afresh_once_its_port_is_there(ports: Database, path: Path) -> None:
    rows = make_rows(50)
    rows[20] = rows[20]._replace(dest_code="FIHEL")
    first = load_csv(write_csv(path, rows), chunk_rows=10)
    assert [(error.value, error.reason) for error in first.errors] == [("FIHEL", "no such port")]
    assert load_csv(path, chunk_rows=10).state == "rejected"
    with ports.connect() as owner:
        owner.execute("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe')")

    again = load_csv(path, chunk_rows=25)

    assert (again.batch, again.state, again.rows, again.errors) == (first.batch, "published", 50, [])
    assert_answers_are_what_was_published(ports, rows)
    assert ports.rows("SELECT state, row_count, chunk_count, error_count FROM batches") == [
        ("published", 50, 2, 0)
    ]


def test_a_stopped_load_goes_on_from_there(ports: Database, path: Path) -> None:
    rows = make_rows(100)
    write_csv(path, rows)
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 4

    with pytest.raises(Stopped, match="stopped between two chunks"):
        load(Files([path]), Options(workers=2, chunk_rows=10), stop=stop)
    done = ports.rows("SELECT chunk_no, done_at FROM chunks ORDER BY chunk_no")
    assert 0 < len(done) <= 4
    assert_answers_are_what_was_published(ports)

    assert load_csv(path, workers=2, chunk_rows=50).state == "published"

    assert ports.rows("SELECT chunk_no, done_at FROM chunks ORDER BY chunk_no")[: len(done)] == done
    assert_answers_are_what_was_published(ports, rows)


def test_a_file_that_changed_since_the_last_try_is_not_mixed_with_it(ports: Database, path: Path) -> None:
    """Though the hash of the whole, made before it changed, says that it is the same."""
    write_csv(path, make_rows(40))
    old_hash = Files([path]).content_hash()
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False, False, True]).__next__)
    write_csv(path, make_rows(40, seed=2))

    class Unaware(Files):
        def content_hash(self) -> bytes:
            return old_hash

    with pytest.raises(UsageError, match=r"prices\.csv changed since batch .*: chunk 0, from line 2, is not"):
        load(Unaware([path]), Options(workers=1, chunk_rows=10))
    assert ports.rows("SELECT state FROM batches") == [("loading",)]
    assert_answers_are_what_was_published(ports)


@pytest.mark.parametrize("good", [True, False])
def test_a_dry_run_writes_nothing_at_all(
    good: bool, ports: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would refuse it."""
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    before = contents(ports)
    write_csv(path, make_rows(50) if good else spoil(make_rows(50), 30))
    result = load_csv(path, chunk_rows=10, dry_run=True)
    assert (result.batch, result.state) == (None, "valid" if good else "rejected")
    assert (result.rows, result.error_count) == ((50, 0) if good else (0, 1))
    assert contents(ports) == before


# --- at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_no", range(3))
def test_two_loads_of_one_file_at_once_publish_it_once(round_no: int, ports: Database, path: Path) -> None:
    rows = make_rows(300, seed=round_no)
    write_csv(path, rows)
    with ThreadPoolExecutor(2) as executor:
        loads = [executor.submit(load_csv, path, workers=2, chunk_rows=10 + n) for n in range(2)]
        results = [future.result() for future in loads]
    assert len({result.batch for result in results}) == 1
    assert [(result.state, result.rows) for result in results] == [("published", 300)] * 2
    assert_answers_are_what_was_published(ports, rows)
    assert data_version(ports) == 1


def test_different_files_at_once_are_all_published(ports: Database, tmp_path: Path) -> None:
    batches = [make_rows(100, seed=number) for number in range(4)]
    paths = [write_csv(tmp_path / f"{number}.csv", rows) for number, rows in enumerate(batches)]
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(lambda path: load_csv(path, workers=2, chunk_rows=13), paths))
    assert {result.state for result in results} == {"published"}
    assert_answers_are_what_was_published(ports, *batches)
    assert data_version(ports) == 4


def test_a_bad_file_beside_a_good_one_does_not_touch_it(ports: Database, tmp_path: Path) -> None:
    good = make_rows(100)
    paths = write_csv(tmp_path / "a.csv", good), write_csv(tmp_path / "b.csv", spoil(make_rows(100), 100))
    with ThreadPoolExecutor(2) as executor:
        results = list(executor.map(lambda path: load_csv(path, workers=2, chunk_rows=7), paths))
    assert [result.state for result in results] == ["published", "rejected"]
    assert_answers_are_what_was_published(ports, good)
    assert discard(ports) == 15
    assert_answers_are_what_was_published(ports, good)
    assert ports.rows("SELECT count(*) FROM prices") == [(100,)]
