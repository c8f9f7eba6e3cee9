"""The line of connections with a request that wait for a thread: bounded in length, and in time.

`worker` puts them in as they become readable and turns those away that have waited too long; its threads
take them out, the first one first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from gunicorn.http.parser import Parser
from gunicorn.workers.gthread import TConn

from api.connections import Reader

# What a burst may wait, and what anybody may who comes while the line has not been empty for as long: such a
# line does not go by itself, and would only make all that is answered that much later.
WAIT_S = 1.0
STANDING_WAIT_S = 0.5
# For each thread: what has its turn within WAIT_S where an answer takes a millisecond, read anew and all.
LENGTH_MAX = 200


class Connection(TConn):
    """gunicorn's; `readable_at` is when there was something to read from it."""

    readable_at = 0.0
    timeout: float
    parser: Parser

    def init(self) -> None:
        if not self.initialized:
            super().init()
            self.parser.unreader = Reader(self.sock)


class Line:
    """`wait_s` bounds the time in it, `length_max` how many are in it. One thread puts in and turns away, any
    number take out."""

    def __init__(
        self, threads: int, wait_s: float = WAIT_S, standing_wait_s: float = STANDING_WAIT_S
    ) -> None:
        self._threads = threads
        self._wait_s, self._standing_wait_s = wait_s, standing_wait_s
        self._empty_at = time.monotonic()
        self._first: deque[Connection] = deque()
        self._others: deque[Connection] = deque()
        # One for each that waits, which a thread sleeps on. One too many only wakes a thread for nothing.
        self._wakes: SimpleQueue[bool] = SimpleQueue()

    def __len__(self) -> int:
        return len(self._others)

    def put(self, connection: Connection) -> bool:
        """At the end of it; False where it is too long."""
        now = connection.readable_at = time.monotonic()
        if not self._others:
            self._empty_at = now
        elif len(self._others) >= LENGTH_MAX * self._threads:
            return False
        self._others.append(connection)
        self._wakes.put(True)
        return True

    def put_first(self, connection: Connection) -> bool:
        """Before all others for as long as it takes; False where as many stand there as there are threads."""
        if len(self._first) >= self._threads:
            return False
        self._first.append(connection)
        self._wakes.put(True)
        return True

    def take(self) -> Connection | None:
        """Waits for the next one; None once it is closed."""
        while self._wakes.get():
            for connections in (self._first, self._others):
                try:
                    return connections.popleft()
                except IndexError:  # empty, or turned away in the meantime
                    continue
        return None

    def overdue(self) -> Iterator[Connection]:
        """Takes out those that have waited too long."""
        now = time.monotonic()
        if not self._others:
            self._empty_at = now
        standing = now - self._empty_at > self._wait_s
        latest = now - (self._standing_wait_s if standing else self._wait_s)
        while (connection := self._take_before(latest)) is not None:
            yield connection

    def due_in(self) -> float | None:
        """Seconds until `overdue` may have one; None where nothing waits."""
        return self._standing_wait_s / 2 if self._others else None

    def close(self) -> None:
        for _ in range(self._threads):
            self._wakes.put(False)

    def _take_before(self, latest: float) -> Connection | None:
        try:
            if self._others[0].readable_at > latest:
                return None
            connection = self._others.popleft()
        except IndexError:  # a thread was quicker
            return None
        if connection.readable_at > latest:  # likewise, and this is the one behind it
            self._others.appendleft(connection)
            self._wakes.put(True)
            return None
        with suppress(Empty):
            self._wakes.get_nowait()
        return connection
