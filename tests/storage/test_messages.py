"""What the queue carries: our own messages, S3's events, and whatever else somebody puts there."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from storage.errors import UnknownMessage
from storage.messages import DoChunk, NewObject, PlanBatch, WithdrawBatch, Work, decode, encode
from tests.batch_storage import BatchStorage
from tests.waiting import wait_until

BATCH = UUID("0d9ef0ac-9d0a-4b79-a0de-0d2c6a2c5a0e")


def event(*names_and_keys: tuple[str, str]) -> str:
    """As S3 writes them."""
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": name,
            "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 1, "sequencer": "00"}},
        }
        for name, key in names_and_keys
    ]
    return msgspec.json.encode({"Records": records}).decode()


@pytest.mark.parametrize(
    "work", [NewObject("batches/a b"), PlanBatch(BATCH), DoChunk(BATCH, 7), WithdrawBatch(BATCH, "alice")]
)
def test_each_of_our_messages_is_read_as_it_was_written(work: Work) -> None:
    assert decode(encode(work)) == [work]


def test_an_event_names_each_new_object_with_its_key_as_it_is() -> None:
    body = event(
        ("ObjectCreated:Put", "batches/x/manifest.json"),
        ("s3:ObjectCreated:CompleteMultipartUpload", "batches/two+words/%C3%A5%2B.csv"),
    )
    assert decode(body) == [NewObject("batches/x/manifest.json"), NewObject("batches/two words/å+.csv")]


def test_the_test_that_s3_sends_when_it_is_set_up_asks_for_nothing() -> None:
    assert decode('{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-01","Bucket":"b"}') == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "7",
        "null",
        "[]",
        "{}",
        '{"work": "sing"}',
        '{"work": "chunk", "batch": "no uuid", "chunk": 1}',
        '{"work": "plan"}',
        '{"Records": [{}]}',
        '{"Records": 7}',
        '{"Records": [{"eventName": 7}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": 7}}}]}',
        pytest.param("[" * 100_000, id="nested without end"),
        event(("ObjectRemoved:Delete", "batches/x")),
        event(("ObjectCreated:Put", "batches/x"), ("ObjectRemoved:Delete", "batches/x")),
    ],
)
def test_whatever_nobody_here_sends_is_unknown(body: str) -> None:
    with pytest.raises(UnknownMessage):
        decode(body)


def test_the_bucket_tells_the_queue_what_is_put_below_batches_and_nothing_else(storage: BatchStorage) -> None:
    received: list[Work] = []

    def told() -> bool:
        for message in storage.queue.receive(10, wait_s=0, visibility_s=30):
            received.extend(decode(message.body))
            storage.queue.done(message)
        return NewObject("batches/b c/å.csv") in received

    storage.bucket.put("chunks/x/000001", b"1")
    storage.bucket.put("batches/b c/å.csv", b"1")
    wait_until(told)
    assert received == [NewObject("batches/b c/å.csv")]
