"""Taking a batch back: out of every answer from one moment to the next, whatever was folded of it by then."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from operator import methodcaller
from pathlib import Path

import psycopg
import pytest

from database.queries import query
from loader.discard import discard_all
from loader.errors import Stopped, UsageError
from loader.ledger import Order, open_batch
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch
from loader.sources import Files
from loader.withdraw import Withdrawal, ask, carry_out_all, find_by_name, withdraw
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    FIRST_DAY,
    TIMEOUT_S,
    Row,
    assert_answers_are_what_was_published,
    begin,
    contents,
    cut_short,
    data_version,
    discard,
    fold,
    fold_a_step,
    json_of,
    load_rows,
    make_rows,
    run,
    write_csv,
)
from tests.postgres import Database
from tests.totals import day_totals
from tests.waiting import wait_until

ROWS, OTHERS = make_rows(100), make_rows(80, seed=2)
STATE = "SELECT state, withdrawn_by IS NOT NULL, ended_at IS NOT NULL FROM batches WHERE key = %s"
REVERSED = "SELECT count(*) FROM chunks WHERE reversed"


def take_back(database: Database, name: str) -> Withdrawal:
    """On a connection of its own, as each call of the command has one."""
    with database.connect("rates_loader") as connection:
        return withdraw(connection, name)


def events(database: Database, key: str) -> list[str]:
    found = "SELECT event FROM batch_events JOIN batches ON id = batch_id WHERE key = %s ORDER BY event_no"
    return [event for (event,) in database.rows(found, key)]


def fold_steps(database: Database, steps: int | None) -> None:
    """So many steps of seven deltas, or all there are."""
    for _ in range(steps or 0):
        assert fold_a_step(database, 7) == 7
    if steps is None:
        fold(database)


# --- what becomes of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "key"])
@pytest.mark.parametrize("folded", [0, 1, 4, None], ids=["not", "begun", "partly", "all"])
def test_a_withdrawn_batch_counts_no_more_however_much_of_it_was_folded(
    folded: int | None, by: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, OTHERS, "before", chunk_rows=30)
    batch = load_rows(tmp_path, ROWS, "taken back", chunk_rows=30).batch
    load_rows(tmp_path, OTHERS, "after", chunk_rows=30)
    fold_steps(ports, folded)
    others = ports.rows("SELECT * FROM batches WHERE key <> 'taken back' ORDER BY batch_no")

    done = withdraw(connection, str(batch) if by == "id" else "taken back")

    assert (done.batch, done.state, done.rows, done.repeat) == (batch, "withdrawn", 100, False)
    assert data_version(ports) == 4
    assert ports.rows(STATE, "taken back") == [("withdrawn", True, True)]
    assert ports.rows("SELECT * FROM batches WHERE key <> 'taken back' ORDER BY batch_no") == others
    assert_answers_are_what_was_published(ports, OTHERS, OTHERS)
    fold(ports)
    assert_answers_are_what_was_published(ports, OTHERS, OTHERS)
    assert discard(ports) == 4
    assert_answers_are_what_was_published(ports, OTHERS, OTHERS)
    assert ports.rows("SELECT count(*) FROM prices") == [(160,)]
    assert ports.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]
    assert data_version(ports) == 4


@pytest.mark.parametrize("folded", [0, None], ids=["not folded", "folded"])
def test_the_only_batch_leaves_no_total_behind(
    folded: int | None, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, ROWS)
    fold_steps(ports, folded)
    withdraw(connection, "k")
    fold(ports)
    discard(ports)
    for table in ("prices", "lane_month_totals", "lane_month_deltas", "postings", "discards"):
        assert ports.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert data_version(ports) == 2


def test_an_import_of_places_alone_may_be_withdrawn_and_the_places_stay(
    ports: Database, connection: psycopg.Connection
) -> None:
    batch = open_batch(connection, Order("k", b"1" * 32, "dump.sql", 10))
    assert end_batch(connection, batch, chunk_count=0, places=Places()).state == "published"
    fold(ports)
    assert withdraw(connection, "k").state == "withdrawn"
    fold(ports)
    assert discard(ports) == 0
    assert ports.rows("SELECT count(*) FROM postings") == [(0,)]
    assert ports.rows("SELECT count(*) FROM ports") == [(6,)]


@pytest.mark.parametrize("name", ["nobody's", "00000000-0000-0000-0000-000000000000", "", "%", "'"])
def test_an_unknown_batch_is_a_usage_error(
    name: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, ROWS)
    before = contents(ports)
    with pytest.raises(UsageError, match="no batch has the id or key"):
        withdraw(connection, name)
    assert contents(ports) == before


def test_a_rejected_batch_has_nothing_to_withdraw(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "bad.csv", [ROWS[0]._replace(price=0)])
    assert load(Files([path]), Options(key="k")).state == "rejected"
    before = contents(ports)
    with pytest.raises(UsageError, match="was rejected: none of its rows is in, there is nothing to"):
        withdraw(connection, "k")
    assert contents(ports) == before


def test_a_batch_that_is_rejected_while_its_withdrawal_is_asked_for_stays_rejected(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Found as one that is loading; by the time it is asked for, it has ended."""
    batch = open_batch(connection, Order("k", b"1" * 32, "a.csv", 10))
    end = {
        "state": "rejected",
        "row_count": 0,
        "chunk_count": 0,
        "error_count": 1,
        "failure": None,
        "from_dump": False,
        "prices_sum": None,
    }
    with ports.connect("rates_loader") as other, ThreadPoolExecutor(1) as executor:
        with other.transaction():
            other.execute(query("loader", "end_batch"), {"batch_no": batch.batch_no, **end})
            withdrawing = executor.submit(withdraw, connection, "k")
            wait_until(lambda: waiting_for_locks(ports) == 1)
        with pytest.raises(UsageError, match="was rejected"):
            withdrawing.result(TIMEOUT_S)
    assert ports.rows("SELECT state, withdrawn_by FROM batches") == [("rejected", None)]
    assert events(ports, "k") == ["opened"]


def test_withdrawn_again_nothing_happens(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = load_rows(tmp_path, ROWS).batch
    fold(ports)
    withdraw(connection, "k")
    before = contents(ports)
    again = withdraw(connection, "k")
    assert (again.batch, again.state, again.rows, again.repeat) == (batch, "withdrawn", 100, True)
    assert contents(ports) == before


def test_the_key_of_a_withdrawn_batch_is_refused_and_its_content_may_come_under_another(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = load_rows(tmp_path, ROWS).batch
    fold(ports)
    withdraw(connection, "k")
    before = contents(ports)
    with pytest.raises(UsageError, match=rf"batch {batch} \(key 'k'\) was withdrawn; .* use another --key"):
        load_rows(tmp_path, ROWS)
    assert contents(ports) == before
    assert load(Files([tmp_path / "k.csv"]), Options(key="again")).state == "published"
    assert_answers_are_what_was_published(ports, ROWS)
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, ROWS)


def test_a_batchs_life_tells_of_its_withdrawal(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, ROWS)
    fold(ports)
    withdraw(connection, "k")
    withdraw(connection, "k")
    fold(ports)
    discard(ports)
    assert events(ports, "k") == [
        "opened", "loaded", "published", "folded",
        "withdrawal asked for", "withdrawn", "reversal folded", "rows thrown away",
    ]  # fmt: skip
    ((seconds, since_opened),) = ports.rows(
        "SELECT seconds, extract(EPOCH FROM clock_timestamp() - (SELECT min(at) FROM batch_events))::float"
        " FROM batch_events WHERE event = 'withdrawn'"
    )
    assert 0 < seconds < since_opened


# --- one that is loading -----------------------------------------------------------------------------------


def test_a_batch_that_was_cut_short_is_cancelled(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, OTHERS, "other")
    path = write_csv(tmp_path / "prices.csv", ROWS)
    with pytest.raises(Stopped):
        load(Files([path]), Options(key="k", chunk_rows=10), stop=iter([False] * 4 + [True]).__next__)

    done = withdraw(connection, "k")

    assert (done.state, done.rows, done.repeat) == ("withdrawn", 0, False)
    assert ports.rows(STATE, "k") == [("withdrawn", True, True)]
    assert data_version(ports) == 1, "no answer has changed"
    with pytest.raises(UsageError, match="was withdrawn"):
        load(Files([path]), Options(key="k"))
    assert fold(ports) == len({row[:2] for row in OTHERS})
    assert discard(ports) == 4
    assert ports.rows("SELECT count(*) FROM prices") == [(80,)]
    assert_answers_are_what_was_published(ports, OTHERS)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_load_whose_batch_is_withdrawn_ends_at_once_with_a_clear_error(
    workers: int, ports: Database, tmp_path: Path
) -> None:
    """Chunks follow each other without a gap, several at a time; nobody waits for the last one."""
    path = write_csv(tmp_path / "prices.csv", make_rows(2000))
    options = Options(key="k", workers=workers, chunk_rows=1)
    with ThreadPoolExecutor(1) as executor:
        loading = executor.submit(load, Files([path]), options)
        wait_until(lambda: ports.rows("SELECT count(*) FROM chunks")[0][0] > 20)
        done = take_back(ports, "k")
        ((chunks_in,),) = ports.rows("SELECT count(*) FROM chunks")
        with pytest.raises(UsageError, match=r"batch .* \(key 'k'\) was withdrawn"):
            loading.result(TIMEOUT_S)
    assert ports.rows("SELECT count(*) FROM chunks") == [(chunks_in,)], "none goes in afterwards"
    assert chunks_in < 2000
    assert (done.state, done.repeat) == ("withdrawn", False)
    assert_answers_are_what_was_published(ports)
    assert data_version(ports) == 0
    assert fold(ports) == 0
    assert discard(ports) > 20
    for table in ("prices", "lane_month_deltas"):
        assert ports.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_load_killed_and_withdrawn_leaves_nothing(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(500))
    call = ("load", path, "--key", "k", "--chunk-rows", "5")
    cut_short(methodcaller("kill"), *call, database=ports, until_chunks=21)
    done = json_of(run("withdraw", "k", "--json", database=ports))
    assert (done["state"], done["rows"]) == ("withdrawn", 0)
    assert discard(ports) > 20
    assert ports.rows("SELECT count(*) FROM prices") == [(0,)]


def test_a_process_whose_batch_is_withdrawn_ends_with_one_line(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(6000))
    with begin("load", path, "--key", "k", "--chunk-rows", "5", database=ports) as process:
        wait_until(lambda: ports.rows("SELECT count(*) FROM chunks")[0][0] > 20)
        assert run("withdraw", "k", database=ports).returncode == 0
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, output) == (2, "")
    assert errors.count("\n") == 1
    assert "(key 'k') was withdrawn" in errors


def test_what_is_asked_to_be_withdrawn_gets_no_further_chunk_and_is_not_published(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """The one who asked may have been killed right after."""
    batch = open_batch(connection, Order("k", b"1" * 32, "a.csv", 10))
    asked = find_by_name(connection, "k")
    assert asked is not None
    assert ask(connection, asked)
    with pytest.raises(UsageError, match=r"batch .* \(key 'k'\) was withdrawn"):
        end_batch(connection, batch, chunk_count=0, places=Places())
    assert ports.rows(STATE, "k") == [("loading", True, False)]
    assert carry_out_all(connection) == 1
    assert ports.rows(STATE, "k") == [("withdrawn", True, True)]
    assert data_version(ports) == 0


@pytest.mark.parametrize("round_no", range(5))
def test_a_batch_withdrawn_while_it_is_being_published_is_out_in_the_end(
    round_no: int, ports: Database, tmp_path: Path
) -> None:
    """Whoever is first: the load was published and then taken back, or it was refused."""
    write_csv(tmp_path / "prices.csv", ROWS)
    asked = threading.Event()

    def stop() -> bool:
        asked.set()
        return False

    with ThreadPoolExecutor(1) as executor:
        options = Options(key="k", workers=1, chunk_rows=100 - 10 * round_no)
        loading = executor.submit(load, Files([tmp_path / "prices.csv"]), options, stop=stop)
        assert asked.wait(TIMEOUT_S)
        take_back(ports, "k")
        failure = loading.exception(TIMEOUT_S)
    assert failure is None or "was withdrawn" in str(failure)
    assert data_version(ports) == (0 if failure else 2)
    assert ports.rows(STATE, "k") == [("withdrawn", True, True)]
    assert_answers_are_what_was_published(ports)
    fold(ports)
    discard(ports)
    assert ports.rows("SELECT count(*) FROM prices") == [(0,)]


# --- what readers see --------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [False, True])
def test_a_reader_that_never_pauses_sees_all_and_then_none(
    folded: bool, ports: Database, tmp_path: Path
) -> None:
    lane = ("CNSGH", "NLRTM")
    rows = [Row(*lane, FIRST_DAY, price) for price in range(1, 301)]
    load_rows(tmp_path, rows, chunk_rows=10)
    if folded:
        assert fold(ports) == 30
    done, seen = threading.Event(), []

    def read() -> None:
        with ports.connect("rates_api") as reader:
            last = False
            while not last:
                last = done.is_set()
                seen.append(day_totals(reader, lane, FIRST_DAY, FIRST_DAY))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        wait_until(lambda: bool(seen))
        take_back(ports, "k")
        fold(ports, rows_max=1)
        discard(ports)
    finally:
        done.set()
        thread.join()
    flips = [pair for pair in pairwise(seen) if pair[0] != pair[1]]
    assert flips == [([(FIRST_DAY, sum(row.price for row in rows), 300)], [])]


def test_its_reversal_is_unseen_until_the_last_chunk_of_it_is_written(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, ROWS, chunk_rows=10)
    fold(ports)
    with ports.connect("rates_loader") as holder, ThreadPoolExecutor(1) as executor:
        with holder.transaction():
            holder.execute("SELECT FROM chunks WHERE chunk_no = 7 FOR UPDATE")
            withdrawing = executor.submit(withdraw, connection, "k")
            wait_until(lambda: ports.rows(REVERSED) == [(9,)])
            assert_answers_are_what_was_published(ports, ROWS)
            assert data_version(ports) == 1
            assert fold(ports) == 0
            assert ports.rows(STATE, "k") == [("published", True, True)]
        assert withdrawing.result(TIMEOUT_S).state == "withdrawn"
    assert_answers_are_what_was_published(ports)
    assert data_version(ports) == 2


@pytest.mark.parametrize("folded", [0, 3, None])
def test_an_older_snapshot_still_sees_it_whole(
    folded: int | None, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """However far folding and throwing away have come since."""
    load_rows(tmp_path, ROWS, chunk_rows=10)
    fold_steps(ports, folded)
    question = (("world", "world"), date(2021, 1, 1), date(2021, 2, 1))
    with ports.connect("rates_api") as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with reader.transaction():
            before = day_totals(reader, *question)
            assert sum(count for _, _, count in before) == 100
            withdraw(connection, "k")
            assert day_totals(reader, *question) == before
            fold(ports)
            discard_all(connection)
            assert day_totals(reader, *question) == before
        assert day_totals(reader, *question) == []


# --- in company, and cut short -----------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [0, 2, None])
def test_two_at_once_withdraw_it_once(folded: int | None, ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, OTHERS, "other")
    load_rows(tmp_path, ROWS, "k", chunk_rows=5)
    fold_steps(ports, folded)
    with ThreadPoolExecutor(3) as executor:
        done = list(executor.map(lambda _: take_back(ports, "k"), range(3)))
    assert {one.state for one in done} == {"withdrawn"}
    assert data_version(ports) == 3
    assert events(ports, "k").count("withdrawn") == 1
    assert_answers_are_what_was_published(ports, OTHERS)
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, OTHERS)
    assert ports.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]


def test_folds_that_run_all_the_while_change_nothing(ports: Database, tmp_path: Path) -> None:
    batches = [make_rows(100, seed=number) for number in range(6)]
    for number, rows in enumerate(batches):
        load_rows(tmp_path, rows, str(number), chunk_rows=20)
    done = threading.Event()

    def keep_folding() -> int:
        folded = 0
        while not done.is_set():
            folded += fold(ports, rows_max=2) + discard(ports)
        return folded

    with ThreadPoolExecutor(4) as executor:
        folding = [executor.submit(keep_folding) for _ in range(2)]
        try:
            for number in range(5):
                take_back(ports, str(number))
                assert_answers_are_what_was_published(ports, *batches[number + 1 :])
        finally:
            done.set()
        assert sum(future.result(TIMEOUT_S) for future in folding) > 0
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, batches[5])
    assert ports.rows("SELECT count(*) FROM prices") == [(100,)]
    assert ports.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]


@pytest.mark.parametrize("goes_on", ["the command", "the worker"])
def test_one_that_is_killed_between_two_chunks_is_gone_on_with(
    goes_on: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, OTHERS, "other")
    batch = load_rows(tmp_path, ROWS, "k", chunk_rows=10).batch
    fold_a_step(ports, 40)
    with ports.connect("rates_loader") as holder, holder.transaction():
        holder.execute("SELECT FROM chunks WHERE chunk_no = 5 FOR UPDATE")
        with begin("withdraw", "k", database=ports) as process:
            wait_until(lambda: ports.rows(REVERSED) == [(9,)])
            process.kill()
        assert process.returncode == -signal.SIGKILL
    assert_answers_are_what_was_published(ports, OTHERS, ROWS)
    if goes_on == "the command":
        done = json_of(run("withdraw", str(batch), "--json", database=ports))
        assert (done["state"], done["rows"], done["repeat"]) == ("withdrawn", 100, False)
    else:
        assert carry_out_all(connection) == 1
    assert carry_out_all(connection) == 0
    assert data_version(ports) == 3
    assert_answers_are_what_was_published(ports, OTHERS)
    fold(ports)
    assert_answers_are_what_was_published(ports, OTHERS)


def test_a_worker_that_is_told_to_stop_stops_between_two_chunks(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load_rows(tmp_path, ROWS, "k", chunk_rows=10)
    fold(ports)
    batch = find_by_name(connection, "k")
    assert batch is not None
    assert ask(connection, batch)
    assert carry_out_all(connection, stop=iter([False, False, True]).__next__) == 0
    assert ports.rows(REVERSED) == [(2,)]
    assert_answers_are_what_was_published(ports, ROWS)
    assert carry_out_all(connection) == 1
    assert_answers_are_what_was_published(ports)


@pytest.mark.parametrize("table", ["lane_month_deltas", "data_version"])
def test_one_that_is_killed_in_the_middle_of_a_step_leaves_that_step_undone(
    table: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """While it writes a chunk's reversal, or in the transaction that ends it."""
    load_rows(tmp_path, ROWS, "k", chunk_rows=10)
    fold(ports)
    with ports.connect() as owner, owner.transaction():
        owner.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
        with begin("withdraw", "k", database=ports) as process:
            wait_until(lambda: waiting_for_locks(ports) == 1)
            process.kill()
    wait_until(lambda: not ports.rows("SELECT FROM pg_stat_activity WHERE application_name = 'rates-loader'"))
    assert ports.rows(REVERSED) == [(0 if table == "lane_month_deltas" else 10,)]
    assert_answers_are_what_was_published(ports, ROWS)
    assert data_version(ports) == 1

    assert carry_out_all(connection) == 1

    assert_answers_are_what_was_published(ports)
    assert data_version(ports) == 2
    fold(ports)
    assert_answers_are_what_was_published(ports)
