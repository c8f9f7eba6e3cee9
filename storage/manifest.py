"""What was accepted: written beside a batch's content, by whoever accepts it, and read by the loader."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from storage.bucket import Bucket
from storage.errors import StorageMisconfigured
from storage.layout import manifest_key

# How keys begin that are made here, for who gives none: no one means them but the content.
CONTENT, DRY_RUN, UPLOADED, OBJECT = "sha256:", "dry-run:", "upload:", "s3://"
# What a file is called that its sender gives no name.
UNNAMED = "body"
MADE_HERE = (CONTENT, DRY_RUN, UPLOADED, OBJECT)


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch as its sender gave it.

    `content` is the object's key. `sha256` (hex) and `size` (bytes) are of it; None where the sender puts it
    there later, at a presigned address. `etag` is the object's, where no later one may take its place. `key`
    names the batch, `source` is what the sender calls the file, `accepted_by` the token's name, `request_id`
    that of the request. `accepted_at` is when it was sent last. `replaces` is the id or key of the batch
    whose place it takes, which has the same sender unless this is one `by_admin`; a dump that `adds` is meant
    beside another.
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
    adds: bool = False
    replaces: str | None = None
    by_admin: bool = False


class Terms(Protocol):
    """What a batch was sent with, beside its content, as manifest and ledger have it."""

    @property
    def source(self) -> str: ...
    @property
    def deadline(self) -> datetime | None: ...
    @property
    def callback_url(self) -> str | None: ...
    @property
    def adds(self) -> bool: ...


def other_terms(held: Terms, sent: Manifest, *, named: bool = True) -> str | None:
    """Which options of a repeat are not those that hold, in words; None where all are.

    Not `named`, the batch has the name of its file from the command line, and a repeat without one may have
    any. The address to call is not told: it may be what lets one be called there.
    """
    differing = []
    if held.source != sent.source and (named or sent.source != UNNAMED):
        differing.append(f"file {held.source!r}")
    if held.deadline != sent.deadline:
        differing.append(f"deadline {held.deadline.isoformat()}" if held.deadline else "no deadline")
    if held.callback_url != sent.callback_url:
        differing.append("another callback_url" if held.callback_url else "no callback_url")
    if held.adds != sent.adds:
        differing.append(f"add={str(held.adds).lower()}")
    return " and ".join(differing) or None


def is_made_here(key: str) -> bool:
    return key.startswith(MADE_HERE)


def write_manifest(bucket: Bucket, manifest: Manifest) -> None:
    """Raises ObjectExists where the batch has one already: then that one holds."""
    bucket.create(manifest_key(manifest.batch), msgspec.json.encode(manifest))


def replace_manifest(bucket: Bucket, manifest: Manifest) -> None:
    """Writes it in the place of an earlier one of the same batch, so that the loader hears of it again."""
    bucket.put(manifest_key(manifest.batch), msgspec.json.encode(manifest))


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
