"""`POST /batches/uploads`: the sender puts the file into the bucket, whole or in parts, and it is a batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import falcon
import falcon.testing
import httpx
import psycopg_pool
import pytest

from access.tokens import Tokens
from api.bearers import Bearers
from api.errors import add_error_handlers
from api.known import KnownBatches
from api.ledger import Ledger
from api.requests import RequestIds
from api.store import Store
from api.uploads import PARTS_MAX, FinishedUpload, Uploads
from storage.bucket import Bucket
from storage.layout import batch_id_of, manifest_key, parts_key, upload_key
from storage.manifest import read_manifest
from storage.messages import NewObject
from storage.parts import PART_BYTES_MAX, PART_BYTES_MIN, Part, PartedUpload
from tests.api.ingestion import (
    BATCH_KEYS,
    CSV,
    TOKENS,
    accepted,
    bearing,
    keys_in,
    post,
    refused,
    told,
    under_way,
    works_in,
)
from tests.api.service import NO_AUTHORITIES, Service
from tests.batch_storage import BatchStorage

GIB = 2**30


def announced(answer: httpx.Response) -> dict[str, Any]:
    batch = told(answer, 201)
    assert answer.headers["location"] == f"/batches/{batch['batch']}"
    assert (batch["state"], batch["content_hash"]) == ("uploading", None)
    assert batch["upload"]["method"] == "PUT"
    left = datetime.fromisoformat(batch["upload"]["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    return batch


def announce(service: Service, query: str = "", **headers: str) -> httpx.Response:
    return post(service, b"", f"/batches/uploads{query}", **headers)


def put(url: str, content: bytes) -> None:
    assert httpx.put(url, content=content, trust_env=False, verify=NO_AUTHORITIES).status_code == 200


# --- whole -------------------------------------------------------------------------------------------------


def test_what_is_put_at_the_address_is_the_batch_and_the_queue_is_told(
    ingestion: Service, store: BatchStorage
) -> None:
    works_in(store)
    batch = announced(announce(ingestion, f"?size={len(CSV)}&file=spring.csv", Idempotency_Key="put"))
    batch_id = UUID(batch["batch"])
    assert batch.keys() == BATCH_KEYS | {"upload"}
    assert batch["upload"].keys() == {"method", "url", "expires_at"}
    assert batch_id == batch_id_of("put")
    manifest = read_manifest(store.bucket, batch_id)
    assert manifest is not None
    assert (manifest.content, manifest.sha256, manifest.size) == (upload_key(batch_id), None, None)
    assert (manifest.source, manifest.accepted_by) == ("spring.csv", "writer")
    assert works_in(store) == {NewObject(manifest_key(batch_id))}
    assert told(ingestion.get(f"/batches/{batch_id}"))["state"] == "uploading"

    put(batch["upload"]["url"], CSV)

    assert store.bucket.find(upload_key(batch_id)) == CSV
    assert works_in(store) == {NewObject(upload_key(batch_id))}
    assert told(ingestion.get(f"/batches/{batch_id}"))["state"] == "accepted"


def test_the_size_is_signed_so_that_no_other_is_taken(ingestion: Service) -> None:
    url = announced(announce(ingestion, "?size=5"))["upload"]["url"]
    assert "X-Amz-SignedHeaders=content-length%3Bhost" in url
    assert "content-length" not in announced(announce(ingestion))["upload"]["url"]


def test_without_a_key_each_is_a_batch_of_its_own(ingestion: Service) -> None:
    first, second = announced(announce(ingestion)), announced(announce(ingestion, "?dry_run=true"))
    assert first["batch"] != second["batch"]
    assert first["key"].startswith("upload:")
    assert second["key"].startswith("dry-run:")


def test_the_same_key_gets_a_new_address_for_the_same_batch(ingestion: Service) -> None:
    first, second = (announced(announce(ingestion, Idempotency_Key="again")) for _ in range(2))
    assert {**first, "upload": None} == {**second, "upload": None}


def test_once_the_file_is_there_no_further_address_is_given(ingestion: Service) -> None:
    batch = announced(announce(ingestion, Idempotency_Key="there"))
    put(batch["upload"]["url"], CSV)
    again = told(announce(ingestion, Idempotency_Key="there"), 200)
    assert (again["batch"], again["state"]) == (batch["batch"], "accepted")
    assert "upload" not in again


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?file=b.csv", "file 'a.csv';"),
        ("?file=a.csv&deadline=2999-01-01T00:00:00Z", "no deadline;"),
        ("?callback_url=https://example.com/", "file 'a.csv' and no callback_url;"),
    ],
)
def test_the_same_key_with_other_parameters_is_refused(ingestion: Service, query: str, named: str) -> None:
    key = str(uuid4())
    announced(announce(ingestion, "?file=a.csv", Idempotency_Key=key))
    assert named in refused(announce(ingestion, query, Idempotency_Key=key), 409, "key_taken")


def test_a_key_is_for_a_body_or_for_an_address(ingestion: Service) -> None:
    accepted(post(ingestion, Idempotency_Key="was a body"))
    reason = refused(announce(ingestion, Idempotency_Key="was a body"), 409, "key_taken")
    assert "whose content was the body of a request" in reason
    announced(announce(ingestion, Idempotency_Key="was an address"))
    reason = refused(post(ingestion, Idempotency_Key="was an address"), 409, "key_taken")
    assert "its SHA-256 is not known" in reason


@pytest.mark.parametrize("size", ["0", "-1", "1e9", "x", "", str(PARTS_MAX * PART_BYTES_MAX + 1), "9" * 3000])
def test_a_size_that_is_none_is_refused(ingestion: Service, size: str) -> None:
    refused(announce(ingestion, f"?size={size}"), 400, "invalid_size")


# --- in parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5 * GIB, 5 * GIB + 1, 100 * GIB, PARTS_MAX * PART_BYTES_MAX])
def test_what_s3_does_not_take_in_one_piece_goes_in_parts_that_it_takes(
    ingestion: Service, size: int
) -> None:
    upload = announced(announce(ingestion, f"?size={size}"))["upload"]
    if size == 5 * GIB:
        assert "url" in upload
        return
    parts, part_bytes = upload["parts"], upload["part_bytes"]
    assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= PARTS_MAX
    assert PART_BYTES_MIN <= part_bytes <= PART_BYTES_MAX
    assert (len(parts) - 1) * part_bytes < size <= len(parts) * part_bytes
    assert upload["complete"].endswith("/upload")


def test_parts_that_are_not_there_are_named(ingestion: Service, store: BatchStorage) -> None:
    batch = announced(announce(ingestion, f"?size={5 * GIB + 1}"))
    put(batch["upload"]["parts"][1]["url"], b"short")
    reason = refused(post(ingestion, b"", batch["upload"]["complete"]), 409, "upload_incomplete")
    assert reason == (
        "The parts are not the 5,368,709,121 bytes that were announced: part 1 is missing; part 2 has 5 bytes"
        " of 67,108,864; part 3 is missing; part 4 is missing; part 5 is missing; and 76 more."
    )
    assert told(ingestion.get(f"/batches/{batch['batch']}"))["state"] == "uploading"


def test_the_same_key_goes_on_with_the_same_parts(ingestion: Service, store: BatchStorage) -> None:
    query, before = f"?size={6 * GIB}", under_way(store)
    first, second = (announced(announce(ingestion, query, Idempotency_Key="parts")) for _ in range(2))
    assert under_way(store) == before + 1
    paths = [upload["parts"][0]["url"].split("X-Amz")[0] for upload in (first["upload"], second["upload"])]
    assert paths[0] == paths[1]
    reason = refused(announce(ingestion, f"?size={7 * GIB}", Idempotency_Key="parts"), 409, "key_taken")
    assert "announced with 6,442,450,944 bytes" in reason
    refused(announce(ingestion, Idempotency_Key="parts"), 409, "key_taken")


def test_to_complete_what_was_not_announced_in_parts_is_refused(ingestion: Service) -> None:
    refused(post(ingestion, b"", f"/batches/{uuid4()}/upload"), 404, "batch_not_found")
    refused(post(ingestion, b"", "/batches/none/upload"), 404, "batch_not_found")
    batch = announced(announce(ingestion))
    refused(post(ingestion, b"", f"/batches/{batch['batch']}/upload"), 409, "no_parts")
    refused(post(ingestion, b"", f"/batches/{batch['batch']}/upload?x=1"), 400, "unknown_parameter")


@pytest.fixture
def small(store: BatchStorage) -> Iterator[falcon.testing.TestClient]:
    """The two resources for which 5 MiB are large, since nobody has 5 GiB to send in a test."""
    pool = psycopg_pool.ConnectionPool(open=False)
    known = KnownBatches(Ledger(Store(pool)), store.bucket)
    bearers = Bearers(Tokens(TOKENS["RATES_API_TOKENS"]))
    app = falcon.App(middleware=[RequestIds()])
    add_error_handlers(app)
    app.add_route("/batches/uploads", Uploads(known, bearers, PART_BYTES_MIN, PART_BYTES_MIN))
    app.add_route("/batches/{batch}/upload", FinishedUpload(known, bearers))
    yield falcon.testing.TestClient(app, headers=bearing())
    pool.close()


def test_parts_become_one_file_and_the_queue_is_told(
    small: falcon.testing.TestClient, store: BatchStorage
) -> None:
    content = os.urandom(2 * PART_BYTES_MIN + 5)
    batch = small.simulate_post(f"/batches/uploads?size={len(content)}").json
    upload, key = batch["upload"], upload_key(UUID(batch["batch"]))
    assert (len(upload["parts"]), upload["part_bytes"]) == (3, PART_BYTES_MIN)
    for part in reversed(upload["parts"]):
        begin = (part["part"] - 1) * PART_BYTES_MIN
        put(part["url"], content[begin : begin + PART_BYTES_MIN])
    works_in(store)
    assert store.bucket.find(key) is None

    for _ in range(2):
        answer = small.simulate_post(upload["complete"])
        assert (answer.status_code, answer.json["state"]) == (202, "accepted")
        assert answer.headers["location"] == f"/batches/{batch['batch']}"

    assert store.bucket.find(key) == content
    assert NewObject(key) in works_in(store)
    assert parts_key(UUID(batch["batch"])) not in keys_in(store)


@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_an_announcement_that_is_there_already_holds(
    small: falcon.testing.TestClient, store: BatchStorage, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """Its own, where an answer of the bucket got lost and botocore asked again."""
    query, headers = f"/batches/uploads?size={PART_BYTES_MIN + 1}", bearing(Idempotency_Key=f"held, {whose}")
    before, real, first = under_way(store), Bucket.create, []

    def create(self: Bucket, key: str, content: bytes) -> None:
        if key.endswith("parts.json") and not first:
            first.append(key)
            if whose == "its own":
                real(self, key, content)
            else:
                small.simulate_post(query, headers=headers)
        real(self, key, content)

    monkeypatch.setattr(Bucket, "create", create)
    upload = small.simulate_post(query, headers=headers).json["upload"]
    assert under_way(store) == before + 1
    for part, content in zip(upload["parts"], (b"1" * PART_BYTES_MIN, b"2"), strict=True):
        put(part["url"], content)
    assert small.simulate_post(upload["complete"]).status_code == 202


def test_who_finishes_an_upload_that_somebody_finishes_meanwhile_is_told_the_same(
    small: falcon.testing.TestClient, store: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a request is sent again that takes its time."""
    content = b"1" * PART_BYTES_MIN + b"2"
    upload = small.simulate_post(f"/batches/uploads?size={len(content)}").json["upload"]
    for number, part in enumerate(upload["parts"]):
        put(part["url"], content[number * PART_BYTES_MIN : (number + 1) * PART_BYTES_MIN])
    real, first = PartedUpload.parts, []

    def parts(self: PartedUpload) -> list[Part]:
        if not first:
            first.append(self)
            assert small.simulate_post(upload["complete"]).status_code == 202
        return real(self)

    monkeypatch.setattr(PartedUpload, "parts", parts)
    answer = small.simulate_post(upload["complete"])
    assert (answer.status_code, answer.json["state"]) == (202, "accepted")


def test_parts_that_are_gone_are_begun_again(small: falcon.testing.TestClient, store: BatchStorage) -> None:
    """The bucket throws away what is not completed in some days."""
    query = f"/batches/uploads?size={PART_BYTES_MIN + 1}"
    first = small.simulate_post(query, headers=bearing(Idempotency_Key="gone")).json
    found = store.s3().list_multipart_uploads(Bucket=store.name)["Uploads"]
    key = upload_key(UUID(first["batch"]))
    (mine,) = [upload["UploadId"] for upload in found if upload["Key"] == key]
    PartedUpload(store.bucket, key, mine).abort()

    answer = small.simulate_post(first["upload"]["complete"])
    assert (answer.status_code, answer.json["code"]) == (409, "upload_expired")
    second = small.simulate_post(query, headers=bearing(Idempotency_Key="gone")).json
    for part, content in zip(second["upload"]["parts"], (b"1" * PART_BYTES_MIN, b"2"), strict=True):
        put(part["url"], content)
    assert small.simulate_post(second["upload"]["complete"]).status_code == 202
    assert store.bucket.look(key).size == PART_BYTES_MIN + 1
