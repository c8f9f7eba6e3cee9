"""gunicorn's gthread worker, which turns requests away before it collapses, and serves on after SIGTERM.

A connection takes a thread only once there is a request to read from it. Requests that find no thread free
stand in `line`; who would wait too long there is told so at once, by the thread that accepts connections, so
that it works when all others are held up. So does `/health/live`: the process lives.

A load balancer learns a few seconds after the task that the task is to go, and until then sends requests.
"""

from __future__ import annotations

import errno
import math
import selectors
import signal
import socket
import struct
import threading
import time
from collections import deque
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

import msgspec
from gunicorn.workers.gthread import ThreadWorker

from api.connections import LINGER_S
from api.cors import END, told_to_pages
from api.errors import RETRY_AFTER_S, refusal
from api.headers import last_answer
from api.health import LIVE
from api.line import Connection, Line
from telemetry.metrics import emit

# What a client may pause in the middle of a request's head; a body has its own time (`connections`).
HEAD_STALLED = struct.pack("ll", 5, 0)  # seconds, microseconds
ASKS_LIVE = (b"GET /health/live ", b"HEAD /health/live ")
ASKS_READY = (b"GET /health/ready ", b"HEAD /health/ready ")
START_BYTES = max(map(len, (*ASKS_LIVE, *ASKS_READY)))
ALIVE = last_answer(200, msgspec.json.encode(LIVE))
OVERLOADED = refusal(
    503,
    "More is asked of this server than it can answer in time; try again.",
    "overloaded",
    f"Retry-After: {RETRY_AFTER_S}",
)
PIECE = 65_536
# How often what was turned away is counted in the log, at most.
TOLD_EVERY_S = 1.0
NO_SUCH = (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK)


class Ended:
    """What became of a request, as gunicorn asks for it: whether its connection is kept."""

    def __init__(self, kept: object) -> None:
        self.kept = kept

    def cancelled(self) -> bool:
        return False

    def result(self) -> object:
        return self.kept


class Threads:
    """In the place of gunicorn's pool, whose queue has no bound."""

    def __init__(self, count: int, line: Line, serve: Any) -> None:
        self._line = line
        for number in range(count):
            threading.Thread(target=serve, name=f"serving-{number}", daemon=True).start()

    def shutdown(self, wait: bool) -> None:  # noqa: ARG002
        self._line.close()


class Worker(ThreadWorker):
    """`drain_s` is how long it goes on; then it takes no connection more and ends what it has in hand.
    `cors_origins` are those whose pages may read what it answers itself."""

    drain_s = 0
    cors_origins: tuple[str, ...] = ()
    stop_at = math.inf
    poller: selectors.BaseSelector

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.line = Line(self.cfg.threads)
        self.leaving: deque[Connection] = deque()
        self.turned_away, self.told_at = 0, 0.0
        self.come_before: SimpleQueue[int] = SimpleQueue()

    def get_thread_pool(self) -> Threads:
        return Threads(self.cfg.threads, self.line, self.serve)

    # --- stopping ------------------------------------------------------------------------------------------

    def init_signals(self) -> None:
        """What came since the fork went to the handlers of the process that was forked. gunicorn tells each
        worker once to stop, and kills one that does not know only after `graceful_timeout`."""
        super().init_signals()
        while not self.come_before.empty():
            come = self.come_before.get_nowait()
            if come == signal.SIGTERM:
                self.handle_exit(come, None)
            elif come in (signal.SIGINT, signal.SIGQUIT):
                self.handle_quit(come, None)

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002
        """Only notes the time: a signal's handler may take no lock, as starting a timer would."""
        self.stop_at = min(self.stop_at, time.monotonic() + self.drain_s)
        self.method_queue.defer(lambda: None)  # wakes the loop, which calls `notify` at least once a second

    def notify(self) -> None:
        super().notify()
        if time.monotonic() >= self.stop_at:
            super().handle_exit(signal.SIGTERM, None)

    def _cap_keepalive(self, deadline: float) -> None:
        """Of connections over which nothing was ever asked, too."""
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    # --- serving -------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Waits for its first request as for any other: gunicorn would let a thread wait, for 5 s."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in NO_SUCH:
                raise
            return
        self.nr_conns += 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, HEAD_STALLED)
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.set_timeout()
        self.pending_conns.append(connection)
        self.watch(connection, self.on_pending_socket_readable)

    def enqueue_req(self, conn: Connection) -> None:
        if not self.line.put(conn):
            self.turn_away(conn)

    def serve(self) -> None:
        """What each thread does."""
        while (connection := self.line.take()) is not None:
            try:
                # In a context of its own: ids that a request puts on its log lines end with it.
                kept = copy_context().run(self.handle, connection)
            except BaseException:  # as a future would have kept it: the thread goes on
                self.log.exception("a connection failed")
                kept = False
            self.method_queue.defer(self.finish_request, connection, Ended(kept))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        due_in = self.line.due_in()
        super().wait_for_and_dispatch_events(timeout if due_in is None else min(timeout, due_in))

    def watch(self, connection: Connection, callback: Any) -> None:
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(callback, connection))

    # --- turning away --------------------------------------------------------------------------------------

    def murder_pending(self) -> None:
        """gunicorn calls it after all that has happened, once a second at least."""
        super().murder_pending()
        for connection in self.line.overdue():
            self.turn_away(connection)
        now = time.monotonic()
        while self.leaving and self.leaving[0].timeout <= now:
            self.let_go(self.leaving[0])
        if self.turned_away and now - self.told_at >= TOLD_EVERY_S:
            emit(
                "requests turned away", {"requests_shed": (self.turned_away, "Count")}, waiting=len(self.line)
            )
            self.turned_away, self.told_at = 0, now

    def turn_away(self, connection: Connection) -> None:
        """Answers without a thread, and closes: another connection may come to a process with less to do.

        A health check is none that is turned away, or the load balancer would take a task that has too much
        to do from those that have.
        """
        client = connection.sock
        try:
            client.setblocking(False)
            start = client.recv(START_BYTES, socket.MSG_PEEK)
            if start.startswith(ASKS_READY) and self.line.put_first(connection):
                return
            request = client.recv(PIECE)
            alive = start.startswith(ASKS_LIVE)
            self.turned_away += not alive
            answer = told_to_pages(ALIVE if alive else OVERLOADED, request, self.cors_origins)
            client.send(answer if not start.startswith(b"HEAD ") else answer[: answer.index(END) + len(END)])
            client.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            connection.close()
            return
        # As `connections.linger`, without a thread.
        connection.timeout = time.monotonic() + LINGER_S
        self.leaving.append(connection)
        self.watch(connection, self.on_leaving_socket_readable)

    def on_leaving_socket_readable(self, connection: Connection, client: socket.socket) -> None:
        try:
            if client.recv(PIECE):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.let_go(connection)

    def let_go(self, connection: Connection) -> None:
        self.leaving.remove(connection)
        self.poller.unregister(connection.sock)
        self.nr_conns -= 1
        connection.close()
