"""`POST /batches`: a body becomes a batch, without any database and without holding the body."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from local.postgres import HOST
from storage.layout import batch_id_of, manifest_key
from storage.manifest import read_manifest
from storage.messages import NewObject
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
    works_in,
)
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage
from tests.waiting import TIMEOUT_S, wait_until

PART = 8 * 2**20
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
HEAD = f"POST /batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {WRITER}\r\n"
CHUNKED, LENGTH = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n", f"{HEAD}Content-Length: "
PAST_SECOND = "2021-03-01T00:00:00Z"


def unlike(*others: bytes) -> bytes:
    """A file that no other test sends."""
    return CSV + os.urandom(8).hex().encode() + b"".join(others)


# --- what is accepted --------------------------------------------------------------------------------------


def test_a_body_is_a_batch_once_its_manifest_is_there(ingestion: Service, store: BatchStorage) -> None:
    works_in(store)
    content = unlike()
    answer = post(ingestion, content, Idempotency_Key="spring", X_Request_ID="of-this-test")
    batch = accepted(answer)

    assert (batch["key"], batch["created_by"], batch["source"]) == ("spring", "writer", "body")
    assert batch["content_hash"] == hashlib.sha256(content).hexdigest()
    assert batch["request_id"] == answer.headers["x-request-id"] == "of-this-test"
    assert (batch["dry_run"], batch["deadline"], batch["failure"]) == (False, None, None)
    assert batch["progress"]["share"] == 0
    manifest = read_manifest(store.bucket, UUID(batch["batch"]))
    assert manifest is not None
    assert manifest.batch == batch_id_of("spring")
    assert manifest.size == len(content)
    assert manifest.request_id == "of-this-test"
    assert store.bucket.find(manifest.content) == content
    assert works_in(store) == {NewObject(manifest.content), NewObject(manifest_key(manifest.batch))}


def test_all_that_is_asked_of_it_stands_in_its_manifest(ingestion: Service, store: BatchStorage) -> None:
    asked = {"deadline": TOMORROW.isoformat(), "callback_url": "https://example.com/told", "file": "März.csv"}
    answer = ingestion.client.post("/batches", params=asked, content=unlike(), headers=bearing())
    batch = accepted(answer)
    assert datetime.fromisoformat(batch["deadline"]) == TOMORROW
    assert batch["source"] == "März.csv"
    assert "callback_url" not in batch, "which anybody may read, and only the sender is to know"
    manifest = read_manifest(store.bucket, UUID(batch["batch"]))
    assert manifest is not None
    assert (manifest.deadline, manifest.callback_url) == (TOMORROW, "https://example.com/told")


@pytest.mark.parametrize("size", [1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_of_any_size_arrives_as_it_was_sent(
    ingestion: Service, store: BatchStorage, size: int, chunked: bool
) -> None:
    content = os.urandom(size)

    def pieces() -> Iterator[bytes]:
        for begin in range(0, size, 1_000_003):
            yield content[begin : begin + 1_000_003]

    batch = accepted(post(ingestion, pieces() if chunked else content))
    manifest = read_manifest(store.bucket, UUID(batch["batch"]))
    assert manifest is not None
    assert manifest.key == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert store.bucket.find(manifest.content) == content
    assert under_way(store) == 0


def test_the_database_is_not_asked(alone: Service, store: BatchStorage) -> None:
    batch = accepted(post(alone, unlike(), Idempotency_Key="while it is away"))
    assert accepted(post(alone, unlike(), "/batches?dry_run=true"))["dry_run"]
    assert manifest_key(UUID(batch["batch"])) in keys_in(store)
    assert not [line for line in alone.lines if "away" in line]


def test_50_000_rows_are_accepted_in_well_under_a_second(ingestion: Service, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    rows = (f"CNSGH,EETLL,2021-{1 + row % 12:02}-{1 + row % 28:02},{row}\n" for row in range(50_000))
    file.write_text("orig_code,dest_code,day,price\n" + "".join(rows))
    seconds, status = curl(ingestion, "--data-binary", f"@{file}")
    assert status == 202
    assert seconds < 1


def curl(service: Service, *arguments: str) -> tuple[float, int]:
    """How long it took and the status, of the writer's request."""
    command = ["curl", "--silent", "--show-error", "--output", os.devnull, "--noproxy", "*", *arguments]
    command += ["--header", f"Authorization: Bearer {WRITER}", "--write-out", "%{time_total} %{http_code}"]
    result = subprocess.run(
        [*command, f"{service.client.base_url}/batches"], capture_output=True, text=True, check=True
    )
    seconds, status = result.stdout.split()
    return float(seconds), int(status)


@pytest.mark.parametrize(("how", "prefix"), [("--data-binary", "@"), ("--upload-file", "")])
def test_curl_asks_first_whether_to_send_a_large_file_and_does(
    ingestion: Service, tmp_path: Path, how: str, prefix: str
) -> None:
    """It would wait a minute here for the answer to `Expect: 100-continue`."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(UPLOAD_BYTES_MAX))
    asking = ["--request", "POST", "--header", "Expect: 100-continue", "--expect100-timeout", "60"]
    seconds, status = curl(ingestion, *asking, how, f"{prefix}{file}")
    assert status == 202
    assert seconds < 30


# --- the same key ------------------------------------------------------------------------------------------


def test_the_same_key_and_content_is_the_same_batch_and_its_content_is_kept_once(
    ingestion: Service, store: BatchStorage
) -> None:
    content = unlike()
    first = accepted(post(ingestion, content, Idempotency_Key="twice", X_Request_ID="first"))
    before = keys_in(store)
    again = accepted(post(ingestion, content, Idempotency_Key="twice", X_Request_ID="second"))
    assert again == first
    assert keys_in(store) == before


def test_the_same_key_and_other_content_is_refused_with_both_hashes(
    ingestion: Service, store: BatchStorage
) -> None:
    first, second = unlike(), unlike()
    batch = accepted(post(ingestion, first, Idempotency_Key="taken"))
    before = keys_in(store)
    reason = refused(post(ingestion, second, Idempotency_Key="taken"), 409, "key_taken")
    assert "'taken'" in reason
    assert batch["batch"] in reason
    assert hashlib.sha256(first).hexdigest() in reason
    assert hashlib.sha256(second).hexdigest() in reason
    assert keys_in(store) == before


def test_without_a_key_the_same_content_is_the_same_batch(ingestion: Service, store: BatchStorage) -> None:
    for content in (unlike(), unlike(b"x" * PART)):
        assert accepted(post(ingestion, content)) == accepted(post(ingestion, content))
    assert under_way(store) == 0


def test_of_many_at_once_with_one_key_all_get_one_batch(ingestion: Service, store: BatchStorage) -> None:
    content = unlike()
    before = keys_in(store)
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: post(ingestion, content, Idempotency_Key="crowd"), range(8)))
    assert len({accepted(answer)["batch"] for answer in answers}) == 1
    assert len(keys_in(store) - before) == 2, "a manifest and its content"


def test_a_batch_whose_content_is_gone_gets_the_one_that_is_sent_again(
    ingestion: Service, store: BatchStorage
) -> None:
    content = unlike()
    batch = UUID(accepted(post(ingestion, content, Idempotency_Key="lost"))["batch"])
    manifest = read_manifest(store.bucket, batch)
    assert manifest is not None
    store.bucket.delete(manifest.content)
    accepted(post(ingestion, content, Idempotency_Key="lost"))
    renewed = read_manifest(store.bucket, batch)
    assert renewed is not None
    assert store.bucket.find(renewed.content) == content


def test_a_dry_run_is_a_batch_of_its_own(ingestion: Service) -> None:
    content = unlike()
    real = accepted(post(ingestion, content, Idempotency_Key="checked"))
    dry = accepted(post(ingestion, content, "/batches?dry_run=true", Idempotency_Key="checked"))
    assert (real["dry_run"], dry["dry_run"]) == (False, True)
    assert dry["key"] == "dry-run:checked"
    assert dry == accepted(post(ingestion, content, "/batches?dry_run=true", Idempotency_Key="checked"))
    first, second = (accepted(post(ingestion, content, "/batches?dry_run=true")) for _ in range(2))
    assert first["batch"] != second["batch"], "without a key it is checked anew"


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("dryrun=true", "unknown_parameter"),
        ("dry_run=true&dry_run=true", "repeated_parameter"),
        ("dry_run=yes", "invalid_dry_run"),
        ("dry_run=", "invalid_dry_run"),
        ("deadline=", "invalid_deadline"),
        ("deadline=tomorrow", "invalid_deadline"),
        ("deadline=2999-01-01", "invalid_deadline"),
        ("deadline=2999-01-01T00:00:00", "invalid_deadline"),
        ("deadline=2999-02-30T00:00:00Z", "invalid_deadline"),
        ("deadline=9999-12-31T23:59:59-01:00", "invalid_deadline"),
        (f"deadline={PAST_SECOND}", "invalid_deadline"),
        ("callback_url=http://example.com/", "invalid_callback_url"),
        ("callback_url=", "invalid_callback_url"),
        ("file=", "invalid_file"),
        ("file=%00", "invalid_file"),
        ("file=%FF", "invalid_file"),
        (f"file={'x' * 201}", "invalid_file"),
    ],
)
@pytest.mark.parametrize("path", ["/batches", "/batches/uploads"])
def test_a_parameter_that_is_none_is_named(
    ingestion: Service, store: BatchStorage, path: str, query: str, code: str
) -> None:
    before = keys_in(store)
    reason = refused(post(ingestion, unlike(), f"{path}?{query}"), 400, code)
    assert query.split("=", maxsplit=1)[0] in reason
    assert keys_in(store) == before


@pytest.mark.parametrize("zone", ["Z", "z", "%2B02:00", "+02:00", "-05:30"])
def test_a_deadline_in_any_zone_is_taken_its_plus_encoded_or_not(ingestion: Service, zone: str) -> None:
    batch = accepted(post(ingestion, unlike(), f"/batches?deadline=2999-06-01T12:00:00.5{zone}"))
    hours = {"%2B02:00": 10, "+02:00": 10, "-05:30": 17.5}.get(zone, 12)
    expected = datetime(2999, 6, 1, tzinfo=UTC) + timedelta(hours=hours, seconds=0.5)
    assert datetime.fromisoformat(batch["deadline"]) == expected


@pytest.mark.parametrize(
    "key",
    [
        b"",
        "\u00a0".encode(),
        b"x" * 201,
        "a\u200bb".encode(),
        b"\xff",
        b"sha256:" + b"0" * 64,
        b"dry-run:x",
        b"upload:x",
        b"s3://b/k",
    ],
)
@pytest.mark.parametrize("path", ["/batches", "/batches/uploads"])
def test_a_key_that_is_none_is_refused(ingestion: Service, path: str, key: bytes) -> None:
    headers = [(b"Idempotency-Key", key), (b"Authorization", f"Bearer {WRITER}".encode())]
    answer = ingestion.client.post(path, content=CSV, headers=headers)
    assert refused(answer, 400, "invalid_key").startswith("Idempotency-Key ")


def test_a_key_is_read_as_utf_8(ingestion: Service) -> None:
    headers = [(b"Idempotency-Key", "März".encode()), (b"Authorization", f"Bearer {WRITER}".encode())]
    answer = ingestion.client.post("/batches", content=unlike(), headers=headers)
    assert accepted(answer)["key"] == "März"


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
    assert "send the file itself as the body" in refused(answer, 415, "unsupported_media_type")


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
    before = keys_in(store)
    pieces = (b"x" * 2**20 for _ in range(UPLOAD_BYTES_MAX // 2**20 + 1))
    refused(post(ingestion, pieces), 413, "body_too_large")
    assert (keys_in(store), under_way(store)) == (before, 0)


def sent(service: Service, request: bytes, *, then_close: bool = False) -> tuple[int, dict]:
    """The answer to bytes."""
    head, _, body = service.raw(request, then_close=then_close).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("sent_bytes", [5, PART + 5], ids=["within the first part", "after it"])
@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_that_is_cut_short_leaves_nothing(
    ingestion: Service, store: BatchStorage, kind: str, sent_bytes: int
) -> None:
    before = keys_in(store)
    head = f"{LENGTH}{2 * PART}\r\n\r\n" if kind == "length" else f"{CHUNKED}{2 * PART:x}\r\n"
    status, body = sent(ingestion, head.encode() + b"x" * sent_bytes, then_close=True)
    assert (status, body["code"]) == (400, "body_cut_short")
    assert (keys_in(store), under_way(store)) == (before, 0)


def test_a_client_that_is_gone_in_the_middle_leaves_nothing(ingestion: Service, store: BatchStorage) -> None:
    before = keys_in(store)
    with socket.create_connection((HOST, ingestion.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(f"{LENGTH}{2 * PART}\r\n\r\n".encode() + b"x" * (PART + 5))
        wait_until(lambda: under_way(store) == 1)
    wait_until(lambda: under_way(store) == 0)
    assert keys_in(store) == before


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


def test_many_short_ones_at_once_are_all_accepted(ingestion: Service) -> None:
    with ThreadPoolExecutor(20) as crowd:
        answers = list(crowd.map(lambda _: post(ingestion, unlike()).status_code, range(40)))
    assert answers == [202] * 40


def test_sigterm_lets_the_body_that_is_being_read_end(batch_storage: BatchStorage) -> None:
    with Service(AWAY | batch_storage.environment() | TOKENS) as service:
        service.client.close()
        with socket.create_connection((HOST, service.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(f"{LENGTH}{PART + 5}\r\n\r\n".encode() + b"x" * PART)
            service.process.signal(signal.SIGTERM)
            wait_until(lambda: any("Handling signal: term" in line for line in service.lines))
            connection.sendall(b"x" * 5)
            assert connection.recv(12) == b"HTTP/1.1 202"
        assert service.process.wait(TIMEOUT_S) == 0


# --- storage away ------------------------------------------------------------------------------------------


def test_while_storage_is_away_it_says_when_to_come_again() -> None:
    own = TOKENS | {"WEB_CONCURRENCY": "1", "AWS_MAX_ATTEMPTS": "1"}
    with Service(AWAY | own) as service:
        for path in ("/batches", "/batches/uploads"):
            answer = post(service, CSV, path)
            reason = refused(answer, 503, "service_unavailable")
            assert reason == "The storage of batches cannot be reached at the moment; try again."
            assert answer.headers["retry-after"] == "1"
        began = time.monotonic()
        assert post(service, b"x" * (PART + 1)).status_code == 503
        assert time.monotonic() - began < 10
