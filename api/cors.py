"""Pages of other origins that may ask from a browser: RATES_CORS_ORIGINS. Wired only where there are any."""

from __future__ import annotations

import re

import falcon

ANY = "*"
ORIGIN = re.compile(rb"\r\norigin:[ \t]*([^\r\n]*)", re.IGNORECASE)
END = b"\r\n\r\n"  # of a head
# What a page may read of an answer, besides what every page may.
EXPOSED = (
    "Content-Location",
    "Data-Version",
    "ETag",
    "Faults-Not-Listed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)


class Cors(falcon.CORSMiddleware):
    """Falcon's, without credentials: a browser sends no cookie, and a page its token by itself."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        super().__init__(allow_origins=ANY if ANY in origins else origins, expose_headers=EXPOSED)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        # Or a cache would give one page what names another.
        if self.allow_origins != ANY:
            resp.append_header("Vary", "Origin")
        super().process_response(req, resp, resource, req_succeeded)


def told_to_pages(answer: bytes, request: bytes, origins: tuple[str, ...]) -> bytes:
    """The same of an answer that no app writes, to the request that begins so."""
    if not origins:
        return answer
    lines = [] if ANY in origins else ["Vary: Origin"]
    match = ORIGIN.search(request.partition(END)[0])
    origin = match[1].decode("latin-1").strip() if match else None
    if origin is not None and (ANY in origins or origin in origins):
        lines.append(f"Access-Control-Allow-Origin: {ANY if ANY in origins else origin}")
        lines.append(f"Access-Control-Expose-Headers: {', '.join(EXPOSED)}")
    head, _, body = answer.partition(END)
    return b"\r\n".join([head, *(line.encode("latin-1") for line in lines)]) + END + body
