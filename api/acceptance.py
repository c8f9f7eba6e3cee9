"""Accepts a batch by writing its manifest, which is there once: whoever comes later meets the first one's.

No database is asked; the loader meets the manifest, and so does `known`.
"""

from __future__ import annotations

import msgspec

from api.errors import Refusal
from api.known import is_there
from storage.bucket import Bucket
from storage.errors import ObjectExists, StorageError, StorageUnavailable
from storage.layout import manifest_key
from storage.manifest import Manifest, read_manifest, write_manifest
from telemetry.log import get_logger

log = get_logger("rates.api")


def accept(bucket: Bucket, manifest: Manifest) -> Manifest:
    """The manifest that holds for the batch: this one, or an earlier one for the same content.

    Content that nobody needs then is deleted. Raises 409 where the batch has other content, and
    StorageUnavailable: then the same request may be sent again.
    """
    held = claim(bucket, manifest)
    if held is None:
        discard(bucket, manifest.content)
        raise StorageUnavailable(f"the manifest of batch {manifest.batch} could not be written")
    if held.content == manifest.content:
        return held
    if held.sha256 != manifest.sha256:
        discard(bucket, manifest.content)
        raise content_taken(held, manifest)
    if is_there(bucket, held.content):
        discard(bucket, manifest.content)
        return held
    # It was deleted, by hand or after its days; the batch may still have to be done.
    renewed = msgspec.structs.replace(held, content=manifest.content)
    bucket.put(manifest_key(manifest.batch), msgspec.json.encode(renewed))
    return renewed


def claim(bucket: Bucket, manifest: Manifest) -> Manifest | None:
    """Writes the manifest unless there is one, and returns the one that is there; None where there is none.

    Raises StorageUnavailable where nobody knows: content must stay then, since its manifest may be there.
    """
    try:
        write_manifest(bucket, manifest)
    except (ObjectExists, StorageUnavailable):
        # An answer may get lost on its way, and the manifest that is there be this very one.
        return read_manifest(bucket, manifest.batch)
    return manifest


def discard(bucket: Bucket, key: str) -> None:
    try:
        bucket.delete(key)
    except StorageError as error:
        log.warning("superfluous content could not be deleted", object=key, reason=str(error))


def content_taken(held: Manifest, manifest: Manifest) -> Refusal:
    its = "not known, since it is put at an address of its own" if held.sha256 is None else held.sha256
    why = f"whose content is another: its SHA-256 is {its}, that of this body is {manifest.sha256}"
    return key_taken(held, why)


def key_taken(held: Manifest, why: str) -> Refusal:
    reason = f"The key {held.key!r} belongs to batch {held.batch}, {why}; use another Idempotency-Key."
    return Refusal(409, "key_taken", reason)
