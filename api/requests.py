"""What every request has: an id, which its answer, its log lines and what it brings tell; and an end."""

from __future__ import annotations

from random import getrandbits

import falcon

from api.errors import BadParameter
from telemetry.log import bind_request

HEADER = "X-Request-ID"
CHARS_MAX = 128
# Below what gunicorn takes of a request's first line, so that nearly all that is too long is refused here, in
# plain words. Two codes of 100 characters, each of up to twelve in %XX, take 2,400.
QUERY_CHARS_MAX = 4_096


class RequestIds:
    """Takes the id that a request brings, or makes one. Refuses a query that is too long for anything."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.env.get("HTTP_X_REQUEST_ID", "")
        sound = 0 < len(given) <= CHARS_MAX and given.isascii() and given.isprintable()
        req.context.id = request_id = given if sound else getrandbits(128).to_bytes(16).hex()
        bind_request(request_id)
        resp.set_header(HEADER, request_id)
        if len(req.query_string) > QUERY_CHARS_MAX:
            found = f"The query has {len(req.query_string):,} characters"
            reason = f"{found}; at most {QUERY_CHARS_MAX:,} are allowed."
            raise BadParameter(reason, code="query_too_long")
