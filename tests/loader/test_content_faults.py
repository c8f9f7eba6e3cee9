"""Content that is cut off, gone or replaced, before it is planned and after: each has its own clear end."""

from __future__ import annotations

import bz2
import gzip
from io import BytesIO

import polars as pl
import psycopg
import pytest

from loader.formats.compression import zstd
from loader.planned import forget_chunk_objects, read_chunk
from storage.bucket import Bucket
from storage.errors import ObjectChanged, ObjectMissing
from storage.layout import batch_id_of, upload_key
from tests.loader.batches import assert_nothing_is_left_but_the_ledger, make_rows
from tests.loader.planning import Sent, accept, do_all, open_small, plan, planned
from tests.postgres import Database

FRAME = pl.DataFrame(make_rows(47), schema=["orig_code", "dest_code", "day", "price"], orient="row")
CSV = FRAME.write_csv().encode()


def parquet() -> bytes:
    content = BytesIO()
    FRAME.write_parquet(content)
    return content.getvalue()


def failure(database: Database) -> str:
    """Why the only batch failed."""
    ((state, failure),) = database.rows("SELECT state, failure FROM batches")
    assert state == "failed"
    return failure


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (gzip.compress(CSV)[:-9], "the gzip stream ends early"),
        (zstd.compress(CSV)[:-3], "the zstd stream ends early"),
        (parquet()[:-20], "the Parquet file cannot be read: "),
        (CSV[:-3], None),
        (CSV[: CSV.rindex(b",")], "the line has 3 of 4 columns"),
    ],
    ids=["gzip", "zstd", "parquet", "csv cut inside a value", "csv cut inside a row"],
)
def test_what_was_cut_off_before_it_was_sent_is_rejected_where_it_shows(
    content: bytes, fault: str | None, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    batch = plan(connection, bucket, accept(bucket, content))
    assert batch is not None
    state = do_all(connection, ports, bucket, batch)
    if fault is None:  # which nobody can see: so the API takes no body that is shorter than it says
        assert state == "published"
        return
    assert state == "rejected"
    ((reason,),) = ports.rows("SELECT reason FROM batch_errors")
    assert fault in reason
    assert_nothing_is_left_but_the_ledger(ports)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bz2.compress(CSV), "the file is packed with bzip2; unpack it, or pack it with gzip or zstd"),
        (gzip.compress(b"PGDMP"), "the file is an archive of pg_dump inside gzip; expected a plain dump"),
        (b"[" + CSV, "the file is a JSON array; expected NDJSON, an object a line"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n" + CSV, "the file is a form (multipart); send"),
    ],
    ids=["bzip2", "archive", "array", "form"],
)
def test_what_was_sent_by_mistake_is_rejected_by_name(
    content: bytes, reason: str, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    batch = plan(connection, bucket, accept(bucket, content))
    assert batch is not None
    assert do_all(connection, ports, bucket, batch) == "rejected"
    ((line, told),) = ports.rows("SELECT line, reason FROM batch_errors")
    assert (line, told[: len(reason)]) == (1, reason)
    assert_nothing_is_left_but_the_ledger(ports)


def test_a_fault_behind_good_chunks_leaves_nothing_of_them(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    lines = CSV.splitlines(keepends=True)
    manifest = accept(bucket, b"".join([*lines[:36], b"x" * 70_000, *lines[36:]]))
    batch = open_small(connection, manifest, 10)
    plan(connection, bucket, manifest, sent := Sent())
    assert sent == [0, 1, 2, 3]
    assert do_all(connection, ports, bucket, batch) == "rejected"
    assert ports.rows("SELECT line, reason FROM batch_errors") == [
        (37, "the line is longer than 65,536 bytes; expected a row of orig_code, dest_code, day, price")
    ]
    assert_nothing_is_left_but_the_ledger(ports)


@pytest.mark.parametrize("size", [len(CSV) - 1, len(CSV) + 1])
def test_content_of_another_size_than_was_accepted_fails(
    size: int, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    plan(connection, bucket, accept(bucket, CSV, size=size), sent := Sent())
    assert sent == []
    assert failure(ports) == f"its content has {len(CSV):,} bytes, {size:,} were accepted"


def test_content_that_is_deleted_before_it_is_planned_fails(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    bucket.delete(manifest.content)
    plan(connection, bucket, manifest, sent := Sent())
    assert sent == []
    assert failure(ports) == (
        f"its content is no longer there: s3://{bucket.name}/{manifest.content}:"
        " The specified key does not exist. (NoSuchKey)"
    )


class Meanwhile(Sent):
    """Does something to the bucket once a chunk is sent."""

    def __init__(self, bucket: Bucket, key: str, content: bytes | None) -> None:
        super().__init__()
        self.bucket, self.key, self.content = bucket, key, content

    def send(self, messages: list) -> None:
        super().send(messages)
        if self.content is None:
            self.bucket.delete(self.key)
        else:
            self.bucket.put(self.key, self.content)


@pytest.mark.parametrize(
    ("other", "reason"),
    [(None, "its content is no longer there: "), (CSV[:-9], "its content was replaced before all of it was")],
    ids=["deleted", "replaced"],
)
def test_content_that_changes_while_it_is_planned_fails(
    other: bytes | None,
    reason: str,
    ports: Database,
    connection: psycopg.Connection,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loader.inputs.RANGE_BYTES", 200)
    monkeypatch.setattr("loader.formats.content.HEAD_BYTES", 100)
    monkeypatch.setattr("loader.dump.HEAD_BYTES", 100)
    monkeypatch.setattr("loader.formats.lines.BLOCK_BYTES", 100)
    manifest = accept(bucket, CSV)
    batch = open_small(connection, manifest, 10)
    plan(connection, bucket, manifest, sent := Meanwhile(bucket, manifest.content, other))
    assert sent == [0]
    assert failure(ports).startswith(reason)
    assert f"s3://{bucket.name}/{manifest.content}" in failure(ports)
    assert [chunk.chunk_no for chunk in planned(ports, batch)] == [0], "to go on with once it is mended"


@pytest.mark.parametrize(
    ("other", "error"), [(None, ObjectMissing), (CSV[::-1], ObjectChanged)], ids=["deleted", "replaced"]
)
def test_a_chunk_of_content_that_has_changed_is_not_read(
    other: bytes | None,
    error: type[Exception],
    ports: Database,
    connection: psycopg.Connection,
    bucket: Bucket,
) -> None:
    manifest = accept(bucket, CSV)
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    Meanwhile(bucket, manifest.content, other).send([])
    (chunk,) = planned(ports, batch)
    with pytest.raises(error, match=f"^s3://{bucket.name}/{manifest.content}: "):
        read_chunk(bucket, chunk)


def test_an_upload_that_is_sent_again_before_it_is_planned_counts_as_it_is_then(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, b"half of it", content=upload_key(batch_id_of("k")), sha256=None, size=None)
    bucket.put(manifest.content, CSV)
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    assert do_all(connection, ports, bucket, batch) == "published"
    assert plan(connection, bucket, manifest, sent := Sent()) is not None
    assert sent == [], "what comes after its end changes nothing"


@pytest.mark.parametrize("content", [gzip.compress(CSV), parquet()], ids=["gzip", "parquet"])
def test_a_chunk_of_its_own_is_missed_once_it_is_deleted(
    content: bytes, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, content)
    batch = open_small(connection, manifest, 10)
    other = accept(bucket, content, key="other")
    plan(connection, bucket, manifest)
    plan(connection, bucket, other)
    bucket.delete(manifest.content)
    first, *rest = planned(ports, batch)
    assert read_chunk(bucket, first).first_line in {1, 2}, "it has all that is needed"
    assert len(rest) == 4
    forget_chunk_objects(bucket, batch.id)
    with pytest.raises(ObjectMissing):
        read_chunk(bucket, first)
    assert [found.key for found in bucket.list("chunks/")] == [f"chunks/{other.batch}/000000"]


def test_a_chunk_of_its_own_that_is_cut_off_is_not_read(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    batch = plan(connection, bucket, accept(bucket, gzip.compress(CSV)))
    assert batch is not None
    (chunk,) = planned(ports, batch)
    assert chunk.object_key is not None
    bucket.put(chunk.object_key, CSV[:100])
    with pytest.raises(ObjectChanged, match=f"a chunk has 100 bytes, {chunk.end_byte:,} were cut$"):
        read_chunk(bucket, chunk)
