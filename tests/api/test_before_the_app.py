"""What gunicorn makes of a request before the app is asked: the log lines of what it refuses, and
headers that it would follow."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.api.service import AWAY, Service
from tests.waiting import wait_until

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Of one thread, which takes all requests one after another."""
    own = {"WEB_CONCURRENCY": "1", "API_THREADS": "1"}
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
