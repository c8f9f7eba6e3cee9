"""Whoever is told how batches ended: a real HTTP server, and how it knows that it is told by us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from local.postgres import HOST


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """What a receiver does, by the specification: any of several signatures may be the one."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [signature.split(",", 1) for signature in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, expected) for version, value in given)


@dataclass(frozen=True)
class Request:
    """One that came; the names of its headers are small."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)


@dataclass
class Receiver:
    """Answers with these statuses, one a request, the last one from then on; `held` makes it wait before."""

    statuses: list[int] = field(default_factory=lambda: [204])
    location: str | None = None
    requests: list[Request] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    scheme: str = "http"

    def __post_init__(self) -> None:
        self.held.set()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{HOST}:{self.port}/told?token=secret"

    def take(self, request: Request) -> int:
        self.requests.append(request)
        self.held.wait(30)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@contextmanager
def receiving(receiver: Receiver, certificate: Path | None = None) -> Generator[Receiver]:
    """It listens while the block runs; over TLS where it has a `certificate`, beside which its key lies."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(Request(self.path, headers, body)))
            if receiver.location is not None:
                self.send_header("location", receiver.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        receiver.port = server.server_address[1]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            server.socket = context.wrap_socket(server.socket, server_side=True)
            receiver.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield receiver
        finally:
            receiver.held.set()
            server.shutdown()
            thread.join()
