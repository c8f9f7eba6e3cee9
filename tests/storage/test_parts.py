"""A large object in parts: nothing until it is complete, and nothing of what is given up."""

from __future__ import annotations

import httpx
import pytest

from storage.errors import ObjectMissing
from storage.messages import NewObject, decode
from storage.parts import PART_BYTES_MIN, begin_upload
from tests.batch_storage import BatchStorage

KEY = "batches/x"
FIRST, SECOND = b"1" * PART_BYTES_MIN, b"2"


def begun(storage: BatchStorage) -> list[str]:
    """The ids of what is under way in the bucket."""
    found = storage.s3().list_multipart_uploads(Bucket=storage.name)
    return [upload["UploadId"] for upload in found.get("Uploads", [])]


def test_the_parts_make_an_object_once_they_are_complete_and_the_queue_is_told(
    storage: BatchStorage,
) -> None:
    upload = begin_upload(storage.bucket, KEY)
    parts = [upload.put(1, FIRST), upload.put(2, SECOND)]
    assert upload.parts() == parts
    assert storage.bucket.find(KEY) is None

    upload.complete(parts)

    assert storage.bucket.find(KEY) == FIRST + SECOND
    messages = storage.queue.receive(10, wait_s=1, visibility_s=30)
    assert {work for message in messages for work in decode(message.body)} == {NewObject(KEY)}
    assert begun(storage) == []


def test_what_is_aborted_leaves_nothing_and_may_be_aborted_again(storage: BatchStorage) -> None:
    upload = begin_upload(storage.bucket, KEY)
    upload.put(1, FIRST)
    assert begun(storage) == [upload.upload_id]
    upload.abort()
    upload.abort()
    assert begun(storage) == []
    assert storage.bucket.find(KEY) is None
    with pytest.raises(ObjectMissing):
        upload.parts()


def test_completed_again_it_stays_as_it_is(storage: BatchStorage) -> None:
    """As where an answer broke off and botocore asks once more."""
    upload = begin_upload(storage.bucket, KEY)
    parts = [upload.put(1, FIRST)]
    upload.complete(parts)
    upload.complete(parts)
    assert storage.bucket.look(KEY).size == len(FIRST)


def test_anybody_may_put_a_part_at_its_address(storage: BatchStorage) -> None:
    upload = begin_upload(storage.bucket, KEY)
    for number, content in enumerate((FIRST, SECOND), 1):
        answer = httpx.put(upload.put_address(number, 3600), content=content, trust_env=False)
        assert answer.status_code == 200
    assert [(part.number, part.size) for part in upload.parts()] == [(1, len(FIRST)), (2, len(SECOND))]
