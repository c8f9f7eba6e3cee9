"""What the head of every answer says, whoever writes it: the app, gunicorn itself, or `worker`.

It stands in the head as bytes that do not change. As headers of the app's it would be set, checked and joined
anew for each answer, which costs 5 us of a processor; so it costs 1.3 us.
"""

from __future__ import annotations

from collections.abc import Sequence

import falcon
from gunicorn.http.wsgi import Response

POLICY = "Content-Security-Policy"
# Nothing that is answered is a page, but `/docs`, which says of itself what it may load.
CLOSED_POLICY = f"{POLICY}: default-src 'none'; frame-ancestors 'none'\r\n"
ALWAYS = (
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nVary: Accept, Accept-Encoding\r\n"
)
# Where the app says nothing else: what a browser or a shared cache keeps, it asks about each time.
ASKED_ABOUT = "Cache-Control: no-cache\r\n"
# A year. Said only over HTTPS, as RFC 6797 (7.2) wants it, which the load balancer tells us.
OVER_HTTPS = "Strict-Transport-Security: max-age=31536000\r\n"
HTTPS = ("X-FORWARDED-PROTO", "https")
# Of the app's headers, those that most answers have: none is one between two hops, or changes how to answer.
USUAL = frozenset(["content-type", "data-version", "etag", "x-request-id"])


class SafeResponse(Response):
    """gunicorn's, which names no server, and says what a browser must not do with an answer."""

    usual = ""

    def process_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """gunicorn looks at each name in five ways, 0.7 us each, most of them for the same ones each time."""
        others = []
        for name, value in headers:
            if name in USUAL and value.isascii() and value.isprintable():
                self.usual += f"{name}: {value}\r\n"
            else:
                others.append((name, value))
        super().process_headers(others)

    def default_headers(self) -> list[str]:
        head = super().default_headers()
        told = dict(self.headers)
        # In the place of the server's name.
        head[1] = ALWAYS
        head.append(self.usual)
        if POLICY.lower() not in told:
            head.append(CLOSED_POLICY)
        if "cache-control" not in told:
            head.append(ASKED_ABOUT)
        if HTTPS in self.req.headers:
            head.append(OVER_HTTPS)
        return head


def last_answer(status: int, body: bytes, *lines: str) -> bytes:
    """A whole answer in JSON, after which the connection is closed; `lines` are more of its head."""
    head = (
        f"HTTP/1.1 {falcon.code_to_http_status(status)}",
        f"{ALWAYS}{CLOSED_POLICY}Cache-Control: no-store",
        "Connection: close",
        f"Content-Type: {falcon.MEDIA_JSON}",
        f"Content-Length: {len(body)}",
        *lines,
    )
    return "\r\n".join([*head, "", ""]).encode("ascii") + body
