"""Every error as JSON: `{"title", "description", "code"}`; the code is stable, the texts are for people."""

from __future__ import annotations

import json
import logging
from typing import Any

import falcon
import msgspec

from database.errors import DatabaseUnavailable, SchemaMissing

RETRY_AFTER_S = 1
DESCRIPTIONS = {
    "not_found": "Nothing is served at this address.",
    "method_not_allowed": "This address does not take this method; the Allow header names those it takes.",
}
log = logging.getLogger("rates.api")


class BadParameter(falcon.HTTPBadRequest):
    """400: a query parameter is missing or wrong; names it, what was found and what is allowed."""

    def __init__(self, description: str, *, code: str) -> None:
        super().__init__(title="Bad parameter", description=description)
        self.error_code = code


def add_error_handlers(app: falcon.App) -> None:
    app.set_error_serializer(serialize)
    app.add_error_handler(DatabaseUnavailable, database_unavailable)
    app.add_error_handler(SchemaMissing, database_unavailable)
    app.add_error_handler(Exception, unexpected)


def serialize(_request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """JSON whatever the client accepts: an error that cannot be read helps nobody."""
    # Falcon's own errors are titled by their status, "404 Not Found", and told apart by it.
    title = (error.title or falcon.code_to_http_status(error.status_code)).lstrip("0123456789 ")
    code = getattr(error, "error_code", title.lower().replace(" ", "_"))
    body = {"title": title, "description": error.description or DESCRIPTIONS.get(code, title), "code": code}
    response.data = msgspec.json.encode(body)
    response.content_type = falcon.MEDIA_JSON


def refusal(status: int, reason: str, message: str) -> bytes:
    """A whole response, for a request so broken that no app sees it."""
    code = reason.lower().replace(" ", "_")
    # In ASCII, since the message may quote bytes that are no text.
    body = json.dumps({"title": reason, "description": message or reason, "code": code})
    headers = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        f"Content-Type: {falcon.MEDIA_JSON}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*headers, "", body]).encode("ascii")


def database_unavailable(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """503: the same request may succeed in a moment. What went wrong is for the log, not for the client."""
    log.warning("%s %s: %s", request.method, request.path, error)
    unavailable = falcon.HTTPServiceUnavailable(
        title="Service unavailable",
        description="The database cannot be reached at the moment; try again.",
        retry_after=RETRY_AFTER_S,
    )
    raise unavailable from error


def unexpected(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """500: a fault of ours, in the log with its trace, and nothing of it in the answer."""
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    raise falcon.HTTPInternalServerError(
        title="Internal server error", description="The server failed to answer; it has been logged."
    ) from error
