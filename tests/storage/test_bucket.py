"""Objects in the bucket, in moto's S3, and what becomes of what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from local.postgres import free_port
from storage import clients
from storage.bucket import Bucket
from storage.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StorageMisconfigured,
    StorageUnavailable,
)
from tests.batch_storage import BatchStorage

KEY = "batches/x"


def test_an_object_is_read_whole_and_in_ranges(storage: BatchStorage) -> None:
    bucket = storage.bucket
    bucket.put(KEY, b"0123456789")
    found = bucket.look(KEY)
    assert (found.key, found.size) == (KEY, 10)
    assert bucket.find(KEY) == b"0123456789"
    assert bucket.read(KEY, 2, 5, found.etag) == b"234"


def test_what_is_not_there_is_none_or_missing(storage: BatchStorage) -> None:
    assert storage.bucket.find(KEY) is None
    with pytest.raises(ObjectMissing, match=rf"s3://{storage.name}/{KEY}: "):
        storage.bucket.look(KEY)
    with pytest.raises(ObjectMissing):
        storage.bucket.read(KEY, 0, 1)


def test_an_object_that_is_another_by_now_is_not_read(storage: BatchStorage) -> None:
    storage.bucket.put(KEY, b"before")
    before = storage.bucket.look(KEY)
    storage.bucket.put(KEY, b"after")
    with pytest.raises(ObjectChanged):
        storage.bucket.read(KEY, 0, 1, before.etag)


def test_an_object_is_made_once(storage: BatchStorage) -> None:
    storage.bucket.create(KEY, b"first")
    with pytest.raises(ObjectExists):
        storage.bucket.create(KEY, b"second")
    assert storage.bucket.find(KEY) == b"first"


def test_what_is_deleted_is_gone_there_or_not(storage: BatchStorage) -> None:
    storage.bucket.put(KEY, b"x")
    storage.bucket.delete(KEY, "batches/none")
    assert storage.bucket.find(KEY) is None


def test_all_below_a_prefix_are_listed_by_key(storage: BatchStorage) -> None:
    for key in ("batches/b", "batches/a", "chunks/a"):
        storage.bucket.put(key, b"x")
    assert [found.key for found in storage.bucket.list("batches/")] == ["batches/a", "batches/b"]


def test_a_bucket_that_is_not_there_is_a_matter_of_configuration(storage: BatchStorage) -> None:
    with pytest.raises(StorageMisconfigured, match=r"s3://no-such-bucket-here/batches/x: .*NoSuchBucket"):
        Bucket("no-such-bucket-here").put(KEY, b"x")
    with pytest.raises(StorageMisconfigured):
        Bucket("no bucket has such a name").put(KEY, b"x")


@pytest.fixture
def forgotten_clients() -> Iterator[None]:
    """Clients that are made within the test, and not kept."""
    clients.client.cache_clear()
    yield
    clients.client.cache_clear()


def test_storage_that_is_away_is_unavailable(
    storage: BatchStorage, monkeypatch: pytest.MonkeyPatch, forgotten_clients: None
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageUnavailable, match=f"s3://{storage.name}/{KEY}: "):
        storage.bucket.look(KEY)


# --- addresses for somebody else ---------------------------------------------------------------------------


def test_at_an_address_anybody_may_put_an_object(storage: BatchStorage) -> None:
    address = storage.bucket.put_address(KEY, 3600)
    assert httpx.put(address, content=b"theirs", trust_env=False).status_code == 200
    assert storage.bucket.find(KEY) == b"theirs"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-4"])
def test_an_address_on_aws_is_the_regions_own_and_signed_as_kms_wants_it(
    storage: BatchStorage, monkeypatch: pytest.MonkeyPatch, forgotten_clients: None, region: str
) -> None:
    """Signature version 4: S3 refuses any other for what KMS encrypts. A global host would redirect."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    address = urlsplit(Bucket("rates-prod").put_address(KEY, 3600, size=5))
    assert (address.scheme, address.netloc) == ("https", f"rates-prod.s3.{region}.amazonaws.com")
    assert address.path == f"/{KEY}"
    signed = parse_qs(address.query)
    assert signed["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert signed["X-Amz-Expires"] == ["3600"]
    assert signed["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert not [name for name in signed if "checksum" in name.lower()], "of a body that is not known yet"
