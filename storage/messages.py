"""What the queue carries: the bucket's own events, and the work that one part of the project has for another.

Messages come late, twice and out of order; each says that there may be something to do, and the ledger knows.
"""

from __future__ import annotations

from typing import Any, TypeAlias
from urllib.parse import unquote_plus
from uuid import UUID

import msgspec

from storage.errors import UnknownMessage

CREATED = "ObjectCreated:"
TEST_EVENT = "s3:TestEvent"


class NewObject(msgspec.Struct, frozen=True, tag="object", tag_field="work"):
    """Something was put into the bucket: a manifest, content, or a file that is a batch by itself."""

    key: str


class PlanBatch(msgspec.Struct, frozen=True, tag="plan", tag_field="work"):
    """A batch to be planned, whatever became of the bucket's event: from the sweep and from `redrive`."""

    batch: UUID


class DoChunk(msgspec.Struct, frozen=True, tag="chunk", tag_field="work"):
    """There is a chunk to be done, one for each of these messages. Which one is for the ledger to say: the
    batch that needed it when the message was sent is only named."""

    batch: UUID
    chunk: int


class WithdrawBatch(msgspec.Struct, frozen=True, tag="withdraw", tag_field="work"):
    """A batch is to be taken back; `by` says who wants it."""

    batch: UUID
    by: str


Work: TypeAlias = NewObject | PlanBatch | DoChunk | WithdrawBatch


def encode(work: Work) -> str:
    return msgspec.json.encode(work).decode()


def decode(body: str) -> list[Work]:
    """What a message asks for; nothing where it is one of S3's tests. Raises UnknownMessage."""
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnknownMessage(f"not JSON: {body[:200]!r}") from error
    try:
        if isinstance(message, dict) and "work" in message:
            return [msgspec.convert(message, Work)]
        if isinstance(message, dict) and message.get("Event") == TEST_EVENT:
            return []
        return [new_object(record) for record in message["Records"]]
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise UnknownMessage(f"of no known kind: {body[:200]!r}") from error


def new_object(record: Any) -> NewObject:
    """One record of an event of S3, in which keys are encoded as in a form."""
    if not record["eventName"].removeprefix("s3:").startswith(CREATED):
        raise KeyError(record["eventName"])
    return NewObject(unquote_plus(record["s3"]["object"]["key"]))
