"""Folding: deltas that count move into the base, and no answer changes, whoever folds, reads or stops."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest

from api.store import Store
from api.totals import read_totals
from database.connect import make_pool
from loader.check import Ports, check
from loader.compact import fold_all
from loader.errors import Stopped
from loader.ledger import Order, chunk_transaction, claim_chunk, open_batch, write_chunk
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch
from loader.sources import Files
from loader.withdraw import withdraw
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    CODES,
    FIRST_DAY,
    Row,
    assert_answers_are_what_was_published,
    data_version,
    discard,
    fold,
    fold_a_step,
    load_rows,
    make_rows,
    write_csv,
)
from tests.postgres import Database

COUNTS = "SELECT (SELECT count(*) FROM lane_month_deltas), (SELECT count(*) FROM lane_month_totals)"
BASE = "SELECT orig_code, dest_code, month FROM lane_month_totals"


def lane_months(rows: list[Row]) -> set[tuple]:
    return {(*row[:2], row.day.replace(day=1)) for row in rows}


def over_years(rows: list[Row]) -> list[Row]:
    """The rows, some of them moved by months and years, leap days among them."""
    return [row._replace(day=row.day + timedelta(59 * (number % 20))) for number, row in enumerate(rows)]


# --- answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_max", [1, 2, 3, 50])
def test_answers_are_the_same_after_every_step(rows_max: int, ports: Database, tmp_path: Path) -> None:
    """Each step is a worker of its own, stopped before the next."""
    rows = over_years(make_rows(20 * max(2, min(rows_max, 4))))
    load_rows(tmp_path, rows, chunk_rows=len(rows) // 2)
    ((deltas, base),) = ports.rows(COUNTS)
    assert (deltas >= len(lane_months(rows)), base) == (True, 0)
    while folded := fold_a_step(ports, rows_max):
        assert folded <= rows_max
        deltas -= folded
        assert ports.rows(COUNTS)[0][0] == deltas
        assert_answers_are_what_was_published(ports, rows)
    assert deltas == 0
    assert ports.rows(COUNTS) == [(0, len(lane_months(rows)))]


@pytest.fixture
def store(ports: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """What the API answers from, on connections of its own role."""
    with monkeypatch.context() as patch:
        patch.setenv("PGUSER", "rates_api")
        pool = make_pool("rates-test", size_max=2)
    with pool:
        yield Store(pool)


def answers(store: Store) -> list[list[tuple]]:
    """All that can be asked of three regions and two ports, over years and a part of a month."""
    spans = [(date(2020, 1, 1), date(2025, 1, 1)), (FIRST_DAY + timedelta(5), FIRST_DAY + timedelta(40))]
    places = ("world", "asia", "europe", "CNSGH", "SEGVX")
    return [
        store.read(read_totals, orig, dest, *span).days(span[1])
        for orig in places
        for dest in places
        for span in spans
    ]


def test_the_api_gives_the_same_answers_while_two_batches_and_a_withdrawal_are_folded(
    ports: Database, store: Store, tmp_path: Path
) -> None:
    batches = [over_years(make_rows(120, seed=number)) for number in range(3)]
    for number, rows in enumerate(batches):
        load_rows(tmp_path, rows, str(number), chunk_rows=50)
    before = answers(store)
    fold_a_step(ports, 40)
    assert answers(store) == before
    with ports.connect("rates_loader") as connection:
        withdraw(connection, "1")
    before, changed = answers(store), before
    assert before != changed
    while fold_a_step(ports, 25):
        assert answers(store) == before
    assert answers(store) == before
    assert_answers_are_what_was_published(ports, batches[0], batches[2])


def test_what_is_folded_later_adds_to_the_base(ports: Database, tmp_path: Path) -> None:
    """To rows that are there, with days before, between and after theirs, and to new ones."""
    batches = [over_years(make_rows(200, seed=number)) for number in range(3)]
    for number, rows in enumerate(batches):
        load_rows(tmp_path, rows, key=str(number))
        assert fold(ports) == len(lane_months(rows))
        assert_answers_are_what_was_published(ports, *batches[: number + 1])
        assert sorted(ports.rows(BASE)) == sorted(set().union(*map(lane_months, batches[: number + 1])))
    assert fold(ports) == 0


def test_folding_raises_no_data_version(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, make_rows(50))
    fold(ports)
    assert data_version(ports) == 1


def test_a_posting_ends_with_its_last_delta_and_the_batchs_life_tells_it_once(
    ports: Database, tmp_path: Path
) -> None:
    load_rows(tmp_path, make_rows(100), "a")
    load_rows(tmp_path, make_rows(100, seed=2), "b")
    ended: list[tuple] = []
    while fold_a_step(ports, rows_max=7):
        with_deltas = ports.rows("SELECT DISTINCT posting_no FROM lane_month_deltas ORDER BY 1")
        assert set(with_deltas) <= set(ports.rows("SELECT posting_no FROM postings WHERE folding"))
        assert ports.rows("SELECT FROM batch_events WHERE event = 'folded'") == ended
    assert ports.rows("SELECT FROM postings") == []
    told = "SELECT key, count(*) FROM batch_events JOIN batches ON id = batch_id WHERE event = 'folded'"
    assert ports.rows(f"{told} GROUP BY key ORDER BY key") == [("a", 1), ("b", 1)]


def test_what_is_not_published_is_not_folded(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(100))
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False] * 5 + [True]).__next__)
    rejected = write_csv(tmp_path / "bad.csv", [*make_rows(30), make_rows(1)[0]._replace(price=0)])
    assert load(Files([rejected]), Options(workers=1, chunk_rows=10)).state == "rejected"
    load_rows(tmp_path, make_rows(30, seed=3), "withdrawn", chunk_rows=10)
    with ports.connect("rates_loader") as connection:
        withdraw(connection, "withdrawn")
    before = ports.rows(COUNTS)
    assert before[0][0] > 50
    assert ports.rows("SELECT count(DISTINCT posting_no) FROM lane_month_deltas") == [(3,)]
    assert fold(ports) == 0
    assert ports.rows(COUNTS) == before


# --- with a batch and its reversal -------------------------------------------------------------------------


@pytest.mark.parametrize("rows_max", [1, 2, 3, 1000])
@pytest.mark.parametrize("folded_before", [0, 1, 10])
def test_a_batch_and_its_reversal_are_folded_to_nothing_in_any_steps(
    rows_max: int, folded_before: int, ports: Database, tmp_path: Path
) -> None:
    """Beside one that stays, so that there are rows that get empty, that lose days, and that keep all."""
    kept, taken_back = over_years(make_rows(20)), over_years(make_rows(20, seed=2))
    load_rows(tmp_path, taken_back, "taken back", chunk_rows=4)
    if folded_before:
        fold_a_step(ports, folded_before)
    load_rows(tmp_path, kept, "kept", chunk_rows=6)
    with ports.connect("rates_loader") as connection:
        withdraw(connection, "taken back")
    assert_answers_are_what_was_published(ports, kept)
    while fold_a_step(ports, rows_max):
        assert_answers_are_what_was_published(ports, kept)
    assert sorted(ports.rows(BASE)) == sorted(lane_months(kept))
    assert ports.rows("SELECT FROM postings") == []
    assert discard(ports) == 5
    assert ports.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]
    assert_answers_are_what_was_published(ports, kept)


@pytest.mark.parametrize("first", ["original", "reversal"])
def test_of_a_batch_and_its_reversal_either_may_be_folded_first(
    first: str, ports: Database, tmp_path: Path
) -> None:
    """The base then has days below zero for a while; what readers add up is right all the same."""
    kept, taken_back = make_rows(60), make_rows(60, seed=2)
    load_rows(tmp_path, kept, "kept")
    fold(ports)
    load_rows(tmp_path, taken_back, "taken back", chunk_rows=20)
    fold_a_step(ports, 1)
    with ports.connect("rates_loader") as connection:
        withdraw(connection, "taken back")
    later = ">" if first == "reversal" else "<"
    with ports.connect("rates_loader") as holder, holder.transaction():
        holder.execute(f"SELECT FROM lane_month_deltas WHERE posting_no {later} 0 FOR UPDATE".encode())
        assert fold(ports, rows_max=5) > 10
        assert_answers_are_what_was_published(ports, kept)
        lowest = "SELECT min(least(price_count, price_sum)) < 0 FROM lane_month_totals,"
        lowest += " unnest(price_sums, price_counts) AS of_day (price_sum, price_count)"
        assert ports.rows(lowest) == [(first == "reversal",)]
    assert fold(ports, rows_max=5) > 10
    assert_answers_are_what_was_published(ports, kept)
    assert sorted(ports.rows(BASE)) == sorted(lane_months(kept))


def test_a_day_whose_count_is_none_for_a_while_keeps_its_sum(ports: Database, tmp_path: Path) -> None:
    """One price in, another price's reversal before that price itself."""
    lane, day = ("CNSGH", "NLRTM"), FIRST_DAY
    load_rows(tmp_path, [Row(*lane, day, 7)], "kept")
    load_rows(tmp_path, [Row(*lane, day, 1000)], "taken back")
    fold_a_step(ports, 1)
    with ports.connect("rates_loader") as connection:
        withdraw(connection, "taken back")
    with ports.connect("rates_loader") as holder, holder.transaction():
        taken_back = "SELECT batch_no FROM batches WHERE key = 'taken back'"
        ((held,),) = ports.rows(f"SELECT count(*) FROM lane_month_deltas WHERE posting_no = ({taken_back})")
        holder.execute(f"SELECT FROM lane_month_deltas WHERE posting_no = ({taken_back}) FOR UPDATE".encode())
        fold(ports)
        assert ports.rows("SELECT price_sums, price_counts FROM lane_month_totals") == [
            ([-993], [0]) if held else ([7], [1])
        ]
        assert_answers_are_what_was_published(ports, [Row(*lane, day, 7)])
    fold(ports)
    assert ports.rows("SELECT price_sums, price_counts FROM lane_month_totals") == [([7], [1])]


# --- in company --------------------------------------------------------------------------------------------


def test_many_at_once_neither_lose_anything_nor_deadlock(ports: Database, tmp_path: Path) -> None:
    """All of them write the same lanes and months, while more batches come in and others are taken back."""
    batches = [make_rows(300, seed=number) for number in range(6)]
    for number in range(3):
        load_rows(tmp_path, batches[number], key=str(number), chunk_rows=20)
    with ThreadPoolExecutor(4) as executor:
        folding = [executor.submit(fold, ports, rows_max) for rows_max in (2, 7, 30)]
        for number in (3, 4, 5):
            load_rows(tmp_path, batches[number], key=str(number), chunk_rows=20)
            with ports.connect("rates_loader") as connection:
                withdraw(connection, str(number - 3 if number < 5 else 5))
            folding.append(executor.submit(fold, ports, 3))
        folded = [future.result() for future in folding]
    assert sum(folded) > 0
    assert_answers_are_what_was_published(ports, *batches[2:5])
    fold(ports)
    discard(ports)
    assert_answers_are_what_was_published(ports, *batches[2:5])
    assert ports.rows(COUNTS) == [(0, len(set().union(*map(lane_months, batches[2:5]))))]
    assert ports.rows("SELECT FROM postings") == []


def test_one_that_holds_its_deltas_does_not_hold_up_another(ports: Database, tmp_path: Path) -> None:
    rows = [Row("CNSGH", "NLRTM", row.day, row.price) for row in make_rows(40)]
    rows += [Row("DEHAM", "SGSIN", row.day, row.price) for row in rows]
    load_rows(tmp_path, rows, chunk_rows=10)
    with ports.connect("rates_loader") as slow, slow.transaction():
        slow.execute("SELECT FROM lane_month_deltas WHERE orig_code = 'CNSGH' FOR UPDATE")
        assert fold(ports) == 4
        assert ports.rows(COUNTS) == [(4, 1)]
        assert ports.rows("SELECT folding FROM postings") == [(True,)], "it has deltas left"
        assert_answers_are_what_was_published(ports, rows)
    assert fold(ports) == 4
    assert ports.rows("SELECT FROM postings") == []
    assert_answers_are_what_was_published(ports, rows)


def test_it_waits_neither_for_a_reader_nor_for_a_load_nor_they_for_it(
    ports: Database, store: Store, tmp_path: Path
) -> None:
    """A reader keeps its snapshot, a load is in the middle of a chunk, and a fold has not committed."""
    rows, later = make_rows(100), make_rows(60, seed=2)
    load_rows(tmp_path, rows, chunk_rows=50)
    (chunk,) = Files([write_csv(tmp_path / "later.csv", later)]).chunks(60)
    with (
        ports.connect("rates_api") as reader,
        ports.connect("rates_loader") as writer,
        ports.connect("rates_loader") as folder,
    ):
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        batch = open_batch(writer, Order("later", b"1" * 32, "later.csv", 60))
        for connection in (writer, folder):
            connection.execute("SET lock_timeout = '1ms'")
        with reader.transaction(), chunk_transaction(writer):
            first = sums(reader)
            assert claim_chunk(writer, batch, 0, chunk, wait=False) == "mine"
            write_chunk(writer, batch, 0, chunk, check(chunk, Ports(set(CODES))))
            assert fold_a_step(ports, 40) == 40
            with folder.transaction():
                assert fold_all(folder, rows_max=10) > 0
                load_rows(tmp_path, make_rows(10, seed=3), "another", chunk_rows=5)
                assert waiting_for_locks(ports) == 0
            assert sums(reader) == first
        assert sums(reader) != first
        end_batch(writer, batch, chunk_count=1, places=Places())
    assert_answers_are_what_was_published(ports, rows, later, make_rows(10, seed=3))


def sums(connection: psycopg.Connection) -> list[tuple]:
    """What base and deltas hold each, folded or not."""
    both = "SELECT (SELECT sum(s) FROM lane_month_totals, unnest(price_sums) AS s),"
    both += " (SELECT sum(s) FROM lane_month_deltas, unnest(price_sums) AS s)"
    return connection.execute(both.encode()).fetchall()


def test_a_fold_writes_in_the_order_of_the_key_so_that_two_cannot_deadlock(
    ports: Database, tmp_path: Path
) -> None:
    rows = over_years(make_rows(300))
    load_rows(tmp_path, rows)
    with ports.connect("rates_loader") as connection:
        connection.execute("SET enable_sort = off")  # a plan that happens to sort would prove nothing
        fold_all(connection)
    assert ports.rows(f"{BASE} ORDER BY ctid") == sorted(lane_months(rows))
