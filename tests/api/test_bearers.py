"""Who may write, and that nothing happens before that is known; what is logged of it, and no token ever."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from access.tokens import WRITE, entry_of
from local.postgres import HOST
from tests.api.ingestion import (
    CSV,
    NOBODY,
    READER,
    TOKENS,
    WRITER,
    accepted,
    bearing,
    keys_in,
    post,
    refused,
    under_way,
    works_in,
)
from tests.api.service import AWAY, Service, rest
from tests.batch_storage import BatchStorage
from tests.waiting import TIMEOUT_S, wait_until

WRITES = [
    ("POST", "/batches"),
    ("POST", "/batches/uploads"),
    ("POST", f"/batches/{NOBODY}/upload"),
    ("DELETE", f"/batches/{NOBODY}"),
]
# What each is answered with.
UNKNOWN = {
    None: "Bearer",
    "": "Bearer",
    WRITER: "Bearer",
    "Bearer": "Bearer",
    f"Basic {WRITER}": "Bearer",
    f"Bearer {WRITER} {WRITER}": "Bearer",
    f"Bearer {WRITER},": "Bearer",
    f"Bearer {WRITER[:-1]}": 'Bearer error="invalid_token"',
    f"Bearer {WRITER.upper()}": 'Bearer error="invalid_token"',
}


def ask(service: Service, method: str, path: str, authorization: str | None) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    content = CSV if method == "POST" else None
    return service.client.request(method, path, content=content, headers=headers)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_without_a_token_that_is_known_nothing_is_written(
    ingestion: Service, store: BatchStorage, method: str, path: str
) -> None:
    before = keys_in(store), under_way(store)
    works_in(store)
    for authorization, challenge in UNKNOWN.items():
        answer = ask(ingestion, method, path, authorization)
        reason = refused(answer, 401, "unauthorized")
        assert WRITER[:-1] not in reason
        assert answer.headers["www-authenticate"] == challenge, authorization
    assert (keys_in(store), under_way(store)) == before
    assert works_in(store) == set()


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_with_a_token_that_may_only_read_nothing_is_written(
    ingestion: Service, store: BatchStorage, method: str, path: str
) -> None:
    before = keys_in(store)
    answer = ask(ingestion, method, path, f"Bearer {READER}")
    assert refused(answer, 403, "forbidden") == "The token 'reader' may read, not write."
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="write"'
    assert keys_in(store) == before


def test_reading_needs_no_token_and_minds_no_wrong_one(ingestion: Service) -> None:
    for authorization in (None, "Bearer wrong", f"Bearer {READER}"):
        assert ask(ingestion, "GET", "/batches", authorization).status_code == 200


def test_the_name_of_the_scheme_may_be_written_as_one_likes(ingestion: Service) -> None:
    refused(ask(ingestion, "POST", "/batches?x=1", f"bEARER  {WRITER}"), 400, "unknown_parameter")


def test_without_any_tokens_nobody_may_write() -> None:
    with Service(AWAY | {"WEB_CONCURRENCY": "1"}) as service:
        refused(ask(service, "POST", "/batches", f"Bearer {WRITER}"), 401, "unauthorized")


def test_while_tokens_cannot_be_read_it_says_so_and_once_they_can_it_goes_on(
    batch_storage: BatchStorage, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    own = {"WEB_CONCURRENCY": "1", "RATES_API_TOKENS": str(file)}
    with Service(AWAY | batch_storage.environment() | own) as service:
        reason = refused(post(service), 503, "service_unavailable")
        assert reason == "Tokens cannot be checked at the moment; try again."
        file.write_text(TOKENS["RATES_API_TOKENS"])
        wait_until(lambda: post(service).status_code == 202)


# --- before the body ---------------------------------------------------------------------------------------


@pytest.fixture
def connection(ingestion: Service) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, ingestion.port), timeout=TIMEOUT_S) as connection:
        yield connection


def head(token: str, *lines: str) -> bytes:
    own = ("POST /batches HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    return "\r\n".join([*own, *lines, "", ""]).encode()


def test_who_asks_whether_to_send_the_body_is_refused_before_it_is_sent(connection: socket.socket) -> None:
    connection.sendall(head("wrong", f"Content-Length: {2**30}", "Expect: 100-continue"))
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 401 "), "and not 100 Continue"
    assert b"connection: close" in answer.lower()


def test_who_asks_and_may_is_told_to_send_it(connection: socket.socket) -> None:
    connection.sendall(head(WRITER, f"Content-Length: {len(CSV)}", "Expect: 100-continue"))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(CSV)
    assert rest(connection).startswith(b"HTTP/1.1 202 ")


def test_who_sends_all_of_it_nevertheless_can_read_why_it_was_refused(connection: socket.socket) -> None:
    """A connection that is closed while much is unread takes the answer away from who has not read it."""
    connection.sendall(head("wrong", f"Content-Length: {50 * 2**20}"))
    for _ in range(50):
        connection.sendall(b"x" * 2**20)
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "unauthorized"


def test_who_does_not_close_a_connection_keeps_nobody_else_waiting(ingestion: Service) -> None:
    """The API has it still when others have been answered, at the latest in a later try."""

    def others_are_answered_meanwhile() -> bool:
        with socket.create_connection((HOST, ingestion.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(head("wrong", "Content-Length: 100"))
            assert connection.recv(12) == b"HTTP/1.1 401"
            assert [ingestion.get("/health/live").status_code for _ in range(5)] == [200] * 5
            return connection.getsockname()[1] in client_ports(ingestion)

    wait_until(others_are_answered_meanwhile)


def client_ports(service: Service) -> set[int]:
    """Of the connections that its processes have to clients."""
    return {
        connection.raddr.port
        for worker in psutil.Process(service.process.pid).children()
        for connection in worker.net_connections("tcp")
        if connection.raddr and connection.laddr.port == service.port
    }


# --- the log -----------------------------------------------------------------------------------------------


def logged(service: Service) -> list[dict[str, Any]]:
    """Each line is JSON, gunicorn's own too."""
    return [json.loads(line) for line in service.lines]


def test_each_write_is_a_line_with_who_and_what_and_figures_for_cloudwatch(
    batch_storage: BatchStorage,
) -> None:
    with Service(AWAY | batch_storage.environment() | TOKENS | {"RATES_STACK": "dev"}) as service:
        began = time.monotonic()
        batch = accepted(post(service, CSV, Idempotency_Key="logged", X_Request_ID="told-by-client"))["batch"]
        took_s = time.monotonic() - began
        accepted(post(service, CSV, Idempotency_Key="logged"))
        service.client.get("/health/live")
        post(service, b"", "/batches/uploads?size=5")
        service.client.delete(f"/batches/{batch}", headers=bearing())
    lines = logged(service)
    assert all(line["service"] == "api" and line["stack"] == "dev" for line in lines)
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert [line["event"] for line in lines if "Listening at" in line["event"]]
    first, second = [line for line in lines if line["event"].startswith("batch accepted")]
    assert (first["batch"], first["bearer"], first["request_id"]) == (batch, "writer", "told-by-client")
    assert (first["batches_accepted"], first["accepted_bytes"]) == (1, len(CSV))
    assert 0 < first["accept_seconds"] <= took_s + 0.001, "in milliseconds"
    named = {metric["Name"] for metric in first["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert named == {"batches_accepted", "accepted_bytes", "accept_seconds"}
    assert (second["event"], second["batches_accepted"]) == ("batch accepted again", 0)
    assert second["request_id"] not in ("", first["request_id"])
    (upload,) = [line for line in lines if line["event"] == "upload announced"]
    assert (upload["bearer"], upload["bytes"]) == ("writer", 5)
    (withdrawal,) = [line for line in lines if line["event"] == "withdrawal asked for"]
    assert (withdrawal["batch"], withdrawal["bearer"]) == (batch, "writer")
    assert all(line["request_id"] for line in (upload, withdrawal))


@pytest.mark.parametrize("given", ["x" * 128, "a-b c"])
def test_the_id_that_a_request_brings_is_told_in_its_answer(ingestion: Service, given: str) -> None:
    assert ingestion.client.get("/rates", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "ä"])
def test_a_request_without_a_sound_id_gets_one(ingestion: Service, given: str | None) -> None:
    headers = [] if given is None else [(b"X-Request-ID", given.encode())]
    answers = [ingestion.client.get("/health/live", headers=headers) for _ in range(2)]
    made = {answer.headers["x-request-id"] for answer in answers}
    assert len(made) == 2
    assert all(len(one) == 32 for one in made)


def test_tokens_are_never_logged_wherever_they_stand(batch_storage: BatchStorage) -> None:
    """Known ones and unknown ones; what gunicorn refuses it would quote."""
    good, wrong = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    own = {"RATES_API_TOKENS": entry_of("writer", [WRITE], good), "WEB_CONCURRENCY": "1"}
    with Service(AWAY | batch_storage.environment() | own) as service:
        for token in (good, wrong):
            for authorization in (f"Bearer {token}", f"Basic {token}", token, f"Bearer {token} x"):
                for method, path in WRITES:
                    ask(service, method, path, authorization)
            for path in (
                *(f"/batches/{token}", f"/{token}", f"/batches/{token}/errors", f"/rates/{token}"),
                *(f"/batches?token={token}", f"/batches?{token}", f"/batches?access_token={token}"),
                *(
                    f"/rates?orig_code={token}",
                    f"/health/ready?token={token}",
                    f"/batches/{uuid4()}?t={token}",
                ),
            ):
                for method in ("GET", "POST", "DELETE"):
                    ask(service, method, path, f"Bearer {token}")
            for request in (
                f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {token}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {token}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n {token}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {token}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {token}\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {token}\r\n\r\n",
                f"GET /?token={token} HTTP/9.9\r\nHost: x\r\n\r\n",
                f"{token} / HTTP/1.1\r\nHost: x\r\n\r\n",
                f"GET {token}\r\n\r\n",
                f"POST /batches HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n\r\n",
            ):
                answer = service.raw(request.encode())
                assert token.encode() not in answer, answer
    text = "\n".join(service.lines)
    assert "Invalid request from ip=127.0.0.1: Invalid HTTP Header" in text
    assert "batch accepted" in text
    for token in (good, wrong):
        assert token not in text
