"""A load, in this process: a batch goes in whole or not at all, whatever its size, cut and company."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from loader.check import CheckedChunk, Ports, check
from loader.chunks import Chunk
from loader.errors import Stopped, UsageError
from loader.ledger import who
from loader.load import Options, Result, load, workers_for
from loader.publish import ERRORS_SHOWN
from loader.sources import Files
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    TIMEOUT_S,
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
from tests.waiting import wait_until

PAUSE_S = 0.05


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


class Checks:
    """Spies on which chunk is checked for which load; told apart by the names of their files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: dict[str, list[int]] = {}
        self.lock = threading.Lock()
        self.before: Callable[[str, int], None] = lambda _file, _count: None
        monkeypatch.setattr("loader.load.check", self)

    def __call__(self, chunk: Chunk, ports: Ports, **options: bool) -> CheckedChunk:
        with self.lock:
            self.lines.setdefault(Path(chunk.file).name, []).append(chunk.first_line)
            count = self.count()
        self.before(Path(chunk.file).name, count)
        return check(chunk, ports, **options)

    def count(self) -> int:
        return sum(map(len, self.lines.values()))


def test_loads_of_one_batch_share_its_chunks_out_and_one_that_comes_late_helps(
    ports: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(400)
    paths = [write_csv(tmp_path / f"{name}.csv", rows) for name in ("first", "second", "late")]
    checks, both, late = Checks(monkeypatch), threading.Barrier(2), threading.Event()

    def wait_for_the_others(file: str, count: int) -> None:
        if count <= 2:
            both.wait(TIMEOUT_S)  # the first two chunks are those of two loads
        if file == "late.csv":
            late.set()
        elif count > 10:
            assert late.wait(TIMEOUT_S)

    checks.before = wait_for_the_others
    with ThreadPoolExecutor(3) as executor:
        loads = [executor.submit(load_csv, path, workers=1, chunk_rows=10) for path in paths[:2]]
        wait_until(lambda: checks.count() >= 11)
        loads.append(executor.submit(load_csv, paths[2], workers=1, chunk_rows=10))
        results = [future.result(TIMEOUT_S) for future in loads]

    assert len({result.batch for result in results}) == 1
    assert [(result.state, result.rows) for result in results] == [("published", 400)] * 3
    assert sorted(line for lines in checks.lines.values() for line in lines) == list(range(2, 402, 10)), (
        "each chunk is checked once"
    )
    assert checks.lines.keys() == {"first.csv", "second.csv", "late.csv"}
    assert_answers_are_what_was_published(ports, rows)
    assert data_version(ports) == 1
    told = [event for (event,) in ports.rows("SELECT event FROM batch_events ORDER BY event_no")]
    assert [told.count(event) for event in ("opened", "resumed", "published")] == [1, 2, 1]
    assert told.index("published") > told.index("loaded") > told.index("opened") == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_chunk_that_another_load_is_at_is_waited_for_and_done_if_that_one_fails(
    fails: bool, ports: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(100)
    slow, quick = (write_csv(tmp_path / f"{name}.csv", rows) for name in ("slow", "quick"))
    checks, go_on = Checks(monkeypatch), threading.Event()

    def hold_the_slow_one(file: str, count: int) -> None:
        if file == "slow.csv":
            assert go_on.wait(TIMEOUT_S)
            if fails:
                raise Stopped("in the middle of its first chunk")

    checks.before = hold_the_slow_one
    with ThreadPoolExecutor(2) as executor:
        slow_load = executor.submit(load_csv, slow, workers=1, chunk_rows=10)
        wait_until(lambda: checks.count() == 1)
        quick_load = executor.submit(load_csv, quick, workers=1, chunk_rows=10)
        wait_until(lambda: waiting_for_locks(ports) == 1)
        assert checks.lines == {"slow.csv": [2], "quick.csv": list(range(12, 102, 10))}
        assert ports.rows("SELECT count(*) FROM chunks") == [(9,)]
        go_on.set()
        assert quick_load.result(TIMEOUT_S).state == "published"
        assert isinstance(slow_load.exception(TIMEOUT_S), Stopped) is fails
    assert checks.lines["quick.csv"][9:] == ([2] if fails else [])
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


# --- what it tells afterwards ------------------------------------------------------------------------------


def test_the_ledger_tells_how_long_each_stage_of_a_chunk_took(
    ports: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = Checks(monkeypatch)
    checks.before = lambda _file, _count: time.sleep(PAUSE_S)  # which is no part of checking
    began = time.monotonic()
    load_csv(write_csv(path, make_rows(1000)), workers=1, chunk_rows=250)
    elapsed = time.monotonic() - began
    seconds = ports.rows("SELECT check_seconds, write_seconds FROM chunks")
    assert len(seconds) == 4
    assert all(check_s > 0 and write_s > 0 for check_s, write_s in seconds)
    assert sum(map(sum, seconds)) < elapsed - 4 * PAUSE_S


def test_the_events_of_a_batch_tell_its_life_in_order_and_by_whom(ports: Database, path: Path) -> None:
    write_csv(path, [*make_rows(30), ("FIHEL", "NLRTM", "2021-01-01", 5)])
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False, True]).__next__)
    assert load_csv(path).state == "rejected"
    with ports.connect() as owner:
        owner.execute("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe')")
    assert load_csv(path).state == "published"
    assert load_csv(path).repeat
    life = ports.rows("SELECT event, at, seconds, done_by FROM batch_events ORDER BY event_no")
    assert [event for event, *_ in life] == [
        "opened", "resumed", "loaded", "rejected", "reopened", "loaded", "published",
    ]  # fmt: skip
    assert {event for event, _, seconds, _ in life if seconds is not None} == {"rejected", "published"}
    assert sorted(at for _, at, *_ in life) == [at for _, at, *_ in life]
    assert {done_by for *_, done_by in life} == {who()}
    assert re.fullmatch(r"[^@]+@[^@]+", who())


def test_chunks_do_not_wait_for_the_disk_and_their_publishing_does(ports: Database, path: Path) -> None:
    """The server says how each transaction that writes them is to commit."""
    with ports.connect() as owner:
        owner.execute(b"""
            CREATE TABLE commits (what text, how text);
            GRANT INSERT ON commits TO rates_loader;
            CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO commits VALUES (tg_table_name, current_setting('synchronous_commit'));
                RETURN NULL;
            END $$;
            CREATE TRIGGER note AFTER INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION note_commit();
            CREATE TRIGGER note AFTER INSERT ON postings FOR EACH ROW EXECUTE FUNCTION note_commit();
        """)
    load_csv(write_csv(path, make_rows(100)), workers=2, chunk_rows=10)
    assert sorted(ports.rows("TABLE commits")) == [("chunks", "off")] * 10 + [("postings", "on")]


# --- how many at once --------------------------------------------------------------------------------------


def test_there_is_a_worker_more_than_cores_but_at_most_half_of_what_the_server_would_take(
    ports: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who counts the connections is the loader's own role, who may not look into those of others."""
    with ports.connect("rates_loader") as connection, ExitStack() as crowd:
        for cores, room, workers in [  # ever less room, so that the crowd only grows
            (1, 100, 2), (2, 100, 3), (4, 100, 4), (64, 100, 4), (4, 7, 3), (4, 2, 1), (4, 1, 1), (4, 0, 1),
        ]:  # fmt: skip
            crowd.enter_context(taken_but(ports, room))
            monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: range(cores), raising=False)
            assert workers_for(connection) == workers, f"{cores} cores, room for {room} connections"


@contextmanager
def taken_but(database: Database, room: int) -> Generator[None]:
    """While most connections of the server are taken, by whomever; of those for anyone, `room` are left."""
    with database.connect() as owner, ExitStack() as others:

        def count() -> int:
            found = owner.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            )
            return found.fetchall()[0][0]

        settings = "SELECT setting::int FROM pg_settings WHERE name = ANY (%s) ORDER BY name"
        names = ["max_connections", "reserved_connections", "superuser_reserved_connections"]
        (most,), *reserved = owner.execute(settings, [names]).fetchall()
        limit = most - sum(number for (number,) in reserved)
        if room < limit - count():
            for number in range(limit - room - count()):
                others.enter_context(database.connect(("rates_api", "postgres")[number % 2]))
            wait_until(lambda: count() == limit - room)  # those before may be on their way out
        yield


def test_a_load_gets_along_with_the_last_connections(ports: Database, path: Path) -> None:
    rows = make_rows(100)
    with taken_but(ports, 2):
        assert load_csv(write_csv(path, rows), chunk_rows=10).state == "published"
    assert_answers_are_what_was_published(ports, rows)
