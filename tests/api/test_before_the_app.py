"""What gunicorn makes of a request before the app is asked: refusals, their headers and log lines, and
headers that it would follow."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.api.service import AWAY, Service
from tests.waiting import wait_until

PAGE, OTHER_PAGE = "https://app.example.com", "https://other.example.com"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
LONG = b"x" * 9_000
REFUSED = {
    "400 line": (400, b"GET / HTTP/9.9\r\nHost: x\r\n%b\r\n"),
    "400 header": (400, b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n%b\r\n"),
    "414": (414, b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n%b\r\n"),
    "417": (417, b"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n%b\r\n"),
    "431 long, before": (431, b"GET / HTTP/1.1\r\nHost: x\r\n%bX: " + LONG + b"\r\n\r\n"),
    "431 long, behind": (431, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + LONG + b"\r\n%b\r\n"),
    "431 many": (431, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: x\r\n" * 200 + b"%b\r\n"),
    "501": (501, b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: tea\r\n%b\r\n"),
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Of one thread, which takes all requests one after another; pages of two origins may ask."""
    own = {"WEB_CONCURRENCY": "1", "API_THREADS": "1", "RATES_CORS_ORIGINS": f"{PAGE},{OTHER_PAGE}"}
    with Service(AWAY | own) as service:
        yield service


def ask(service: Service, request: bytes) -> tuple[int, httpx.Headers, dict[str, str]]:
    """Status, headers and body of the answer to bytes."""
    head, _, body = service.raw(request).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return int(first.split()[1]), httpx.Headers(headers), json.loads(body)


# --- log lines ---------------------------------------------------------------------------------------------


def test_the_log_line_of_a_refused_request_has_no_other_requests_id(service: Service) -> None:
    before = len(service.lines)
    for number in range(3):
        status, headers, _ = ask(service, LIVE + f"X-Request-ID: of-request-{number}\r\n\r\n".encode())
        assert (status, headers["x-request-id"]) == (200, f"of-request-{number}")
        assert ask(service, b"GET / HTTP/9.9\r\n\r\n")[0] == 400
    wait_until(lambda: len(refused_lines(service, before)) == 3)
    assert not any("request_id" in line for line in refused_lines(service, before))


def refused_lines(service: Service, since: int) -> list[dict[str, str]]:
    return [json.loads(line) for line in service.lines[since:] if "Invalid request" in line]


# --- pages of other origins --------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
def test_a_page_may_read_what_gunicorn_refuses(service: Service, status: int, request_: bytes) -> None:
    for origin in (PAGE, OTHER_PAGE):
        found, headers, body = ask(service, request_ % f"oRiGin: {origin}\r\n".encode())
        assert found == status
        assert body.keys() == {"title", "description", "code"}
        assert headers["content-type"] == "application/json"
        assert headers["access-control-allow-origin"] == origin
        assert "Retry-After" in headers["access-control-expose-headers"]
        assert headers["vary"] == "Accept, Accept-Encoding, Origin"


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("origin", [b"", b"Origin: https://evil.example.com\r\n"], ids=["none", "other"])
def test_any_other_page_may_not(service: Service, status: int, request_: bytes, origin: bytes) -> None:
    found, headers, _ = ask(service, request_ % origin)
    assert (found, headers["vary"]) == (status, "Accept, Accept-Encoding, Origin")
    assert not [name for name in headers if name.startswith("access-control-")]


# --- headers that gunicorn would follow --------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /elsewhere", "SCRIPT_NAME: /health", "PATH_INFO: /elsewhere", "REMOTE_ADDR: 1.2.3.4",
        "X-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl\r\nX-Forwarded-Ssl: off",
        "Script-Name: /elsewhere", "Forwarded: for=x;proto=ftp", "X-Forwarded-Prefix: /elsewhere",
    ],
)  # fmt: skip
def test_no_header_says_how_the_server_is_reached(service: Service, header: str) -> None:
    """Not even one that comes from this machine, which gunicorn trusts unless told otherwise."""
    status, headers, body = ask(service, LIVE + f"{header}\r\n\r\n".encode())
    assert (status, body) == (200, {"status": "live"}), headers
