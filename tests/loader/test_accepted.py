"""What the bucket tells of, and the batch that it belongs to: found, not there yet, or one by itself."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from loader.accepted import accepted_batch, find_accepted, open_accepted
from loader.chunks import COLUMNS
from storage.bucket import Bucket
from storage.layout import batch_id_of, content_key, manifest_key, upload_key
from storage.manifest import read_manifest
from tests.loader.batches import assert_answers_are_what_was_published, make_rows
from tests.loader.dumps import dump_text
from tests.loader.planning import Sent, accept, do_all, plan
from tests.postgres import Database

ROWS = make_rows(20)
CSV = "".join(f"{','.join(map(str, row))}\n" for row in [COLUMNS, *ROWS]).encode()


def test_a_batch_is_found_by_its_manifest_its_content_and_its_id(bucket: Bucket) -> None:
    manifest = accept(bucket, CSV)
    assert find_accepted(bucket, manifest_key(manifest.batch)) == manifest
    assert find_accepted(bucket, manifest.content) == manifest
    assert accepted_batch(bucket, manifest.batch) == manifest


def test_content_whose_manifest_is_not_there_yet_is_no_batch(bucket: Bucket) -> None:
    key = content_key(uuid4(), "1")
    bucket.put(key, CSV)
    assert find_accepted(bucket, key) is None
    assert accepted_batch(bucket, uuid4()) is None


def test_an_upload_is_a_batch_once_it_has_come(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    batch = batch_id_of("k")
    manifest = accept(bucket, CSV, content=upload_key(batch), sha256=None, size=None)
    bucket.delete(manifest.content)
    assert find_accepted(bucket, manifest_key(batch)) is None
    assert plan(connection, bucket, manifest) is None, "the sweep may ask for it too early"
    assert ports.rows("SELECT count(*) FROM batches") == [(0,)]

    bucket.put(manifest.content, CSV)

    assert find_accepted(bucket, manifest.content) == manifest
    planned = plan(connection, bucket, manifest)
    assert planned is not None
    assert do_all(connection, ports, bucket, planned) == "published"
    assert_answers_are_what_was_published(ports, ROWS)


@pytest.mark.parametrize(
    "key", ["chunks/1", "elsewhere.csv", "batches/", "batches/seed/", "batches/none.csv"]
)
def test_what_is_no_batch_is_none(key: str, bucket: Bucket) -> None:
    if not key.endswith("none.csv"):
        bucket.put(key, CSV)
    assert find_accepted(bucket, key) is None


@pytest.mark.parametrize("key", ["batches/march.csv", "batches/seed/sample.sql", "batches/a b/ü.csv"])
def test_a_file_put_there_by_hand_is_a_batch_by_itself(
    key: str, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    bucket.put(key, CSV)
    manifest = find_accepted(bucket, key)
    assert manifest is not None
    address = f"s3://{bucket.name}/{key}"
    assert (manifest.source, manifest.accepted_by, manifest.size) == (address, "s3", len(CSV))
    assert manifest.key == f"{address} {bucket.look(key).etag}".replace('"', "")
    assert find_accepted(bucket, key) == manifest
    assert read_manifest(bucket, manifest.batch) == manifest, "so that it can be planned again"
    assert find_accepted(bucket, manifest_key(manifest.batch)) == manifest
    planned = plan(connection, bucket, manifest)
    assert planned is not None
    assert planned.id == manifest.batch
    assert do_all(connection, ports, bucket, planned) == "published"
    assert_answers_are_what_was_published(ports, ROWS)


def test_what_is_opened_and_never_looked_at_is_known_to_be_unplanned(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    opened = open_accepted(connection, manifest)
    assert ports.rows("SELECT batch_no, complete, attempts FROM plans") == [(opened.batch_no, False, 0)]
    assert open_accepted(connection, manifest) == opened
    assert ports.rows("SELECT chunks_planned, share FROM batch_status") == [(0, 0)]
    assert plan(connection, bucket, manifest) == opened
    assert do_all(connection, ports, bucket, opened) == "published"


def test_a_seed_fills_an_empty_database(as_loader: Database, bucket: Bucket) -> None:
    key = "batches/seed/sample.sql"
    bucket.put(key, dump_text().encode())
    manifest = find_accepted(bucket, key)
    assert manifest is not None
    with as_loader.connect("rates_loader") as connection:
        batch = plan(connection, bucket, manifest)
        assert batch is not None
        assert do_all(connection, as_loader, bucket, batch) == "published"
    assert as_loader.rows("SELECT count(*) FROM ports") == [(2,)]
    assert as_loader.rows("SELECT count(*) FROM prices") == [(2,)]


def test_a_file_put_in_the_place_of_another_is_another_batch(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    key = "batches/march.csv"
    bucket.put(key, CSV)
    first = find_accepted(bucket, key)
    bucket.put(key, CSV[: CSV.rindex(b"\n", 0, -1) + 1])
    second = find_accepted(bucket, key)
    assert first is not None
    assert second is not None
    assert first.batch != second.batch

    early = plan(connection, bucket, first, sent := Sent())
    late = plan(connection, bucket, second)

    assert early is not None
    assert late is not None
    assert (early.state, sent) == ("failed", [])
    assert (
        "its content was replaced"
        in ports.rows("SELECT failure FROM batches WHERE id = %s", first.batch)[0][0]
    )
    assert do_all(connection, ports, bucket, late) == "published"
    assert_answers_are_what_was_published(ports, ROWS[:-1])
