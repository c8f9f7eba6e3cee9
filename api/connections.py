"""What has to be done by hand on a client's connection: when to let it send, how long to wait, how to close.

`server` hands these to gunicorn's hooks, `line` gives connections their reader, and `intake` reads bodies.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import gunicorn.util
from gunicorn.http.unreader import SocketUnreader

from api.cors import END, told_to_pages
from api.errors import refusal

# For each piece of a request or an answer: whoever sends or takes nothing must not keep a thread for ever.
STALLED_S = 30
# How long a client that is refused may go on sending before it is cut off, maybe without having read why.
LINGER_S = 2.0
# Of a request's first line, the most that gunicorn can be told.
LINE_BYTES_MAX = 8_190
# What gunicorn says of it is in its own terms, or nothing.
REFUSALS = {
    414: f"The request's first line, method and address, is longer than {LINE_BYTES_MAX:,} bytes.",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# What was read of the head of the request that this context is about (`worker.serve`), up to so many bytes.
HEAD: ContextVar[bytes] = ContextVar("head", default=b"")
HEAD_BYTES_MAX = 65_536
# The rest of a head that is refused in the middle is on its way, or does not come.
HEAD_REST_S = 0.2


class Reader(SocketUnreader):
    """gunicorn's, which keeps a head: gunicorn itself does not tell what stands in one that it refuses."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        piece = super().chunk(size_hint)
        if size_hint is None and len(head := HEAD.get()) < HEAD_BYTES_MAX:
            HEAD.set(head + piece)
        return piece


def prepare(request: Any) -> None:
    """Before the app is asked.

    A connection is promised to no further request while this one's body may stay unread: gunicorn reads past
    64 KiB of it at most; then it closes, and has already said that it would not
    (`test_a_connection_with_an_unread_body_is_not_promised_to_the_next_request`). And a client that waits to
    hear whether to send its body at all is told by whoever reads it (`let_send`), not by gunicorn.
    """
    if any(name in ("CONTENT-LENGTH", "TRANSFER-ENCODING") for name, _ in request.headers):
        request.force_close()
    request._expected_100_continue = False  # there is no other way to say so
    request.unreader.sock.settimeout(STALLED_S)


def let_send(environ: Mapping[str, Any]) -> None:
    """Tells a client that has asked first that its body is wanted."""
    if environ.get("HTTP_EXPECT", "").lower() == "100-continue" and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
        environ["gunicorn.socket"].sendall(CONTINUE)


def linger(request: Any, response: Any) -> None:
    """After the answer, where the connection is to close: lets the client read it before it does.

    What the client still sends into a closed connection would take the answer away from it (RFC 9112, 9.6).
    gunicorn waits as well, but in the one thread that accepts connections, and everybody with it.
    """
    if response is not None and response.should_close():
        close(request.unreader.sock)


def close(connection: socket.socket) -> None:
    """Once the client has read all, or LINGER_S are over."""
    deadline = time.monotonic() + LINGER_S
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65_536):
                break
        connection.shutdown(socket.SHUT_RDWR)


def write_refusal(
    origins: tuple[str, ...], connection: socket.socket, status: int, _reason: str, message: str
) -> None:
    """What gunicorn refuses by itself. It quotes it, behind a colon, and a token may be in it; and of some it
    has the right status by a wrong name. Pages of `origins` may read it."""
    told = REFUSALS.get(status) or message.partition(": ")[0]
    head = whole_head(connection) if origins else b""
    gunicorn.util.write_nonblock(connection, told_to_pages(refusal(status, told), head, origins))
    close(connection)


def whole_head(connection: socket.socket) -> bytes:
    """With what gunicorn has not read of it, if that comes in time."""
    head, deadline = HEAD.get(), time.monotonic() + HEAD_REST_S
    with suppress(OSError):
        while END not in head and len(head) < HEAD_BYTES_MAX and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            piece = connection.recv(HEAD_BYTES_MAX)
            if not piece:
                break
            head += piece
    return head
