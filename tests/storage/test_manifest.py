"""The manifest of a batch, and where all of a batch lies."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from storage import layout
from storage.errors import ObjectExists, StorageMisconfigured
from storage.layout import batch_id_of, batch_of, content_key, manifest_key, parts_key, upload_key
from storage.manifest import Manifest, read_manifest, write_manifest
from tests.batch_storage import BatchStorage

BATCH = batch_id_of("spring")
MANIFEST = Manifest(
    batch=BATCH,
    key="spring",
    content=content_key(BATCH, "1"),
    source="spring.csv",
    accepted_by="alice",
    accepted_at=datetime(2021, 3, 1, 12, tzinfo=UTC),
    sha256="ab" * 32,
    size=3,
    deadline=datetime(2021, 3, 2, tzinfo=UTC),
)


def test_a_manifest_is_read_as_it_was_written(storage: BatchStorage) -> None:
    assert read_manifest(storage.bucket, BATCH) is None
    write_manifest(storage.bucket, MANIFEST)
    assert read_manifest(storage.bucket, BATCH) == MANIFEST


def test_a_batch_has_one_manifest(storage: BatchStorage) -> None:
    write_manifest(storage.bucket, MANIFEST)
    with pytest.raises(ObjectExists):
        write_manifest(storage.bucket, MANIFEST)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"batch":"x"}', b"\xff"])
def test_what_is_no_manifest_is_named(storage: BatchStorage, content: bytes) -> None:
    storage.bucket.put(manifest_key(BATCH), content)
    with pytest.raises(StorageMisconfigured, match=f"{manifest_key(BATCH)} is no manifest"):
        read_manifest(storage.bucket, BATCH)


def test_what_a_newer_release_adds_to_it_is_left_alone_by_an_older_one(storage: BatchStorage) -> None:
    write_manifest(storage.bucket, MANIFEST)
    written = storage.bucket.find(manifest_key(BATCH)) or b""
    storage.bucket.put(manifest_key(BATCH), written[:-1] + b',"newer":1}')
    assert read_manifest(storage.bucket, BATCH) == MANIFEST


def test_the_id_of_a_batch_follows_from_its_key_for_ever() -> None:
    assert batch_id_of("spring") == UUID("6c759ee6-e14d-5420-96d5-53053a8fcffb")
    assert batch_id_of("Spring") != BATCH


@pytest.mark.parametrize(
    "key", [manifest_key(BATCH), upload_key(BATCH), parts_key(BATCH), content_key(BATCH, "1")]
)
def test_all_of_a_batch_belongs_to_it(key: str) -> None:
    assert key.startswith(layout.BATCHES)
    assert batch_of(key) == BATCH


@pytest.mark.parametrize(
    "key", ["batches/prices.csv", "batches/seed/sample.sql", f"batches/{BATCH}", f"chunks/{BATCH}/000001", ""]
)
def test_what_else_lies_there_belongs_to_none(key: str) -> None:
    assert batch_of(key) is None
