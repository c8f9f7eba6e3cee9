"""The ledger: a key means one content, a chunk goes in once, and one try of a batch stays out of the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from database.errors import DatabaseUnavailable
from loader.check import Ports, check
from loader.chunks import Chunk
from loader.errors import LoaderError, UsageError
from loader.ledger import (
    Batch,
    Order,
    chunk_transaction,
    claim_chunk,
    done_chunks,
    known_ports,
    open_batch,
    write_chunk,
)
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch
from loader.sources import Files
from loader.withdraw import withdraw
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import CODES, TIMEOUT_S, assert_answers_are_what_was_published, make_rows, write_csv
from tests.postgres import Database
from tests.waiting import wait_until

HASH, OTHER_HASH = b"1" * 32, b"2" * 32
# Whoever opens a batch stops between the index of ids and that of keys until the lock is free.
BETWEEN_ID_AND_KEY: tuple[LiteralString, ...] = (
    "CREATE FUNCTION stop_at(key text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
    " 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN key; END'",
    "CREATE INDEX ON batches (stop_at(key))",
    "ALTER TABLE batches DROP CONSTRAINT batches_key_key",
    "ALTER TABLE batches ADD UNIQUE (key)",
    "SELECT pg_advisory_lock(1)",
)


def open_(
    connection: psycopg.Connection, key: str = "k", content_hash: bytes = HASH, rows: int = 10
) -> Batch:
    return open_batch(connection, Order(key, content_hash, "prices.csv", rows))


def chunks_of(path: Path, rows_max: int) -> list[Chunk]:
    return list(Files([path]).chunks(rows_max))


def write(
    connection: psycopg.Connection, batch: Batch, chunk_no: int, chunk: Chunk, *, wait: bool = False
) -> str:
    """Claims a chunk and writes it, where nobody has; returns how the claim ended."""
    ports = Ports(known_ports(connection))
    with chunk_transaction(connection):
        claim = claim_chunk(connection, batch, chunk_no, chunk, wait=wait)
        if claim == "mine":
            write_chunk(connection, batch, chunk_no, chunk, check(chunk, ports))
    return claim


def events(database: Database) -> list[str]:
    return [event for (event,) in database.rows("SELECT event FROM batch_events ORDER BY event_no")]


def end(connection: psycopg.Connection, batch: Batch, chunk_count: int) -> str:
    return end_batch(connection, batch, chunk_count=chunk_count, places=Places()).state


def test_a_key_is_one_batch_however_often_it_is_opened(connection: psycopg.Connection) -> None:
    first = open_(connection)
    again = open_(connection, rows=99)
    assert again == first
    assert again.chunk_rows == 10, "a batch is cut the same in every try of it"
    assert open_(connection, "another").id != first.id


def test_a_key_with_other_content_is_refused_and_the_message_says_of_which_batch(
    ports: Database, connection: psycopg.Connection
) -> None:
    batch = open_(connection)
    with pytest.raises(UsageError, match=rf"key 'k' belongs to batch {batch.id} \(loading\)"):
        open_(connection, content_hash=OTHER_HASH)
    assert events(ports) == ["opened"], "nothing has happened to it"
    assert open_(connection) == batch


def test_a_withdrawn_batch_is_not_loaded_again_under_its_key(
    ports: Database, connection: psycopg.Connection
) -> None:
    batch = open_(connection)
    withdraw(connection, "k")
    with pytest.raises(UsageError, match=f"batch {batch.id} .* was withdrawn"):
        open_(connection)
    assert events(ports) == ["opened", "withdrawal asked for", "withdrawn"]


def test_a_chunk_written_twice_is_in_once(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rows = make_rows(10)
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", rows), 10)
    batch = open_(connection)
    assert [write(connection, batch, 0, chunk) for _ in range(2)] == ["mine", "in"]
    write_chunk(connection, batch, 0, chunk, check(chunk, Ports(set(CODES))))  # whatever was claimed
    assert done_chunks(connection, batch) == {0: (chunk.content_hash, 0)}
    assert end(connection, batch, 1) == "published"
    assert_answers_are_what_was_published(ports, rows)


def test_a_chunk_with_other_content_than_what_is_in_is_refused(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(10)), 10)
    (other,) = chunks_of(write_csv(tmp_path / "other.csv", make_rows(10, seed=2)), 10)
    batch = open_(connection)
    write(connection, batch, 0, chunk)
    with pytest.raises(UsageError, match=r"other\.csv changed since batch .* chunk 0, from line 2, is not"):
        write(connection, batch, 0, other)
    assert done_chunks(connection, batch) == {0: (chunk.content_hash, 0)}


@pytest.mark.parametrize("state", ["published", "rejected"])
def test_nothing_goes_into_a_batch_that_has_ended(
    state: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rows = make_rows(20)
    if state == "rejected":
        rows[0] = rows[0]._replace(price=0)
    first, second = chunks_of(write_csv(tmp_path / "prices.csv", rows), 10)
    batch = open_(connection)
    write(connection, batch, 0, first)
    assert end(connection, batch, 1) == state

    assert write(connection, batch, 1, second) == "in"

    assert list(done_chunks(connection, batch)) == [0]
    assert_answers_are_what_was_published(ports, rows[:10] if state == "published" else [])


def test_a_batch_with_missing_chunks_is_not_ended(connection: psycopg.Connection, tmp_path: Path) -> None:
    first, _ = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(20)), 10)
    batch = open_(connection)
    write(connection, batch, 0, first)
    with pytest.raises(LoaderError, match=rf"batch {batch.id} has 1 of 2 chunks; load it again"):
        end(connection, batch, 2)
    assert open_(connection).state == "loading"


def test_who_ends_a_batch_second_learns_how_it_ended(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(10)), 10)
    batch = open_(connection)
    write(connection, batch, 0, chunk)
    assert end(connection, batch, 1) == "published"
    published = ports.rows("SELECT * FROM batch_events WHERE event = 'published'")
    assert [end(connection, batch, 1) for _ in range(2)] == ["published"] * 2
    assert ports.rows("SELECT version FROM data_version") == [(1,)]
    assert ports.rows("SELECT * FROM batch_events WHERE event = 'published'") == published


def test_a_rejected_batch_keeps_its_id_and_key_in_its_next_try(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rows = make_rows(10)
    rows[3] = rows[3]._replace(orig_code="FIHEL")
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", rows), 10)
    batch = open_(connection)
    write(connection, batch, 0, chunk)
    assert end(connection, batch, 1) == "rejected"
    assert ports.rows("SELECT count(*) FROM batch_errors") == [(1,)]

    again = open_(connection, rows=5)

    assert (again.id, again.key, again.state, again.chunk_rows) == (batch.id, "k", "loading", 5)
    assert (again.row_count, again.error_count, done_chunks(connection, again)) == (0, 0, {})
    assert ports.rows("SELECT count(*) FROM batch_errors") == [(0,)]


def test_a_rejected_batch_opened_again_by_two_at_once_is_tried_once(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (bad,) = chunks_of(write_csv(tmp_path / "prices.csv", [make_rows(1)[0]._replace(price=0)]), 10)
    batch = open_(connection)
    write(connection, batch, 0, bad)
    assert end(connection, batch, 1) == "rejected"
    with ports.connect("rates_loader") as other, ThreadPoolExecutor(1) as executor:
        with other.transaction():
            first = open_(other)
            opening = executor.submit(open_, connection)
            wait_until(lambda: waiting_for_locks(ports) == 1)
        assert opening.result(TIMEOUT_S) == first
    assert first.batch_no != batch.batch_no
    assert events(ports) == ["opened", "loaded", "rejected", "reopened", "resumed"]


def test_a_batch_opened_by_two_at_once_is_opened_once_whichever_of_its_names_is_seen_first(
    ports: Database, connection: psycopg.Connection
) -> None:
    """Key and id each have an index, and one of them is written first."""
    order = Order("k", HASH, "prices.csv", 10)
    with ports.connect() as owner, ports.connect("rates_loader") as other, ThreadPoolExecutor(2) as executor:
        for statement in BETWEEN_ID_AND_KEY:
            owner.execute(statement)
        opening = []
        for number, opener in enumerate((connection, other), 1):
            opening.append(executor.submit(open_batch, opener, order))
            wait_until(lambda number=number: waiting_for_locks(ports) == number)
        owner.execute("SELECT pg_advisory_unlock(1)")
        first, second = (each.result(TIMEOUT_S) for each in opening)
    assert first == second
    assert events(ports) == ["opened", "resumed"]


def test_a_withdrawal_that_waits_for_a_chunk_has_its_turn_before_the_next_one(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Else a load of many workers, of which one is always in a chunk, would keep it waiting till it ends."""
    first, second = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(20)), 10)
    batch = open_(connection)
    with (
        ports.connect("rates_loader") as other,
        ports.connect("rates_loader") as third,
        ThreadPoolExecutor(2) as executor,
    ):
        with chunk_transaction(connection):
            assert claim_chunk(connection, batch, 0, first, wait=False) == "mine"
            withdrawing = executor.submit(withdraw, other, "k")
            wait_until(lambda: waiting_for_locks(ports) == 1)
            writing = executor.submit(write, third, batch, 1, second)
            wait_until(lambda: writing.done() or waiting_for_locks(ports) == 2)
            assert not writing.done()
        assert withdrawing.result(TIMEOUT_S).state == "withdrawn"
        with pytest.raises(UsageError, match="was withdrawn while it was being loaded"):
            writing.result(TIMEOUT_S)
    assert done_chunks(connection, batch) == {}


def test_a_chunk_that_went_in_while_it_was_claimed_is_known_to_be_in(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Whoever gets the claim sees what the one before has done, and does not check it all over."""
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(10)), 10)
    batch = open_(connection)
    with ports.connect("rates_loader") as other, ThreadPoolExecutor(1) as executor:
        with chunk_transaction(other):
            assert claim_chunk(other, batch, 0, chunk, wait=False) == "mine"
            assert write(connection, batch, 0, chunk) == "busy"
            write_chunk(other, batch, 0, chunk, check(chunk, Ports(set(CODES))))
            waiting = executor.submit(write, connection, batch, 0, chunk, wait=True)
            wait_until(lambda: waiting_for_locks(ports) == 1)
        assert waiting.result(TIMEOUT_S) == "in"


def test_a_chunk_whose_load_was_cut_off_is_free_for_whoever_waited(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rows = make_rows(10)
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", rows), 10)
    batch = open_(connection)
    with ThreadPoolExecutor(1) as executor, ports.connect("rates_loader") as other:
        other.execute("BEGIN")
        assert claim_chunk(other, batch, 0, chunk, wait=False) == "mine"
        write_chunk(other, batch, 0, chunk, check(chunk, Ports(set(CODES))))
        waiting = executor.submit(write, connection, batch, 0, chunk, wait=True)
        wait_until(lambda: waiting_for_locks(ports) == 1)
        ports.rows("SELECT pg_terminate_backend(%s)", other.info.backend_pid)
        assert waiting.result(TIMEOUT_S) == "mine"
        other.close()
    assert end(connection, batch, 1) == "published"
    assert_answers_are_what_was_published(ports, rows)


def test_a_rejected_key_is_still_no_place_for_other_content(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = open_(connection)
    (bad,) = chunks_of(write_csv(tmp_path / "prices.csv", [make_rows(1)[0]._replace(price=0)]), 10)
    write(connection, batch, 0, bad)
    assert end(connection, batch, 1) == "rejected"
    with pytest.raises(UsageError, match=r"\(rejected\), whose content is another"):
        open_(connection, content_hash=OTHER_HASH)


def test_what_is_left_of_one_try_does_not_get_into_the_next(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """A slow load knows the ports and the cut of its try, and leaves rows out once a chunk was faulty; all of
    that is wrong for a try that began after the port was added."""
    rows = make_rows(20)
    rows[0] = rows[0]._replace(orig_code="FIHEL")
    path = write_csv(tmp_path / "prices.csv", rows)
    first, second = chunks_of(path, 10)
    slow = open_(connection, rows=10)
    write(connection, slow, 0, first)
    assert end(connection, slow, 1) == "rejected"
    with ports.connect() as owner:
        owner.execute("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe')")
    fresh = open_(connection, rows=20)

    with pytest.raises(LoaderError, match=rf"batch {slow.id} was begun again by another load; load it again"):
        write(connection, slow, 1, second)
    with pytest.raises(LoaderError, match=rf"batch {slow.id} is no longer in the ledger"):
        end(connection, slow, 2)

    (whole,) = chunks_of(path, 20)
    write(connection, fresh, 0, whole)
    assert end(connection, fresh, 1) == "published"
    assert_answers_are_what_was_published(ports, rows)


def test_a_chunk_whose_transaction_fails_leaves_nothing(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (chunk,) = chunks_of(write_csv(tmp_path / "prices.csv", make_rows(10)), 10)
    batch = open_(connection)
    with ports.connect() as owner:
        owner.execute("ALTER TABLE lane_month_deltas RENAME TO away")
    with pytest.raises(psycopg.errors.UndefinedTable):
        write(connection, batch, 0, chunk)
    with ports.connect() as owner:
        owner.execute("ALTER TABLE away RENAME TO lane_month_deltas")
    assert done_chunks(connection, batch) == {}
    assert ports.rows("SELECT count(*) FROM prices") == [(0,)]


def test_a_code_with_characters_that_csv_and_copy_give_a_meaning_to_goes_in_as_it_is(
    ports: Database, tmp_path: Path
) -> None:
    codes = ["a,b", 'a"b', "a\tb", "\\N", "\\.", " a ", "ÅÄÖ", "''"]
    with ports.connect() as owner, owner.cursor() as cursor:
        cursor.executemany("INSERT INTO ports VALUES (%s, 'x', 'asia')", [[code] for code in codes])
    rows = [row._replace(orig_code=codes[n % len(codes)]) for n, row in enumerate(make_rows(20))]
    quoted = [row._replace(orig_code='"' + row.orig_code.replace('"', '""') + '"') for row in rows]
    assert load(Files([write_csv(tmp_path / "prices.csv", quoted)]), Options()).state == "published"
    assert_answers_are_what_was_published(ports, rows)


def test_a_server_that_is_a_standby_is_told_as_unavailable(
    ports: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    with pytest.raises(DatabaseUnavailable, match="the database only reads at the moment"):
        load(Files([write_csv(tmp_path / "prices.csv", make_rows(3))]), Options())
