"""Pages of other origins that may ask from a browser: RATES_CORS_ORIGINS. Wired only where there are any."""

from __future__ import annotations

import falcon

ANY = "*"
# What a page may read of an answer, besides what every page may.
EXPOSED = (
    "Content-Location",
    "Data-Version",
    "ETag",
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
