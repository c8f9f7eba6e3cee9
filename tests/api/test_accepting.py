"""`POST /batches`: a body becomes a batch, without any database and without holding the body."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from api.intake import PART_BYTES
from storage.layout import batch_id_of, manifest_key
from storage.manifest import read_manifest
from storage.messages import NewObject
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
    works_in,
)
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
PAST_SECOND = "2021-03-01T00:00:00Z"
# Of each, how it is refused.
BAD_QUERIES = [
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
]


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


def test_the_database_is_not_asked(alone: Service, store: BatchStorage) -> None:
    lines = len(alone.lines)
    batch = accepted(post(alone, unlike(), Idempotency_Key="while it is away"))
    assert accepted(post(alone, unlike(), "/batches?dry_run=true"))["dry_run"]
    assert manifest_key(UUID(batch["batch"])) in keys_in(store)
    assert not [line for line in alone.lines[lines:] if "away" in line]


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
    before = under_way(store)
    for content in (unlike(), unlike(b"x" * PART_BYTES)):
        assert accepted(post(ingestion, content)) == accepted(post(ingestion, content))
    assert under_way(store) == before


def test_of_many_at_once_with_one_key_all_get_one_batch(ingestion: Service, store: BatchStorage) -> None:
    content = unlike()
    before = keys_in(store)
    with ThreadPoolExecutor(3) as crowd:  # as many as may be at it: none is turned away
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


@pytest.mark.parametrize("path", ["/batches", "/batches/uploads"])
def test_a_parameter_that_is_none_is_named(ingestion: Service, store: BatchStorage, path: str) -> None:
    before = keys_in(store)
    for query, code in BAD_QUERIES:
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


# --- storage away ------------------------------------------------------------------------------------------


def test_while_storage_is_away_it_says_when_to_come_again() -> None:
    own = TOKENS | {"WEB_CONCURRENCY": "1", "AWS_MAX_ATTEMPTS": "1"}
    with Service(AWAY | own) as service:
        for path in ("/batches", "/batches/uploads"):
            answer = post(service, CSV, path)
            reason = refused(answer, 503, "service_unavailable")
            assert reason == "The storage of batches cannot be reached at the moment; try again."
            assert answer.headers["retry-after"] == "1"
        assert post(service, b"x" * (PART_BYTES + 1)).status_code == 503
