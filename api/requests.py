"""What every request has: an id, which its answer, its log lines and what it brings tell."""

from __future__ import annotations

import os

import falcon

from telemetry.log import bind

HEADER = "X-Request-ID"
CHARS_MAX = 128


class RequestIds:
    """Takes the id that a request brings, or makes one."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header(HEADER) or ""
        sound = 0 < len(given) <= CHARS_MAX and given.isascii() and given.isprintable()
        req.context.id = given if sound else os.urandom(16).hex()
        bind(request_id=req.context.id)
        resp.set_header(HEADER, req.context.id)
