"""Where an answer of the bucket gets lost: no batch that is there loses its content, and no content stays for
nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import uuid4

import falcon
import falcon.testing
import pytest

from api.acceptance import accept
from api.errors import Refusal
from api.intake import PART_BYTES, Body, take_in
from storage.bucket import Bucket
from storage.errors import ObjectExists, StorageUnavailable
from storage.layout import batch_id_of, content_key
from storage.manifest import Manifest, read_manifest
from storage.parts import PartedUpload
from tests.api.ingestion import keys_in, under_way
from tests.batch_storage import BatchStorage


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
    assert accept(Unlucky(store.name, error=error), manifest) == manifest
    assert manifest.content in keys_in(store)


def test_where_there_is_no_manifest_its_content_is_deleted(store: BatchStorage, manifest: Manifest) -> None:
    with pytest.raises(StorageUnavailable):
        accept(Unlucky(store.name, makes=False), manifest)
    assert manifest.content not in keys_in(store)


def test_where_nobody_knows_content_stays(store: BatchStorage, manifest: Manifest) -> None:
    with pytest.raises(StorageUnavailable):
        accept(Unlucky(store.name, reads=False), manifest)
    assert manifest.content in keys_in(store)
    assert read_manifest(store.bucket, manifest.batch) == manifest


# --- bodies ------------------------------------------------------------------------------------------------


def body_of(stream: Any, length: int, **headers: str) -> Body:
    """What a worker has of a request."""
    environ = falcon.testing.create_environ(
        "/batches", method="POST", headers={"Content-Length": str(length), **headers}
    )
    return Body(falcon.Request({**environ, "wsgi.input": stream}), 2**30)


class Stalled:
    def read(self, _count: int) -> bytes:
        raise TimeoutError


def test_a_body_of_which_nothing_more_comes_is_given_up(store: BatchStorage) -> None:
    before = keys_in(store)
    with pytest.raises(Refusal) as refused:
        take_in(store.bucket, body_of(Stalled(), 5), lambda _: uuid4())
    assert (refused.value.status_code, refused.value.error_code) == (408, "body_stalled")
    assert keys_in(store) == before


def test_a_client_that_asks_whether_to_send_a_body_and_leaves_has_cut_it_short(store: BatchStorage) -> None:
    here, there = socket.socketpair()
    body = body_of(BytesIO(), 5, Expect="100-continue")
    body.request.env["gunicorn.socket"] = here
    there.close()
    with here, pytest.raises(Refusal) as refused:
        take_in(store.bucket, body, lambda _: uuid4())
    assert refused.value.error_code == "body_cut_short"


@pytest.mark.parametrize("failing", ["put", "complete"])
def test_a_part_that_storage_does_not_take_leaves_nothing(
    store: BatchStorage, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, before = getattr(PartedUpload, failing), keys_in(store)

    def lost(self: PartedUpload, *arguments: Any) -> None:
        real(self, *arguments)
        raise StorageUnavailable("the answer was lost")

    monkeypatch.setattr(PartedUpload, failing, lost)
    size = PART_BYTES + 5
    with pytest.raises(StorageUnavailable):
        take_in(store.bucket, body_of(BytesIO(b"x" * size), size), lambda _: uuid4())
    assert (keys_in(store), under_way(store)) == (before, 0)


def test_no_more_than_a_part_is_in_hand(store: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = PartedUpload.put

    def noted(self: PartedUpload, number: int, content: bytes) -> Any:
        sizes.append(len(content))
        return real(self, number, content)

    monkeypatch.setattr(PartedUpload, "put", noted)
    size = 2 * PART_BYTES + 5
    content = take_in(store.bucket, body_of(BytesIO(b"x" * size), size), lambda _: uuid4())
    assert sizes == [PART_BYTES, PART_BYTES, 5]
    assert content.size == size
