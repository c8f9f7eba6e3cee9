"""Accepts a batch by writing its manifest, which is there once: whoever comes later meets the first one's.

What is known of the key is compared first, as the ledger has it: it knows keys whose manifests are long gone.
Where the database is away, a batch is accepted all the same, and the loader compares.
"""

from __future__ import annotations

from typing import TypeAlias
from uuid import UUID

import msgspec

from access.tokens import Token
from api.bearers import refuse_others
from api.errors import Refusal
from api.known import KnownBatches, is_there
from api.ledger import SentBefore
from database.errors import DatabaseUnavailable, SchemaMissing
from storage.bucket import Bucket
from storage.errors import ObjectExists, StorageError, StorageUnavailable
from storage.manifest import Manifest, other_terms, read_manifest, replace_manifest, write_manifest
from telemetry.log import get_logger

log = get_logger("rates.api")
# Of a batch in the ledger; NEW where it has none, None where it cannot be asked.
State: TypeAlias = str | None
NEW = "new"


def accept(known: KnownBatches, manifest: Manifest, bearer: Token) -> Manifest:
    """The manifest that holds for the batch: this one, or an earlier one for the same content.

    Content that is not needed then is deleted. One that was rejected is judged anew, with the options of now.
    Raises 409 where the key has other content or options, or was withdrawn, and StorageUnavailable: then the
    same request may be sent again.
    """
    bucket = known.bucket
    try:
        state = refuse_known(known, manifest, bearer)
        held = claim(bucket, manifest)
        if held is not None and held.content != manifest.content:
            refuse_other(held, manifest, state)
    except Refusal:
        discard(bucket, manifest.content)
        raise
    if held is None:
        discard(bucket, manifest.content)
        raise not_written(manifest)
    if held.content == manifest.content:
        return held
    if is_there(bucket, held.content):
        discard(bucket, manifest.content)
        return send_again(bucket, held, manifest, state)
    # It was deleted, by hand or after its days; the batch may still have to be done.
    renewed = msgspec.structs.replace(held, content=manifest.content)
    replace_manifest(bucket, renewed)
    return send_again(bucket, renewed, manifest, state)


def not_written(manifest: Manifest) -> StorageUnavailable:
    return StorageUnavailable(f"the manifest of batch {manifest.batch} could not be written")


def send_again(bucket: Bucket, held: Manifest, manifest: Manifest, state: State) -> Manifest:
    """The manifest that holds; where the batch was rejected, or that is not known, one of now."""
    if state == "rejected":
        again = msgspec.structs.replace(manifest, content=held.content)
    elif state is None:
        again = msgspec.structs.replace(held, accepted_at=manifest.accepted_at)
    else:
        return held
    replace_manifest(bucket, again)
    return again


def refuse_known(known: KnownBatches, manifest: Manifest, bearer: Token, *, is_there: bool = True) -> State:
    """The state of the batch, NEW where the ledger has none; `is_there` says whether its content is.

    None while the database is away: what cannot be known then, the loader finds out. Raises 409 where its key
    is another batch's, or there is nothing to replace, and 403 where that is not the bearer's to replace.
    """
    try:
        before = known.ledger.sent_before(manifest.batch, manifest.key)
    except (DatabaseUnavailable, SchemaMissing):
        return None
    if manifest.replaces is not None and (before is None or before.state == "rejected"):
        refuse_replacing(known, manifest.replaces, bearer)
    if before is None:
        return NEW
    refuse_if_other(before, manifest)
    # What was read of an upload cannot be compared with what would be put there now.
    if not is_there and before.ended_at is not None and before.state not in ("rejected", "failed"):
        raise key_taken(f"{whose(before)}, whose content has been read")
    return before.state


def refuse_replacing(known: KnownBatches, name: str, bearer: Token) -> None:
    try:
        batch = UUID(name)
    except ValueError:
        batch = UUID(int=0)
    try:
        replaced = known.ledger.sent_before(batch, name)
    except (DatabaseUnavailable, SchemaMissing):
        return
    if replaced is None:
        raise Refusal(409, "nothing_to_replace", f"There is no batch of the id or key {name!r} to replace.")
    refuse_others(bearer, replaced)
    if replaced.state != "published":
        reason = f"Batch {replaced.id} is {replaced.state}; only a published one can be replaced."
        raise Refusal(409, "nothing_to_replace", reason)


def refuse_if_other(before: SentBefore, manifest: Manifest) -> None:
    its = whose(before)
    if before.withdrawn or before.state == "withdrawn":
        raise key_taken(f"{its}, which was withdrawn")
    if None not in {manifest.sha256, before.sha256} and manifest.sha256 != before.sha256:
        raise content_taken(its, before.sha256, manifest)
    if before.state == "rejected":  # another try
        return
    refuse_other_options(its, before, manifest, named=before.id == manifest.batch)
    if manifest.replaces not in {None, before.replaces_key, str(before.replaces)}:
        raise key_taken(f"{its}, which replaces {before.replaces or 'none'}")


def refuse_other(held: Manifest, manifest: Manifest, state: State) -> None:
    """Who repeats a request means the same batch; of one that was rejected, another try. Raises 409."""
    its = whose(held)
    if held.sha256 != manifest.sha256:
        raise content_taken(its, held.sha256, manifest)
    if state == "rejected":
        return
    refuse_other_options(its, held, manifest)
    if held.replaces != manifest.replaces:
        raise key_taken(f"{its}, which replaces {held.replaces or 'none'}")


def whose(held: Manifest | SentBefore) -> str:
    if isinstance(held, Manifest):
        return f"The key {held.key!r} belongs to batch {held.batch}"
    return f"The key {held.key!r} belongs to batch {held.id} ({held.state})"


def refuse_other_options(
    its: str, held: Manifest | SentBefore, manifest: Manifest, *, named: bool = True
) -> None:
    differing = other_terms(held, manifest, named=named)
    if differing is not None:
        raise key_taken(f"{its}, which was sent with {differing}")


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


def content_taken(its: str, sha256: str | None, manifest: Manifest) -> Refusal:
    if manifest.sha256 is None:
        return key_taken(f"{its}, whose content was the body of a request")
    known = sha256 or "not known, since it is put at an address of its own"
    why = f"whose content is another: its SHA-256 is {known}, that of this body is {manifest.sha256}"
    return key_taken(f"{its}, {why}")


def key_taken(why: str) -> Refusal:
    return Refusal(409, "key_taken", f"{why}; use another Idempotency-Key.")
