"""What every answer says beside its content, whoever writes it, and what none says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from api.headers import SafeResponse
from tests.api.service import Service

QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=A&dest_code=B"
OVER_HTTPS = "strict-transport-security"
HSTS = "max-age=31536000"
REQUESTS = [
    f"GET {QUESTION} HTTP/1.1\r\nHost: x\r\n",
    f"GET {QUESTION} HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n",
    "GET /rates HTTP/1.1\r\nHost: x\r\n",
    "GET /none HTTP/1.1\r\nHost: x\r\n",
    "HEAD /health/live HTTP/1.1\r\nHost: x\r\n",
    "OPTIONS /rates HTTP/1.1\r\nHost: x\r\n",
    "POST /batches HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n",
    "GET / HTTP/9.9\r\nHost: x\r\n",
    f"GET /{'x' * 5000} HTTP/1.1\r\nHost: x\r\n",
]


@pytest.fixture(scope="module")
def service(ingestion: Service) -> Service:
    """The one that all modules without prices share."""
    return ingestion


def head_of(service: Service, request: str) -> dict[str, str]:
    head = service.raw(f"{request}Connection: close\r\n\r\n".encode()).partition(b"\r\n\r\n")[0].decode()
    lines = [line.partition(": ") for line in head.split("\r\n")[1:]]
    names = [name.lower() for name, _, _ in lines]
    assert len(names) == len(set(names)), head
    return {name.lower(): value for name, _, value in lines}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request[:30].replace("\r\n", " "))
def test_every_answer_says_what_a_browser_must_not_do_and_none_names_the_server(
    service: Service, request_: str
) -> None:
    head = head_of(service, request_)
    assert head["x-content-type-options"] == "nosniff"
    assert head["referrer-policy"] == "no-referrer"
    assert head["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in head
    assert OVER_HTTPS not in head


def test_only_over_https_an_answer_demands_it_for_later(service: Service) -> None:
    for scheme, demanded in (("https", HSTS), ("http", None)):
        request = f"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: {scheme}\r\n"
        assert head_of(service, request).get(OVER_HTTPS) == demanded


def test_a_page_that_says_what_it_may_load_is_not_contradicted() -> None:
    request: Any = SimpleNamespace(version=(1, 1), method="GET", headers=[], should_close=lambda: False)
    answer = SafeResponse(request, None, SimpleNamespace())
    own = [("content-security-policy", "default-src 'self'"), ("content-length", "0")]
    answer.start_response("200 OK", own)
    head = "".join(answer.default_headers()).lower()
    assert "content-security-policy" not in head
    assert "nosniff" in head
