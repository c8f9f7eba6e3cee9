"""A request's body on its way into the bucket: of any size, slow, cut short or none at all."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import falcon
import falcon.testing
import pytest

from api.errors import Refusal
from api.intake import PART_BYTES, ZSTD, Body, take_in
from local.postgres import HOST
from storage.errors import StorageUnavailable
from storage.manifest import read_manifest
from storage.parts import PartedUpload
from tests.api.conftest import UPLOAD_BYTES_MAX
from tests.api.ingestion import (
    CSV,
    TOKENS,
    WRITER,
    accepted,
    bearing,
    keys_in,
    post,
    refused,
    under_way,
    unlike,
)
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage
from tests.waiting import TIMEOUT_S, wait_until

HEAD = f"POST /batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITER}\r\n"
CHUNKED, LENGTH = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", f"{HEAD}Content-Length: "


@pytest.mark.parametrize(
    ("chunked", "size"),
    [
        *((False, size) for size in (1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5)),
        *((True, size) for size in (1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES)),
    ],
)
def test_a_body_of_any_size_arrives_as_it_was_sent(
    ingestion: Service, store: BatchStorage, size: int, chunked: bool
) -> None:
    content, before = os.urandom(size), under_way(store)

    def pieces() -> Iterator[bytes]:
        for begin in range(0, size, 1_000_003):
            yield content[begin : begin + 1_000_003]

    batch = accepted(post(ingestion, pieces() if chunked else content))
    manifest = read_manifest(store.bucket, UUID(batch["batch"]))
    assert manifest is not None
    assert manifest.key == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert store.bucket.find(manifest.content) == content
    assert under_way(store) == before


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("how", "prefix"), [("--data-binary", "@"), ("--upload-file", "")])
def test_curl_asks_first_whether_to_send_a_large_file_and_does(
    ingestion: Service, tmp_path: Path, how: str, prefix: str
) -> None:
    """It would wait ten minutes here for the answer to `Expect: 100-continue`."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(UPLOAD_BYTES_MAX))
    asking = ["--request", "POST", "--header", "Expect: 100-continue", "--expect100-timeout", "600"]
    seconds, status = curl(ingestion, *asking, how, f"{prefix}{file}")
    assert status == 202
    assert seconds < 60


def curl(service: Service, *arguments: str) -> tuple[float, int]:
    """How long it took and the status, of the writer's request."""
    command = ["curl", "--silent", "--show-error", "--output", os.devnull, "--noproxy", "*", *arguments]
    command += ["--header", f"Authorization: Bearer {WRITER}", "--write-out", "%{time_total} %{http_code}"]
    result = subprocess.run(
        [*command, f"{service.client.base_url}/batches"], capture_output=True, text=True, check=True
    )
    seconds, status = result.stdout.split()
    return float(seconds), int(status)


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", iter([])], ids=["length", "chunked"])
def test_an_empty_body_is_refused(ingestion: Service, content: bytes) -> None:
    refused(post(ingestion, content), 400, "empty_body")


def test_no_body_at_all_is_refused(ingestion: Service) -> None:
    connection = http.client.HTTPConnection(HOST, ingestion.port, timeout=TIMEOUT_S)
    connection.putrequest("POST", "/batches")
    connection.putheader("Authorization", f"Bearer {WRITER}")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (400, "empty_body")
    connection.close()


def test_a_form_is_refused_and_told_how_to_send_a_file(ingestion: Service) -> None:
    answer = ingestion.client.post("/batches", files={"file": CSV}, headers=bearing())
    assert refused(answer, 415, "unsupported_media_type") == (
        "The body is a form, multipart/form-data; send the file itself as the body, as curl does with"
        " `--data-binary @FILE` or `-X POST -T FILE`."
    )


ROW = b'{"orig_code": "CNSGH", "dest_code": "EETLL", "day": "2021-03-01", "price": 5}'
FILES = {
    "csv": CSV,
    "csv, lines as of windows": CSV.replace(b"\n", b"\r\n"),
    "csv, lines as of old macs": CSV.replace(b"\n", b"\r"),
    "ndjson": ROW + b"\n" + ROW + b"\n",
    "gzip": gzip.compress(CSV),
}


@pytest.mark.needs("curl")
@pytest.mark.parametrize("option", ["--data", "--data-ascii", "--data-urlencode"])
@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_of_which_curl_made_a_form_is_refused_and_told_how_to_send_it(
    ingestion: Service, store: BatchStorage, tmp_path: Path, content: bytes, option: str
) -> None:
    """It takes the ends of lines away, or spells them otherwise; its header is the same for --data-binary."""
    file, before = tmp_path / "file", keys_in(store)
    file.write_bytes(content)
    assert curl(ingestion, option, f"@{file}")[1] == 415
    assert keys_in(store) == before


@pytest.mark.needs("curl")
@pytest.mark.parametrize(("how", "prefix"), [("--data-binary", "@"), ("--upload-file", "")])
@pytest.mark.parametrize(
    "content",
    [*FILES.values(), ROW, ZSTD + b"x", b"PAR1\x01\0\0\0PAR1"],
    ids=[*FILES, "ndjson of one row", "zstd", "parquet"],
)
def test_a_file_that_curl_sends_as_it_is_is_taken(
    ingestion: Service, tmp_path: Path, content: bytes, how: str, prefix: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    assert curl(ingestion, "--request", "POST", how, f"{prefix}{file}")[1] == 202


def test_what_is_told_of_a_form_names_the_right_option(ingestion: Service) -> None:
    kind = "Application/X-WWW-Form-Urlencoded; x=y"
    for content in (CSV.replace(b"\n", b""), ROW * 2, b'"\xff"', b"[" * 100_000):
        answer = post(ingestion, content, Content_Type=kind)
        assert refused(answer, 415, "unsupported_media_type") == (
            "The body is a form, application/x-www-form-urlencoded, and has no ends of lines: `curl -d` takes"
            " them away; send the file as it is, with `--data-binary @FILE` or `-X POST -T FILE`."
        )


def all_in(store: BatchStorage) -> tuple[set[str], int]:
    """The objects, and how many uploads in parts are under way."""
    return keys_in(store), under_way(store)


def test_a_body_that_is_too_large_is_refused_by_its_length_before_it_is_sent(
    ingestion: Service, store: BatchStorage
) -> None:
    before = keys_in(store)
    length = UPLOAD_BYTES_MAX + 1
    status, body = sent(ingestion, f"{LENGTH}{length}\r\n\r\n".encode())
    assert (status, body["code"]) == (413, "body_too_large")
    assert f"has {length:,} bytes, {UPLOAD_BYTES_MAX:,} bytes are allowed" in body["description"]
    assert "POST /batches/uploads" in body["description"]
    assert keys_in(store) == before


def test_a_body_that_turns_out_to_be_too_large_leaves_nothing(
    ingestion: Service, store: BatchStorage
) -> None:
    before = all_in(store)
    pieces = (b"x" * 2**20 for _ in range(UPLOAD_BYTES_MAX // 2**20 + 1))
    refused(post(ingestion, pieces), 413, "body_too_large")
    assert all_in(store) == before


def sent(service: Service, request: bytes, *, then_close: bool = False) -> tuple[int, dict]:
    """The answer to bytes."""
    head, _, body = service.raw(request, then_close=then_close).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("sent_bytes", [5, PART_BYTES + 5], ids=["within the first part", "after it"])
@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_that_is_cut_short_leaves_nothing(
    ingestion: Service, store: BatchStorage, kind: str, sent_bytes: int
) -> None:
    before = all_in(store)
    head = f"{LENGTH}{2 * PART_BYTES}\r\n\r\n" if kind == "length" else f"{CHUNKED}{2 * PART_BYTES:x}\r\n"
    status, body = sent(ingestion, head.encode() + b"x" * sent_bytes, then_close=True)
    assert (status, body["code"]) == (400, "body_cut_short")
    assert all_in(store) == before


def test_a_client_that_is_gone_in_the_middle_leaves_nothing(ingestion: Service, store: BatchStorage) -> None:
    before = all_in(store)
    with socket.create_connection((HOST, ingestion.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"{LENGTH}{2 * PART_BYTES}\r\n\r\n".encode() + b"x" * (PART_BYTES + 5))
        wait_until(lambda: under_way(store) == before[1] + 1)
    wait_until(lambda: all_in(store) == before)


@pytest.mark.parametrize("body", [b"5\r\nhello", b"x\r\n", b"3\r\nhello\r\n"], ids=["end", "size", "more"])
def test_a_body_that_is_not_chunked_as_http_has_it_is_refused(ingestion: Service, body: bytes) -> None:
    status, answer = sent(ingestion, CHUNKED.encode() + body, then_close=True)
    assert (status, answer["code"]) == (400, "malformed_body")


# --- slow and many -----------------------------------------------------------------------------------------


def test_slow_uploads_leave_a_thread_to_the_others_and_one_too_many_is_told_to_come_again(
    ingestion: Service, store: BatchStorage
) -> None:
    slow = [socket.create_connection((HOST, ingestion.port), timeout=TIMEOUT_S) for _ in range(3)]
    for connection in slow:
        connection.sendall(f"{LENGTH}100\r\n\r\nbegun".encode())
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(ingestion.get("/health/live").status_code)

    wait_until(lambda: post(ingestion, unlike()).status_code == 503)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        wait_until(lambda: len(answers) > 20)
    finally:
        stop.set()
        asking.join()
    assert set(answers) == {200}
    refusal = post(ingestion, unlike())
    refused(refusal, 503, "busy")
    assert refusal.headers["retry-after"] == "1"
    for connection in slow:
        connection.sendall(b"x" * 95)
        assert connection.recv(12) == b"HTTP/1.1 202"
        connection.close()
    accepted(post(ingestion, unlike()))


def test_many_short_ones_at_once_are_all_accepted_or_told_to_come_again(ingestion: Service) -> None:
    """Twice as many as there are threads: where the machine is slow, some wait too long (`test_pressure`)."""
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: post(ingestion, unlike()), range(40)))
    assert {answer.status_code for answer in answers} <= {202, 503}
    assert sum(answer.status_code == 202 for answer in answers) >= 8
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["code"] in ("overloaded", "busy")
            accepted(post(ingestion, unlike()))


def test_sigterm_lets_the_body_that_is_being_read_end(batch_storage: BatchStorage) -> None:
    with Service(AWAY | batch_storage.environment() | TOKENS) as service:
        service.client.close()
        with socket.create_connection((HOST, service.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(f"{LENGTH}{PART_BYTES + 5}\r\n\r\n".encode() + b"x" * PART_BYTES)
            service.process.signal(signal.SIGTERM)
            wait_until(lambda: any("Handling signal: term" in line for line in service.lines))
            connection.sendall(b"x" * 5)
            assert connection.recv(12) == b"HTTP/1.1 202"
        assert service.process.wait(TIMEOUT_S) == 0


# --- storage that fails, a part at a time ------------------------------------------------------------------


def body_of(stream: Any, length: int, **headers: str) -> Body:
    """What a worker has of a request."""
    environ = falcon.testing.create_environ(
        "/batches", method="POST", headers={"Content-Length": str(length), **headers}
    )
    return Body(falcon.Request({**environ, "wsgi.input": stream}), 2**30)


class Stalled:
    def read(self, _count: int) -> bytes:
        raise TimeoutError


def test_a_body_of_which_nothing_more_comes_is_given_up(store: BatchStorage) -> None:
    before = keys_in(store)
    with pytest.raises(Refusal) as refused:
        take_in(store.bucket, body_of(Stalled(), 5), lambda _: uuid4())
    assert (refused.value.status_code, refused.value.error_code) == (408, "body_stalled")
    assert keys_in(store) == before


def test_a_client_that_asks_whether_to_send_a_body_and_leaves_has_cut_it_short(store: BatchStorage) -> None:
    here, there = socket.socketpair()
    body = body_of(BytesIO(), 5, Expect="100-continue")
    body.request.env["gunicorn.socket"] = here
    there.close()
    with here, pytest.raises(Refusal) as refused:
        take_in(store.bucket, body, lambda _: uuid4())
    assert refused.value.error_code == "body_cut_short"


@pytest.mark.parametrize("failing", ["put", "complete"])
def test_a_part_that_storage_does_not_take_leaves_nothing(
    store: BatchStorage, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, before = getattr(PartedUpload, failing), all_in(store)

    def lost(self: PartedUpload, *arguments: Any) -> None:
        real(self, *arguments)
        raise StorageUnavailable("the answer was lost")

    monkeypatch.setattr(PartedUpload, failing, lost)
    size = PART_BYTES + 5
    with pytest.raises(StorageUnavailable):
        take_in(store.bucket, body_of(BytesIO(b"x" * size), size), lambda _: uuid4())
    assert all_in(store) == before


def test_no_more_than_a_part_is_in_hand(store: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = PartedUpload.put

    def noted(self: PartedUpload, number: int, content: bytes) -> Any:
        sizes.append(len(content))
        return real(self, number, content)

    monkeypatch.setattr(PartedUpload, "put", noted)
    size = 2 * PART_BYTES + 5
    content = take_in(store.bucket, body_of(BytesIO(b"x" * size), size), lambda _: uuid4())
    assert sizes == [PART_BYTES, PART_BYTES, 5]
    assert content.size == size
