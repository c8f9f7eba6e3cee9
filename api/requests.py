"""What every request has: an id, which its answer, its log lines and what it brings tell."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import uuid4

import falcon

from telemetry.log import bound

HEADER = "X-Request-ID"
CHARS_MAX = 128


class RequestIds:
    """Takes the id that a request brings, or makes one."""

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        given = req.get_header(HEADER) or ""
        sound = 0 < len(given) <= CHARS_MAX and given.isascii() and given.isprintable()
        req.context.id = given if sound else uuid4().hex
        req.context.bound = ExitStack()
        req.context.bound.enter_context(bound(request_id=req.context.id))
        resp.set_header(HEADER, req.context.id)

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,  # noqa: ARG002
        resource: object,  # noqa: ARG002
        req_succeeded: bool,  # noqa: ARG002
    ) -> None:
        req.context.bound.close()
