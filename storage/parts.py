"""A large object, put into the bucket in parts: by whoever holds it, or at an address for each part.

Until it is complete there is no object, and nobody is told; what is never completed is aborted by the bucket
after some days.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from storage.bucket import Bucket
from storage.clients import client, translated_errors
from storage.errors import ObjectMissing

# S3's own limits.
PART_BYTES_MIN = 5 * 2**20
PART_BYTES_MAX = 5 * 2**30


@dataclass(frozen=True)
class Part:
    """A part that is there: `number` counts from 1, `size` is in bytes."""

    number: int
    etag: str
    size: int


@dataclass(frozen=True)
class PartedUpload:
    """Raises StorageUnavailable, StorageMisconfigured, and ObjectMissing where it is no longer under way."""

    bucket: Bucket
    key: str
    upload_id: str

    def put(self, number: int, content: bytes | bytearray) -> Part:
        """All but the last need PART_BYTES_MIN."""
        with self._errors():
            answer = client("s3").upload_part(**self._where(), PartNumber=number, Body=content)
        return Part(number, answer["ETag"], len(content))

    def put_address(self, number: int, expires_s: int) -> str:
        """Where anybody may put this part, for so long."""
        what = {**self._where(), "PartNumber": number}
        with self._errors():
            return client("s3").generate_presigned_url("upload_part", Params=what, ExpiresIn=expires_s)

    def parts(self) -> list[Part]:
        """Those that are there, by number."""
        with self._errors():
            pages = client("s3").get_paginator("list_parts").paginate(**self._where())
            found = [part for page in pages for part in page.get("Parts", [])]
        return [Part(part["PartNumber"], part["ETag"], part["Size"]) for part in found]

    def complete(self, parts: list[Part]) -> None:
        """Makes the object of these parts, in their order."""
        named = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            with self._errors():
                client("s3").complete_multipart_upload(**self._where(), MultipartUpload={"Parts": named})
        except ObjectMissing:
            # botocore asks again where an answer breaks off: then it is no longer under way, but done.
            self.bucket.look(self.key)

    def abort(self) -> None:
        """No matter whether it is still under way."""
        try:
            with self._errors():
                client("s3").abort_multipart_upload(**self._where())
        except ObjectMissing:
            pass

    def _where(self) -> dict[str, str]:
        return {"Bucket": self.bucket.name, "Key": self.key, "UploadId": self.upload_id}

    def _errors(self) -> AbstractContextManager[None]:
        return translated_errors(f"s3://{self.bucket.name}/{self.key}")


def begin_upload(bucket: Bucket, key: str) -> PartedUpload:
    with translated_errors(f"s3://{bucket.name}/{key}"):
        answer = client("s3").create_multipart_upload(Bucket=bucket.name, Key=key)
    return PartedUpload(bucket, key, answer["UploadId"])
