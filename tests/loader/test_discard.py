"""Throwing away: the rows of what counts no more go chunk by chunk, and nothing else goes with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from database.queries import query
from loader.discard import discard_all, discard_chunk
from loader.errors import Stopped
from loader.load import Options, Result, load
from loader.sources import Files
from loader.withdraw import withdraw
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    TIMEOUT_S,
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
from tests.waiting import wait_until

KEPT = make_rows(60, seed=9)
PRICES = "SELECT chunk_no, count(*) FROM prices WHERE batch_no = %s GROUP BY chunk_no ORDER BY chunk_no"
DELTAS = "SELECT DISTINCT chunk_no FROM lane_month_deltas WHERE posting_no = %s ORDER BY chunk_no"
THROWN_AWAY = "SELECT key FROM batch_events JOIN batches ON id = batch_id WHERE event = 'rows thrown away'"


@pytest.fixture
def kept(ports: Database, tmp_path: Path) -> Database:
    """With a published batch that must stay as it is."""
    load_rows(tmp_path, KEPT, "kept", chunk_rows=10)
    return ports


def reject(folder: Path, key: str = "bad", chunks: int = 5) -> Result:
    """A batch of so many chunks of ten rows, the last of which has a fault."""
    rows = make_rows(10 * chunks)
    rows[-1] = rows[-1]._replace(price=0)
    path = write_csv(folder / f"{key}.csv", rows)
    result = load(Files([path]), Options(key=key, workers=1, chunk_rows=10))
    assert result.state == "rejected"
    return result


def number(database: Database, key: str) -> int:
    return database.rows("SELECT batch_no FROM batches WHERE key = %s", key)[0][0]


def test_a_rejected_batch_goes_from_its_last_chunk_down_in_steps_that_may_be_stopped_between(
    kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    reject(tmp_path)
    batch_no = number(kept, "bad")
    assert kept.rows(PRICES, batch_no) == [(chunk_no, 10) for chunk_no in range(4)], "the fifth has the fault"
    for left in (4, 3, 2, 1):
        assert discard_all(connection, stop=iter([False, True]).__next__) == 1
        assert kept.rows("TABLE discards") == [(batch_no, left)]
        assert kept.rows(PRICES, batch_no) == [(chunk_no, 10) for chunk_no in range(left)]
        assert kept.rows(DELTAS, batch_no) == [(chunk_no,) for chunk_no in range(left)]
        assert_answers_are_what_was_published(kept, KEPT)
    assert kept.rows(THROWN_AWAY) == []
    assert discard_all(connection) == 1
    assert kept.rows("TABLE discards") == []
    assert kept.rows("SELECT count(*) FROM prices") == [(60,)]
    assert kept.rows(THROWN_AWAY) == [("bad",)]
    assert discard_all(connection) == 0
    assert data_version(kept) == 1
    assert_answers_are_what_was_published(kept, KEPT)


def test_what_is_published_or_loading_is_not_thrown_away(
    kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "loading.csv", make_rows(50))
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False] * 3 + [True]).__next__)
    fold(kept)
    before = kept.rows("SELECT count(*) FROM prices")
    assert before[0][0] > 60
    assert discard_all(connection) == 0
    assert kept.rows("SELECT count(*) FROM prices") == before


@pytest.mark.parametrize("folded", [0, 1, None], ids=["not folded", "folding begun", "folded"])
def test_a_withdrawn_batch_is_not_thrown_away_while_deltas_of_it_still_count(
    folded: int | None, kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    fold(kept)
    load_rows(tmp_path, make_rows(100), "taken back", chunk_rows=10)
    for _ in range(folded or 0):
        assert fold_a_step(kept, 5) == 5
    if folded is None:
        fold(kept)
    withdraw(connection, "taken back")
    if folded == 1:
        assert discard_all(connection) == 0
        assert_answers_are_what_was_published(kept, KEPT)
        fold(kept)
    assert discard_all(connection) == 10
    assert_answers_are_what_was_published(kept, KEPT)
    fold(kept)
    assert_answers_are_what_was_published(kept, KEPT)
    assert kept.rows("SELECT count(*) FROM prices") == [(60,)]
    assert kept.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]


def test_two_at_once_share_the_batches_and_do_each_chunk_once(
    kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    for key in ("a", "b", "c"):
        reject(tmp_path, key)
    with kept.connect("rates_loader") as other:
        with other.transaction():
            held = other.execute(query("loader", "next_discard")).fetchone()
            assert held == (number(kept, "a"), 5)
            assert discard_all(connection) == 10, "nobody waits for the other one"
            assert waiting_for_locks(kept) == 0
            assert kept.rows("TABLE discards") == [held]
        assert discard_chunk(other)
    for key in ("d", "e"):
        reject(tmp_path, key, chunks=8)
    with ThreadPoolExecutor(3) as executor:
        assert sum(executor.map(lambda _: discard(kept), range(3))) == 4 + 16
    assert sorted(kept.rows(THROWN_AWAY)) == [("a",), ("b",), ("c",), ("d",), ("e",)]
    assert kept.rows("SELECT count(*) FROM prices") == [(60,)]
    assert_answers_are_what_was_published(kept, KEPT)


def test_one_that_is_cut_off_in_a_step_leaves_it_undone_and_the_next_goes_on(
    kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    reject(tmp_path)
    assert discard_all(connection, stop=iter([False, False, True]).__next__) == 2
    before = kept.rows(PRICES, number(kept, "bad"))
    with kept.connect() as owner, ThreadPoolExecutor(1) as executor:
        with owner.transaction():
            owner.execute("LOCK TABLE lane_month_deltas IN SHARE MODE")  # it has deleted prices by then
            going = executor.submit(discard_all, connection)
            wait_until(lambda: waiting_for_locks(kept) == 1)
            owner.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
            assert isinstance(going.exception(TIMEOUT_S), psycopg.OperationalError)
        wait_until(lambda: kept.rows("SELECT chunk_count FROM discards FOR UPDATE NOWAIT") == [(3,)])
    assert kept.rows(PRICES, number(kept, "bad")) == before
    assert discard(kept) == 3
    assert kept.rows("SELECT count(*) FROM prices") == [(60,)]
    assert_answers_are_what_was_published(kept, KEPT)


def test_the_last_try_of_a_batch_is_thrown_away_from_under_the_next_one(
    kept: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """The rejected try has a number of its own, so that its successor loses nothing."""
    rows = [*make_rows(49), make_rows(1)[0]._replace(orig_code="FIHEL")]
    path = write_csv(tmp_path / "prices.csv", rows)
    assert load(Files([path]), Options(key="k", workers=1, chunk_rows=10)).state == "rejected"
    assert discard_chunk(connection)
    with kept.connect() as owner:
        owner.execute("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe')")
    assert load(Files([path]), Options(key="k", workers=1, chunk_rows=10)).state == "published"
    assert_answers_are_what_was_published(kept, KEPT, rows)
    assert discard_all(connection) == 4
    assert_answers_are_what_was_published(kept, KEPT, rows)
    assert kept.rows("SELECT count(*) FROM prices") == [(110,)]
    assert kept.rows(THROWN_AWAY) == [], "nothing of the batch as it is"
    fold(kept)
    assert_answers_are_what_was_published(kept, KEPT, rows)
