"""What was accepted: written beside a batch's content, by whoever accepts it, and read by the loader."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from storage.bucket import Bucket
from storage.errors import StorageMisconfigured
from storage.layout import manifest_key


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch as its sender gave it.

    `content` is the object's key. `sha256` (hex) and `size` (bytes) are of it; None where the sender puts it
    there later, at a presigned address. `etag` is the object's, where no later one may take its place. `key`
    names the batch, `source` is what the sender calls the file, `accepted_by` the token's name, `request_id`
    that of the request.
    """

    batch: UUID
    key: str
    content: str
    source: str
    accepted_by: str
    accepted_at: datetime
    sha256: str | None = None
    size: int | None = None
    etag: str | None = None
    dry_run: bool = False
    deadline: datetime | None = None
    callback_url: str | None = None
    request_id: str | None = None


def write_manifest(bucket: Bucket, manifest: Manifest) -> None:
    """Raises ObjectExists where the batch has one already: then that one holds."""
    bucket.create(manifest_key(manifest.batch), msgspec.json.encode(manifest))


def read_manifest(bucket: Bucket, batch: UUID) -> Manifest | None:
    """None where no batch of this id was accepted. Raises StorageMisconfigured where it is no manifest."""
    key = manifest_key(batch)
    content = bucket.find(key)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise StorageMisconfigured(f"{key} is no manifest: {error}") from error
