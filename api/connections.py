"""What has to be done by hand on a client's connection: when to let it send, how long to wait, how to close.

`server` hands these to gunicorn's hooks, and `intake` reads bodies.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gunicorn.util

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
    if response is None or not response.should_close():
        return
    connection = request.unreader.sock
    deadline = time.monotonic() + LINGER_S
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65_536):
                break
        connection.shutdown(socket.SHUT_RDWR)


def write_refusal(connection: socket.socket, status: int, _reason: str, message: str) -> None:
    """What gunicorn refuses by itself. It quotes it, behind a colon, and a token may be in it; and of some it
    has the right status by a wrong name."""
    told = REFUSALS.get(status) or message.partition(": ")[0]
    gunicorn.util.write_nonblock(connection, refusal(status, told))
