"""One request to an address that somebody else has chosen, from inside our network.

So the name is resolved once, only what is public (or, where that is allowed, this machine) is connected to,
by that very address, no redirect is followed, little is read, and all of it is over after REQUEST_S.
`callbacks` says who is told what.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address

from access.callback_urls import CallbackUrl, is_loopback, is_public
from loader.errors import LoaderError

REQUEST_S = 10.0
ANSWER_BYTES_MAX = 4_096
NO_CALL = "it cannot be called"


class Unanswered(LoaderError):
    """There was no answer; the message says why in a few words, and never has the address in it."""


@dataclass
class Call:
    """A request that a thread of its own makes, since nothing else bounds the time that a name's resolving
    takes, or an answer that comes a byte at a time."""

    url: CallbackUrl
    headers: Mapping[str, str]
    body: bytes
    status: int | None = None
    fault: str = NO_CALL
    _wire: socket.socket | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)

    def status_within(self, timeout_s: float = REQUEST_S) -> int:
        """The answer's. Raises Unanswered."""
        thread = threading.Thread(target=self._run, daemon=True, name="callback")
        thread.start()
        thread.join(timeout_s)
        late, status = thread.is_alive(), self.status
        self._hang_up()  # to the thread, the end of a header that does not end
        if status is None:
            raise Unanswered(f"no answer within {timeout_s:g} s" if late else self.fault)
        return status

    def _run(self) -> None:
        try:
            self.status = self._exchange()
        except (OSError, HTTPException, ValueError, Unanswered) as error:
            self.fault = words_of(error)

    def _exchange(self) -> int:
        with connect(self.url) as line:
            self._wire = line.dup()  # the same connection, whatever becomes of `line` below
            if self._over:
                self._hang_up()
            with closing(client(self.url, line)) as connection:
                connection.request("POST", self.url.target, self.body, dict(self.headers))
                with connection.getresponse() as answer:
                    self.status = answer.status
                    with suppress(OSError, HTTPException):
                        answer.read(ANSWER_BYTES_MAX)
        return self.status

    def _hang_up(self) -> None:
        """Ends what the thread may still be waiting for."""
        self._over = True
        wire, self._wire = self._wire, None
        if wire is not None:
            with wire, suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)


def connect(url: CallbackUrl) -> socket.socket:
    """To one of the addresses that the host has at this moment and that may be called."""
    found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    allowed = [address for address in addresses if may_be_called(address, loopback=url.loopback)]
    if not allowed:
        raise Unanswered(f"it resolves to {', '.join(addresses)}, which is not public")
    return connect_to_first(allowed, url.port)


def may_be_called(address: str, *, loopback: bool) -> bool:
    known = ip_address(address)
    return is_loopback(known) if loopback else is_public(known)


def connect_to_first(addresses: list[str], port: int) -> socket.socket:
    """Of several, one that does not answer leaves time for the next."""
    timeout_s = REQUEST_S / len(addresses)
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout_s)
    return socket.create_connection((addresses[-1], port), timeout_s)


def client(url: CallbackUrl, line: socket.socket) -> HTTPConnection:
    """HTTP over a connection that is there, in TLS whose certificate is the host's."""
    line.settimeout(REQUEST_S)
    if url.scheme == "http":
        connection = HTTPConnection(url.host, url.port)
        connection.sock = line
    else:
        context = ssl.create_default_context()
        connection = HTTPSConnection(url.host, url.port, context=context)
        connection.sock = context.wrap_socket(line, server_hostname=url.host.rstrip("."))
    connection.auto_open = False
    return connection


def words_of(error: Exception) -> str:
    """What went wrong, by its class, in words that nobody outside has chosen."""
    words = NO_CALL
    match error:
        case Unanswered():
            words = str(error)
        case ssl.SSLCertVerificationError():
            words = f"its certificate is not good: {error.verify_message}"
        case ssl.SSLError():
            words = f"TLS failed: {error.reason or 'the connection ended'}"
        case TimeoutError():
            words = f"no answer within {REQUEST_S:g} s"
        case socket.gaierror():
            words = "its name does not resolve"
        case OSError():
            words = (error.strerror or "the connection ended").lower()
        case HTTPException():
            words = "what it answers is not HTTP"
    return words


def status_words(status: int) -> str:
    """A status as people know it."""
    known = status in HTTPStatus.__members__.values()
    return f"{status} {HTTPStatus(status).phrase}" if known else str(status)
