"""The queue of work: what is taken stays invisible while it is kept, and comes back unless it is done."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

import msgspec

from storage.clients import client, translated_errors
from storage.errors import StorageMisconfigured
from storage.messages import Work, encode

# SQS takes and gives at most so many at once.
AT_ONCE_MAX = 10
# It refuses a text with any of these, which XML does not know.
NO_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
REASON_CHARS_MAX = 1000


@dataclass(frozen=True)
class Received:
    """A message in hand; `receives` says how often it was handed out, this time included."""

    body: str
    receipt: str
    receives: int
    message_id: str


@dataclass(frozen=True)
class WorkQueue:
    """Raises StorageUnavailable and StorageMisconfigured. Threads may share it."""

    url: str

    def send(self, works: Iterable[Work]) -> None:
        bodies = [encode(work) for work in works]
        for begin in range(0, len(bodies), AT_ONCE_MAX):
            some = bodies[begin : begin + AT_ONCE_MAX]
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(some)]
            with self._errors():
                answer = client("sqs").send_message_batch(QueueUrl=self.url, Entries=entries)
                for failed in answer.get("Failed", []):  # each alone, so that its own error is told
                    client("sqs").send_message(QueueUrl=self.url, MessageBody=some[int(failed["Id"])])

    def receive(self, count: int, *, wait_s: int, visibility_s: int) -> list[Received]:
        """Up to `count` messages; waits up to `wait_s` for the first."""
        with self._errors():
            answer = client("sqs").receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(count, AT_ONCE_MAX),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=visibility_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            Received(
                message["Body"],
                message["ReceiptHandle"],
                int(message["Attributes"]["ApproximateReceiveCount"]),
                message["MessageId"],
            )
            for message in answer.get("Messages", [])
        ]

    def keep(self, message: Received, visibility_s: int) -> None:
        """Nobody else gets it for so long from now on; with 0 anybody does, at once."""
        with self._errors():
            client("sqs").change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=visibility_s
            )

    def done(self, message: Received) -> None:
        with self._errors():
            client("sqs").delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    def give_back(self, message: Received) -> None:
        """For somebody else, at once, and as if it had never been handed out: a deploy is no failed try."""
        self.move(message, self)

    def move(self, message: Received, queue: WorkQueue) -> None:
        """Takes a message off this queue and puts it into another one, as it is. In both for a moment, and
        in both for good where the process ends meanwhile: none is lost."""
        with queue._errors():
            client("sqs").send_message(QueueUrl=queue.url, MessageBody=message.body)
        self.done(message)

    def send_dead_letter(self, work: Work, reason: str) -> None:
        """Puts what cannot be done where people look for it."""
        told = NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", reason[:REASON_CHARS_MAX])
        attribute = {"DataType": "String", "StringValue": told or "unknown"}
        with self._errors():
            client("sqs").send_message(
                QueueUrl=self.dead_letters.url,
                MessageBody=encode(work),
                MessageAttributes={"reason": attribute},
            )

    @cached_property
    def dead_letters(self) -> WorkQueue:
        """The queue that this one's messages end in, as its redrive policy says."""
        with self._errors():
            names = ["RedrivePolicy"]
            found = client("sqs").get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
            if "RedrivePolicy" not in found.get("Attributes", {}):
                raise StorageMisconfigured(f"queue {self.url} has no queue of dead letters")
            arn = msgspec.json.decode(found["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"]
            return WorkQueue(client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"])

    def _errors(self) -> AbstractContextManager[None]:
        return translated_errors(f"queue {self.url}")
