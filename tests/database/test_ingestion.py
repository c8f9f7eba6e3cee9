"""Migration 0006 on a database in use: what counted at 0005 counts afterwards, for the loader of before too.

It goes on running while this release is deployed, and opens, ends, tries again and takes back batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.rows import class_row

from database.queries import query
from loader.check import CheckedChunk, Ports, check
from loader.chunk_rows import copy_chunk
from loader.chunks import Chunk
from loader.ledger import Batch, chunk_transaction, claim_chunk, known_ports, record_errors, record_event
from loader.load import Options, load
from loader.sources import Files
from loader.withdraw import carry_out_all, withdraw
from local.postgres import PostgresServer
from tests.database.in_use import as_role, migrate_on, migrate_to
from tests.loader.batches import (
    Row,
    add_places,
    assert_answers_are_what_was_published,
    data_version,
    discard,
    fold,
    make_rows,
    write_csv,
)
from tests.postgres import Database, clone

# Of the loader that was built for 0005, what this release's says in other words.
OPEN: LiteralString = """
INSERT INTO batches (id, key, content_hash, source, chunk_rows, created_by)
VALUES (gen_random_uuid(), %(key)s, %(content_hash)s, %(key)s, 20, 'old')
ON CONFLICT (key) DO NOTHING RETURNING id
"""
FIND: LiteralString = """
SELECT
    batch_no, id, key, content_hash, state, chunk_rows, row_count, error_count, withdrawn_by,
    false AS dry_run, false AS adds, NULL::uuid AS replaces
FROM batches WHERE key = %(key)s
"""
REOPEN: LiteralString = """
UPDATE batches SET
batch_no = DEFAULT, state = 'loading', source = %(key)s, chunk_rows = 20, row_count = 0, chunk_count = 0,
error_count = 0, ended_at = NULL
WHERE batch_no = %(batch_no)s AND state = 'rejected'
"""
END: LiteralString = """
UPDATE batches SET
state = %(state)s, row_count = %(row_count)s, chunk_count = %(chunk_count)s, error_count = %(error_count)s,
ended_at = clock_timestamp()
WHERE batch_no = %(batch_no)s
"""
ASK: LiteralString = """
UPDATE batches SET withdrawn_by = coalesce(withdrawn_by, 'old')
WHERE batch_no = %(batch_no)s AND state <> 'rejected' RETURNING batch_no
"""
RECORD: LiteralString = """
INSERT INTO chunks (batch_no, chunk_no, content_hash, row_count, error_count)
VALUES (%(batch_no)s, %(chunk_no)s, %(content_hash)s, %(row_count)s, %(error_count)s)
"""
TALLY: LiteralString = """
SELECT count(*), sum(row_count)::bigint, sum(error_count)::bigint FROM chunks WHERE batch_no = %(batch_no)s
"""
WITHDRAWN: LiteralString = """
UPDATE batches SET state = 'withdrawn', ended_at = clock_timestamp() WHERE batch_no = %(batch_no)s
"""
CHUNKS = 5
KEYS = ("folded", "waiting", "loading", "rejected", "withdrawn")
PUBLISHED = KEYS[:2]


def rows_of(key: str) -> list[Row]:
    """One of those of the rejected batch names a port that is not known yet."""
    rows = make_rows(100, seed=sum(map(ord, key)))
    return [rows[0]._replace(dest_code="FIHEL"), *rows[1:]] if key == "rejected" else rows


def source_of(key: str, folder: Path) -> Files:
    return Files([write_csv(folder / key, rows_of(key))])


# --- the loader of before ----------------------------------------------------------------------------------


def old_open(connection: psycopg.Connection, key: str, content_hash: bytes) -> Batch:
    connection.execute(OPEN, {"key": key, "content_hash": content_hash})
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        batch = cursor.execute(FIND, {"key": key}).fetchone()
        assert batch is not None
    if batch.state == "rejected":
        connection.execute(query("loader", "forget_chunks"), {"batch_no": batch.batch_no})
        connection.execute(REOPEN, {"key": key, "batch_no": batch.batch_no})
        return old_open(connection, key, content_hash)
    record_event(connection, batch, "opened")
    return batch


def old_load(connection: psycopg.Connection, key: str, source: Files, chunks: int = CHUNKS) -> str:
    """Does its first chunks, and ends it where those are all."""
    batch = old_open(connection, key, source.content_hash())
    ports = Ports(known_ports(connection))
    for chunk_no, chunk in enumerate(source.chunks(20)):
        if chunk_no < chunks:
            with chunk_transaction(connection):
                if claim_chunk(connection, batch, chunk_no, chunk, wait=False) == "mine":
                    old_write(connection, batch, chunk_no, chunk, check(chunk, ports))
    return old_end(connection, batch) if chunks == CHUNKS else batch.state


def old_write(
    connection: psycopg.Connection, batch: Batch, chunk_no: int, chunk: Chunk, checked: CheckedChunk
) -> None:
    key = {"batch_no": batch.batch_no, "chunk_no": chunk_no}
    counts = {"row_count": checked.row_count, "error_count": checked.error_count}
    connection.execute(RECORD, {**key, **counts, "content_hash": chunk.content_hash})
    if checked.error_count:
        record_errors(connection, key, checked.errors)
    else:
        copy_chunk(connection, key, checked.prices)


def old_end(connection: psycopg.Connection, batch: Batch) -> str:
    key = {"batch_no": batch.batch_no}
    with connection.transaction():
        chunk_count, row_count, error_count = connection.execute(TALLY, key).fetchall()[0]
        state = "rejected" if error_count else "published"
        counts = {"row_count": row_count, "chunk_count": chunk_count, "error_count": error_count}
        if error_count:
            connection.execute(query("loader", "discard"), key)
        else:
            connection.execute(query("loader", "post"), {"posting_no": batch.batch_no})
            connection.execute(query("loader", "raise_version"))
        connection.execute(END, {**key, **counts, "state": state})
        record_event(connection, batch, state)
    return state


def old_withdraw(connection: psycopg.Connection, key: str) -> None:
    """Of a batch that is not folded."""
    batch = {"batch_no": connection.execute(FIND, {"key": key}).fetchall()[0][0]}
    with connection.transaction():
        connection.execute(query("loader", "lock_batch"), batch)
        assert connection.execute(ASK, batch).fetchone() is not None
    with connection.transaction():
        connection.execute(query("loader", "unpost"), {"posting_no": batch["batch_no"]})
        connection.execute(query("loader", "raise_version"))
        connection.execute(WITHDRAWN, batch)
        connection.execute(query("loader", "discard"), batch)


# --- the database in use -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def migrated(server: PostgresServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """Was at 0005 with a batch of each kind in it, and was migrated: each test has a copy of it."""
    assert template, "the server has its roles"
    folder = tmp_path_factory.mktemp("in-use")
    database = clone(server, "template0")
    migrate_to(database, "0005", folder)
    add_places(database)
    with database.connect("rates_loader") as connection:
        for key in KEYS:
            old_load(connection, key, source_of(key, folder), chunks=2 if key == "loading" else CHUNKS)
            if key == "folded":
                fold(database)
        old_withdraw(connection, "withdrawn")
    assert_answers_are_what_was_published(database, *map(rows_of, PUBLISHED))
    migrate_on(database, "0005")
    return database


@pytest.fixture
def new(migrated: Database, server: PostgresServer) -> Iterator[Database]:
    """Migrated; the test's own process is the loader."""
    database = clone(server, migrated.name)
    with as_role(database, "rates_loader"):
        yield database
    database.drop()


def add_port(database: Database) -> None:
    """The one that the rejected batch was rejected for."""
    database.rows("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe') RETURNING 1")


@pytest.fixture
def old_loader(new: Database) -> Iterator[psycopg.Connection]:
    with new.connect("rates_loader") as connection:
        yield connection


def test_what_counted_before_counts_afterwards(new: Database) -> None:
    assert_answers_are_what_was_published(new, *map(rows_of, PUBLISHED))
    assert data_version(new) == 4
    fold(new)
    assert discard(new) == 2 * CHUNKS
    assert_answers_are_what_was_published(new, *map(rows_of, PUBLISHED))


def test_a_batch_of_before_is_told_of_as_it_was(new: Database) -> None:
    told = "state, row_count, chunk_count, error_count, share, dry_run, deadline, failure, callback_url"
    assert new.rows(f"SELECT {told} FROM batch_status ORDER BY batch_no") == [
        ("published", 100, 5, 0, 1, False, None, None, None),
        ("published", 100, 5, 0, 1, False, None, None, None),
        ("loading", 40, 2, 0, None, False, None, None, None),
        ("rejected", 0, 5, 1, 1, False, None, None, None),
        ("withdrawn", 100, 5, 0, None, False, None, None, None),
    ]


def test_the_new_loader_goes_on_with_what_the_old_one_began(new: Database, tmp_path: Path) -> None:
    add_port(new)
    for key in ("loading", "rejected"):
        assert load(source_of(key, tmp_path), Options(key=key)).state == "published"
    assert_answers_are_what_was_published(new, *map(rows_of, KEYS[:4]))


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_new_loader_takes_back_what_the_old_one_published(key: str, new: Database) -> None:
    with new.connect("rates_loader") as connection:
        assert withdraw(connection, key).state == "withdrawn"
    assert_answers_are_what_was_published(new, *(rows_of(other) for other in PUBLISHED if other != key))


def test_the_old_loader_goes_on_after_the_migration(
    new: Database, old_loader: psycopg.Connection, tmp_path: Path
) -> None:
    assert old_load(old_loader, "loading", source_of("loading", tmp_path)) == "published"
    assert old_load(old_loader, "another one", source_of("another one", tmp_path)) == "published"
    assert_answers_are_what_was_published(new, *map(rows_of, KEYS[:3]), rows_of("another one"))
    fold(new)
    assert_answers_are_what_was_published(new, *map(rows_of, KEYS[:3]), rows_of("another one"))


def test_the_old_loader_tries_a_rejected_batch_again(
    new: Database, old_loader: psycopg.Connection, tmp_path: Path
) -> None:
    assert old_load(old_loader, "rejected", source_of("rejected", tmp_path)) == "rejected"
    add_port(new)
    assert old_load(old_loader, "rejected", source_of("rejected", tmp_path)) == "published"
    assert_answers_are_what_was_published(new, *map(rows_of, PUBLISHED), rows_of("rejected"))


def test_the_old_loader_takes_a_batch_back(new: Database, old_loader: psycopg.Connection) -> None:
    old_withdraw(old_loader, "waiting")
    assert_answers_are_what_was_published(new, rows_of("folded"))


def test_the_new_worker_carries_out_what_the_old_one_was_asked_for(
    new: Database, old_loader: psycopg.Connection
) -> None:
    old_loader.execute(ASK, {"batch_no": 1})
    assert carry_out_all(old_loader) == 1
    assert_answers_are_what_was_published(new, rows_of("waiting"))
