"""What was accepted, found again by what the queue tells of, and opened in the ledger under its own id.

Whoever accepts a batch writes its manifest beside its content, and needs neither the ledger nor a worker for
it. `plan` takes it from here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.chunks import CHUNK_ROWS
from loader.errors import LoaderError, UsageError
from loader.ledger import Batch, Order, find_batch, found_again, open_batch
from loader.others import batch_to_replace
from loader.publish import give_up
from storage.bucket import Bucket, StoredObject
from storage.errors import ObjectExists, ObjectMissing
from storage.layout import BATCHES, batch_id_of, batch_of
from storage.manifest import Manifest, other_terms, read_manifest, replace_manifest, write_manifest

# Whoever put an object into the bucket by hand, as the ledger calls them.
BY_HAND = "s3"


def find_accepted(bucket: Bucket, key: str) -> Manifest | None:
    """The batch of an object that the bucket tells of; None where there is nothing to do, or nothing before
    another object is there.

    An object that belongs to none is a batch by itself, and gets its manifest now.
    """
    batch = batch_of(key)
    if batch is None:
        return by_itself(bucket, key) if key.startswith(BATCHES) and not key.endswith("/") else None
    manifest = read_manifest(bucket, batch)
    return manifest if manifest is not None and is_there(bucket, manifest) else None


def accepted_batch(bucket: Bucket, batch: UUID) -> Manifest | None:
    """The batch of this id; None where none was accepted. Its content may still be on its way."""
    return read_manifest(bucket, batch)


def is_there(bucket: Bucket, manifest: Manifest) -> bool:
    """Whether the content has come: before the manifest, unless the sender brings it after that."""
    if manifest.sha256 is not None or manifest.etag is not None:
        return True
    try:
        bucket.look(manifest.content)
    except ObjectMissing:
        return False
    return True


def by_itself(bucket: Bucket, key: str) -> Manifest | None:
    try:
        found = bucket.look(key)
    except ObjectMissing:
        return None
    manifest = manifest_of(bucket, found)
    try:
        write_manifest(bucket, manifest)
    except ObjectExists:  # put there before; the same once more is judged anew where it was rejected
        held = read_manifest(bucket, manifest.batch)
        if held is not None and held.accepted_at < manifest.accepted_at:
            replace_manifest(bucket, manifest)
    return manifest


def manifest_of(bucket: Bucket, found: StoredObject) -> Manifest:
    """Of an object that is a batch by itself: once it is replaced, the other is another batch."""
    source = f"s3://{bucket.name}/{found.key}"
    etag = found.etag.strip('"')
    key = f"{source} {etag}"
    return Manifest(
        batch=batch_id_of(key),
        key=key,
        content=found.key,
        source=source,
        accepted_by=BY_HAND,
        accepted_at=found.modified_at,
        size=found.size,
        etag=found.etag,
    )


def open_accepted(connection: psycopg.Connection, manifest: Manifest, etag: str | None = None) -> Batch:
    """The batch in the ledger, whatever its state. Only one that is new is opened, or was rejected and has
    been sent again since: what comes late or twice begins none.

    A key may be known there: under another id, by `loader load`, or under its own, from long ago. With the
    same content and options that is the batch; else what was accepted fails, as a batch of its own where the
    id is taken. `etag` is that of an object whose content no one has hashed.
    """
    order = order_of(manifest)
    batch = find_batch(connection, order.key) or open_with_plan(connection, order)
    known = terms_of(connection, batch)
    conflict = conflict_of(batch, known, manifest, order, etag)
    if conflict is not None:
        return open_conflict(connection, batch, order, etag, f"{conflict}; send it under another key")
    if judged_anew(batch, known, manifest):
        batch = open_with_plan(connection, order)
    if manifest.replaces is not None and batch.state == "loading" and batch.replaces is None:
        batch = with_replaced(connection, batch, manifest, manifest.replaces)
    return batch


@dataclass(frozen=True)
class KnownTerms:
    """What the ledger's batch was sent with; `known_at` is when it was sent last, or ended."""

    source: str
    deadline: datetime | None
    callback_url: str | None
    adds: bool
    object_etag: str | None
    known_at: datetime
    replaces_key: str | None
    replaces: UUID | None


def terms_of(connection: psycopg.Connection, batch: Batch) -> KnownTerms:
    with connection.cursor(row_factory=class_row(KnownTerms)) as cursor:
        found = cursor.execute(query("loader", "batch_terms"), {"batch_no": batch.batch_no}).fetchone()
    if found is None:  # begun again since, under another number
        raise LoaderError(f"batch {batch.id} was begun again by another load; load it again")
    return found


def with_replaced(connection: psycopg.Connection, batch: Batch, manifest: Manifest, name: str) -> Batch:
    """The batch, with the one whose place it takes; failed where there is none of that name, or it is
    another sender's."""
    try:
        replaced = batch_to_replace(connection, name, source="", is_dump=False)
        sent_by = connection.execute(query("loader", "sent_by"), {"id": replaced}).fetchone()
        if not manifest.by_admin and sent_by != (manifest.accepted_by,):
            raise UsageError(f"batch {replaced} is another sender's; to replace it takes the scope admin")
    except UsageError as error:
        give_up(connection, batch, str(error))
    else:
        values = {"batch_no": batch.batch_no, "replaces": replaced}
        connection.execute(query("loader", "set_replaces"), values)
    return found_again(connection, batch.key)


def open_with_plan(connection: psycopg.Connection, order: Order) -> Batch:
    """Both or none: of what is accepted, opened and never planned, nobody would know any more."""
    with connection.transaction():
        batch = open_batch(connection, order)
        connection.execute(query("loader", "open_plan"), {"batch_no": batch.batch_no})
    return batch


def order_of(manifest: Manifest) -> Order:
    return Order(
        manifest.key,
        bytes.fromhex(manifest.sha256) if manifest.sha256 else None,
        manifest.source,
        CHUNK_ROWS,
        id=manifest.batch,
        created_by=manifest.accepted_by,
        deadline=manifest.deadline,
        dry_run=manifest.dry_run,
        callback_url=manifest.callback_url,
        request_id=manifest.request_id,
        accepted_at=manifest.accepted_at,
        adds=manifest.adds,
    )


def judged_anew(batch: Batch, known: KnownTerms, manifest: Manifest) -> bool:
    """Whether it was rejected, and has been sent again since."""
    return batch.state == "rejected" and manifest.accepted_at > known.known_at


def conflict_of(
    batch: Batch, known: KnownTerms, manifest: Manifest, order: Order, etag: str | None
) -> str | None:
    """Why the batch of this key is not the one that was accepted."""
    again = batch.id != order.id or manifest.accepted_at > known.known_at
    withdrawn = batch.withdrawn_by is not None or batch.state == "withdrawn"
    other_object = order.content_hash is None and None not in {etag, known.object_etag}
    other_place = manifest.replaces not in {None, known.replaces_key, str(known.replaces)}
    differing = other_terms(known, manifest, named=batch.id == order.id)
    anew = judged_anew(batch, known, manifest)
    what = None
    if batch.dry_run != order.dry_run:
        what = f"which is {'a' if batch.dry_run else 'no'} dry run"
    elif batch.content_hash != order.content_hash:
        what = "whose content is another"
    elif other_object and etag != known.object_etag:
        what = f"whose content is another: its ETag is {known.object_etag}, this one's {etag}"
    elif again and withdrawn:
        what = "which was withdrawn"
    elif differing is not None and not anew:
        what = f"which was sent with {differing}"
    elif other_place and batch.state != "loading" and not anew:
        what = f"which replaces {known.replaces or 'none'}"
    return what and f"key {batch.key!r} belongs to batch {batch.id} ({batch.state}), {what}"


def open_conflict(
    connection: psycopg.Connection, known: Batch, order: Order, etag: str | None, reason: str
) -> Batch:
    """A batch that fails for this reason, once for each content."""
    content = order.content_hash.hex() if order.content_hash else etag
    own_id = order.id if known.id != order.id else uuid5(order.id, str(content))
    key = f"{order.key} (conflict {own_id})"
    batch = find_batch(connection, key) or open_batch(connection, replace(order, key=key, id=own_id))
    give_up(connection, batch, reason)
    return found_again(connection, key)
