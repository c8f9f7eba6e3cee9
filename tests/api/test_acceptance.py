"""Where an answer of the bucket gets lost: no batch that is there loses its content, and no content stays for
nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from access.tokens import WRITE, Token
from api.acceptance import accept
from api.known import KnownBatches
from api.ledger import Ledger
from storage.bucket import Bucket
from storage.errors import ObjectExists, StorageUnavailable
from storage.layout import batch_id_of, content_key
from storage.manifest import Manifest, read_manifest
from tests.api.ingestion import keys_in
from tests.batch_storage import BatchStorage

BEARER = Token("writer", frozenset({WRITE}), b"")


@dataclass(frozen=True)
class Unlucky(Bucket):
    """A bucket that makes an object, or does not, and then says something else."""

    makes: bool = True
    error: type[Exception] = StorageUnavailable
    reads: bool = True

    def create(self, key: str, content: bytes) -> None:
        if self.makes:
            super().create(key, content)
        raise self.error("the answer was lost")

    def find(self, key: str) -> bytes | None:
        if not self.reads:
            raise StorageUnavailable("away")
        return super().find(key)


class NewToIt(Ledger):
    """Has no batch of any key."""

    def sent_before(self, batch: UUID, key: str) -> None:  # noqa: ARG002
        return None


def known(bucket: Bucket) -> KnownBatches:
    return KnownBatches(NewToIt(cast(Any, None)), bucket)


@pytest.fixture
def manifest(store: BatchStorage) -> Manifest:
    """Of content that is there."""
    key = str(uuid4())
    batch = batch_id_of(key)
    content = content_key(batch, "1")
    store.bucket.put(content, b"x")
    return Manifest(batch, key, content, "body", "writer", datetime.now(UTC), sha256="ab" * 32, size=1)


@pytest.mark.parametrize("error", [StorageUnavailable, ObjectExists])
def test_a_manifest_whose_answer_was_lost_holds(
    store: BatchStorage, manifest: Manifest, error: type[Exception]
) -> None:
    """The second is what botocore gets when it asks again."""
    assert accept(known(Unlucky(store.name, error=error)), manifest, BEARER) == manifest
    assert manifest.content in keys_in(store)


def test_where_there_is_no_manifest_its_content_is_deleted(store: BatchStorage, manifest: Manifest) -> None:
    with pytest.raises(StorageUnavailable):
        accept(known(Unlucky(store.name, makes=False)), manifest, BEARER)
    assert manifest.content not in keys_in(store)


def test_where_nobody_knows_content_stays(store: BatchStorage, manifest: Manifest) -> None:
    with pytest.raises(StorageUnavailable):
        accept(known(Unlucky(store.name, reads=False)), manifest, BEARER)
    assert manifest.content in keys_in(store)
    assert read_manifest(store.bucket, manifest.batch) == manifest
