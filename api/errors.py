"""Every error as JSON: `{"title", "description", "code"}`; the code is stable, the texts are for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import falcon
import msgspec

from access.errors import SettingUnavailable
from api.headers import last_answer
from database.errors import DatabaseUnavailable, SchemaMissing, StatementTooSlow
from storage.errors import StorageUnavailable
from telemetry.log import get_logger

RETRY_AFTER_S = 1
DESCRIPTIONS = {
    "not_found": "Nothing is served at this address.",
    "method_not_allowed": "This address does not take this method; the Allow header names those it takes.",
}
# What may be there again in a moment, and what is said of it. Why it is away is for the log, not for clients.
AWAY: dict[type[Exception], str] = {
    StatementTooSlow: "The database took too long to answer this; try again later, or ask for less.",
    DatabaseUnavailable: "The database cannot be reached at the moment; try again.",
    SchemaMissing: "The database cannot be reached at the moment; try again.",
    StorageUnavailable: "The storage of batches cannot be reached at the moment; try again.",
    SettingUnavailable: "Tokens cannot be checked at the moment; try again.",
}
# What was asked is dear, or the database has too much to do: neither passes in a second, and each that asks
# again takes a thread for as long as it was waited for.
TOO_SLOW_RETRY_AFTER_S = 10
log = get_logger("rates.api")


class Error(msgspec.Struct, frozen=True):
    """`code` is stable, for programs; the texts are for people and may change."""

    title: str
    description: str
    code: str


class BadParameter(falcon.HTTPBadRequest):
    """400: a query parameter is missing or wrong; names it, what was found and what is allowed."""

    def __init__(self, description: str, *, code: str) -> None:
        super().__init__(title="Bad parameter", description=description)
        self.error_code = code


class Refusal(falcon.HTTPError):
    """Any other fault of the client's; titled by its status."""

    def __init__(
        self, status: int, code: str, description: str, headers: Mapping[str, str] | None = None
    ) -> None:
        title = HTTPStatus(status).phrase.capitalize()
        super().__init__(status, title=title, description=description, headers=dict(headers or {}))
        self.error_code = code


class Busy(falcon.HTTPServiceUnavailable):
    """503: as many requests that last are being served as may be."""

    def __init__(self) -> None:
        super().__init__(
            title="Service unavailable",
            description="Too many requests that take long are being served at the moment; try again.",
            retry_after=RETRY_AFTER_S,
        )
        self.error_code = "busy"


def add_error_handlers(app: falcon.App) -> None:
    app.set_error_serializer(serialize)
    for away in AWAY:
        app.add_error_handler(away, unavailable)
    app.add_error_handler(Exception, unexpected)


def serialize(_request: falcon.Request, response: falcon.Response, error: falcon.HTTPError) -> None:
    """JSON whatever the client accepts: an error that cannot be read helps nobody."""
    # Falcon's own errors are titled by their status, "404 Not Found", and told apart by it.
    title = (error.title or falcon.code_to_http_status(error.status_code)).lstrip("0123456789 ")
    code = getattr(error, "error_code", title.lower().replace(" ", "_"))
    description = error.description or DESCRIPTIONS.get(code, title)
    response.data = msgspec.json.encode(Error(title, description, code))
    response.content_type = falcon.MEDIA_JSON
    response.delete_header("Content-Encoding")  # of what was going to be sent instead


def refusal(status: int, message: str, code: str = "", *lines: str) -> bytes:
    """A whole response, for a request that no app sees; `lines` are more of its head."""
    reason = falcon.code_to_http_status(status)[4:]
    code = code or reason.lower().replace(" ", "_")
    # In ASCII, since the message may quote bytes that are no text.
    body = json.dumps({"title": reason, "description": message or reason, "code": code}).encode("ascii")
    return last_answer(status, body, *lines)


def unavailable(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """503: the same request may succeed in a moment."""
    log.warning("something was away", **asked(request), reason=str(error))
    description = next(text for kind, text in AWAY.items() if isinstance(error, kind))
    too_slow = isinstance(error, StatementTooSlow)
    away = falcon.HTTPServiceUnavailable(
        title="Service unavailable",
        description=description,
        retry_after=TOO_SLOW_RETRY_AFTER_S if too_slow else RETRY_AFTER_S,
    )
    if too_slow:
        away.error_code = "too_slow"  # ty: ignore[missing-attribute]  # as `serialize` looks for it
    raise away from error


def asked(request: falcon.Request) -> dict[str, Any]:
    """What was asked for, as the route has it: in an address, a token may stand by mistake."""
    return {"method": request.method, "route": request.uri_template}


def unexpected(
    request: falcon.Request, _response: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    """500: a fault of ours, in the log with its trace, and nothing of it in the answer."""
    log.error("a request failed", **asked(request), exc_info=error)
    raise falcon.HTTPInternalServerError(
        title="Internal server error", description="The server failed to answer; it has been logged."
    ) from error
