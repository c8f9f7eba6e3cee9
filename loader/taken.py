"""The messages that a worker has in hand: `work` takes them from the queue and answers for each of them.

As long as one is in hand nobody else gets it, however long its work takes. It leaves the hand acknowledged,
given back, or left alone, in which case it comes back by itself. A worker that is killed answers for none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from storage.errors import StorageError
from storage.work_queue import Received, WorkQueue
from telemetry.log import get_logger

# For so long nobody else gets a message after its worker was last heard of.
VISIBILITY_S = 60
# Two beats may fail before a message is somebody else's too.
HEARTBEAT_S = 20.0

log = get_logger("rates.work")


class Hand:
    """A context: while it is open a thread keeps what is in it; whatever is left in the end is given back."""

    def __init__(self, queue: WorkQueue) -> None:
        self.queue = queue
        self._held: dict[str, Received] = {}  # by receipt; each of its methods is one step of the dictionary
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat")

    def __enter__(self) -> Hand:
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        for message in list(self._held.values()):
            self.give_back(message)
        self._closed.set()
        self._heart.join()

    def take(self, count: int, *, wait_s: int) -> list[Received]:
        """Up to `count` messages; waits up to `wait_s` for the first. Raises StorageError."""
        messages = self.queue.receive(count, wait_s=wait_s, visibility_s=VISIBILITY_S)
        self._held |= {message.receipt: message for message in messages}
        return messages

    def done(self, message: Received) -> None:
        """What it asked for is done. Where the queue cannot be told so, it comes back and does nothing."""
        self._answer(message, "message not acknowledged", lambda: self.queue.done(message))

    def give_back(self, message: Received) -> None:
        """For somebody else, at once."""
        self._answer(message, "message not given back", lambda: self.queue.give_back(message))

    def return_in(self, message: Received, seconds: int) -> None:
        """For anybody, in so many seconds, as another try: after the last one the queue puts it aside."""
        self._answer(message, "message not returned", lambda: self.queue.keep(message, seconds))

    def leave(self, message: Received) -> None:
        """It comes back by itself, or is put aside."""
        self._held.pop(message.receipt, None)

    def _answer(self, message: Received, failed: str, answer: Callable[[], None]) -> None:
        self._held.pop(message.receipt, None)  # first, so that no beat meets a message that is gone
        try:
            answer()
        except StorageError as error:
            log.warning(failed, message=message.message_id, error=str(error))

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            for message in list(self._held.values()):
                try:
                    self.queue.keep(message, VISIBILITY_S)
                except StorageError as error:
                    if message.receipt in self._held:  # else it was answered for meanwhile
                        log.warning("message not kept", message=message.message_id, error=str(error))
                except Exception:  # the others are to be kept all the same
                    log.exception("message not kept", message=message.message_id)
