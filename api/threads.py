"""How many of a process's threads may be taken by requests that last, so that one is left for short ones."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from threading import BoundedSemaphore

from api.errors import Busy
from telemetry.metrics import emit

# A short upload ends meanwhile; with none that ends, whoever waits holds the last thread itself.
WAIT_S = 1.0
# What lasts so long is counted, so that the alarm on slow answers can leave it out (`infra/thresholds.py`).
LONG_S = 2.0


class Threads:
    """`count` is how many there are: all but one may be taken for long, by waiting for a batch half of those,
    rounded up. With a single one, uploads take it."""

    def __init__(self, count: int) -> None:
        self._lasting = BoundedSemaphore(max(1, count - 1))
        self._waiting = BoundedSemaphore(math.ceil((count - 1) / 2))

    @contextmanager
    def lasting(self) -> Generator[None]:
        """While a body is read, or a file is sent. Raises Busy where too many are at it."""
        if not self._lasting.acquire(timeout=WAIT_S):
            raise Busy
        try:
            with counted():
                yield
        finally:
            self._lasting.release()

    @contextmanager
    def waiting(self) -> Generator[bool]:
        """While somebody waits for a batch to end; False where too many do, and nobody is to wait."""
        with ExitStack() as taken:
            may_wait = True
            for semaphore in (self._waiting, self._lasting):
                may_wait = may_wait and semaphore.acquire(blocking=False)
                if may_wait:
                    taken.callback(semaphore.release)
            with counted():
                yield may_wait


@contextmanager
def counted() -> Generator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        if time.monotonic() - began >= LONG_S:
            emit("long request", {"long_requests": (1, "Count")})
