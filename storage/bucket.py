"""Objects in the bucket: small ones read and written whole, large ones read in ranges and put by `parts`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.clients import client, translated_errors
from storage.errors import ObjectChanged, ObjectExists, ObjectMissing, StorageUnavailable

# botocore asks again where a request fails, but not where the answer breaks off.
RANGE_TRIES = 3


@dataclass(frozen=True)
class StoredObject:
    """An object as it was when it was looked at: `etag` holds it fast, `size` is in bytes."""

    key: str
    etag: str
    size: int
    modified_at: datetime


@dataclass(frozen=True)
class Bucket:
    """Raises StorageUnavailable, StorageMisconfigured, and where it says so ObjectMissing and others."""

    name: str

    def find(self, key: str) -> bytes | None:
        """All of a small object; None where there is none."""
        try:
            with self._errors(key):
                return client("s3").get_object(Bucket=self.name, Key=key)["Body"].read()
        except ObjectMissing:
            return None

    def look(self, key: str) -> StoredObject:
        """Raises ObjectMissing."""
        from botocore.exceptions import ClientError  # noqa: PLC0415  # see `clients`

        with self._errors(key):
            try:
                found = client("s3").head_object(Bucket=self.name, Key=key)
            except ClientError:  # HEAD does not say why, GET does; nothing of the body is read
                found = client("s3").get_object(Bucket=self.name, Key=key)
                found["Body"].close()
        return StoredObject(key, found["ETag"], found["ContentLength"], found["LastModified"])

    def read(self, key: str, begin: int, end: int, etag: str | None = None) -> bytes:
        """Bytes from `begin` up to `end`. Raises ObjectMissing, and ObjectChanged where it is no longer the
        one with this `etag`."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415  # see `clients`

        where: dict[str, Any] = {"Bucket": self.name, "Key": key, "Range": f"bytes={begin}-{end - 1}"}
        if etag is not None:
            where["IfMatch"] = etag
        for _ in range(RANGE_TRIES):
            try:
                with self._errors(key):
                    return client("s3").get_object(**where)["Body"].read()
            except StorageUnavailable as error:
                if not isinstance(error.__cause__, HTTPClientError | IncompleteReadError):
                    raise
        raise StorageUnavailable(f"{self._name_of(key)}: the answer broke off {RANGE_TRIES} times")

    def create(self, key: str, content: bytes) -> None:
        """Raises ObjectExists where there is one already; of several at once, one succeeds."""
        try:
            with self._errors(key):
                client("s3").put_object(Bucket=self.name, Key=key, Body=content, IfNoneMatch="*")
        except ObjectChanged as error:
            raise ObjectExists(str(error)) from error

    def put(self, key: str, content: bytes | bytearray) -> None:
        with self._errors(key):
            client("s3").put_object(Bucket=self.name, Key=key, Body=content)

    def put_address(self, key: str, expires_s: int, size: int | None = None) -> str:
        """Where anybody may put this object, for so long; it then has to have `size` bytes, where given."""
        what: dict[str, Any] = {"Bucket": self.name, "Key": key}
        if size is not None:
            what["ContentLength"] = size
        with self._errors(key):
            return client("s3").generate_presigned_url("put_object", Params=what, ExpiresIn=expires_s)

    def delete(self, *keys: str) -> None:
        """No matter whether they are there."""
        for key in keys:
            with self._errors(key):
                client("s3").delete_object(Bucket=self.name, Key=key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All below a prefix, by key."""
        with self._errors(prefix):
            pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
            for page in pages:
                for each in page.get("Contents", []):
                    yield StoredObject(each["Key"], each["ETag"], each["Size"], each["LastModified"])

    def _errors(self, key: str) -> AbstractContextManager[None]:
        return translated_errors(self._name_of(key))

    def _name_of(self, key: str) -> str:
        return f"s3://{self.name}/{key}"
