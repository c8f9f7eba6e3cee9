"""Every answer that a test of the API gets is held against what /openapi.json says of it.

So the document cannot fall behind: a status, header, key or code that it lacks fails whichever test met it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from api.openapi import PLACEHOLDER, encode_document

# Said of the connection, and of how a body is sent.
UNTOLD = {"connection", "content-length", "content-type", "date", "transfer-encoding"}


class ConformingClient(httpx.Client):
    """What is streamed is not looked at, nor what no operation answers: another address, another method.
    `private_batches` as the API that answers has it."""

    private_batches = False

    def send(self, request: httpx.Request, *, stream: bool = False, **more: Any) -> httpx.Response:
        response = super().send(request, stream=stream, **more)
        found = None if stream else find_operation(request.method, request.url.path)
        if found and response.status_code != 405:
            assert_conforms(*found, request.method, response, private_batches=self.private_batches)
        return response


@cache
def document(*, private_batches: bool = False) -> dict[str, Any]:
    return json.loads(encode_document(private_batches=private_batches))


@cache
def find_operation(method: str, path: str) -> tuple[str, str] | None:
    """Path and method as the document has them; what is written out goes before a placeholder."""
    method = "get" if method == "HEAD" else method.lower()
    matching = [
        each
        for each, methods in document()["paths"].items()
        if method in methods and re.fullmatch(PLACEHOLDER.sub("[^/]+", each), path.rstrip("/") or "/")
    ]
    return (min(matching, key=lambda each: each.count("{")), method) if matching else None


def assert_conforms(
    path: str, method: str, sent: str, response: httpx.Response, *, private_batches: bool = False
) -> None:
    where = f"{sent} {path}: {response.status_code} {dict(response.headers)} {response.text[:500]}"
    responses = document(private_batches=private_batches)["paths"][path][method]["responses"]
    told = responses.get(str(response.status_code))
    assert told, f"not in the document: {where}"
    told_headers = document()["components"]["headers"] | told["headers"]
    headers = {name.lower(): header for name, header in told_headers.items()}
    always = {name for name, header in headers.items() if header.get("required")}
    given = response.headers.keys()
    assert always <= given, f"lacks {always - given}: {where}"
    assert given - headers.keys() <= UNTOLD, f"{given - headers.keys() - UNTOLD} not in the document: {where}"
    if sent == "HEAD" or not response.content:
        return
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in told["content"], f"its type is not in the document: {where}"
    if media_type == "application/json":
        faults = [
            str(fault)
            for fault in validator(path, method, response.status_code, private_batches).iter_errors(
                response.json()
            )
        ]
        assert not faults, f"{faults} in {where}"


@cache
def validator(path: str, method: str, status: int, private_batches: bool) -> Any:
    """Stricter than the document, to which keys may be added: nothing is answered that it does not name."""
    responses = document(private_batches=private_batches)["paths"][path][method]["responses"]
    components = {
        "schemas": {
            name: schema | {"additionalProperties": False}
            for name, schema in document()["components"]["schemas"].items()
        }
    }
    schema = responses[str(status)]["content"]["application/json"]["schema"] | {"components": components}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
