"""What was accepted, found again by what the queue tells of, and opened in the ledger under its own id.

Whoever accepts a batch writes its manifest beside its content, and needs neither the ledger nor a worker for
it. `plan` takes it from here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import psycopg

from database.queries import query
from loader.chunks import CHUNK_ROWS
from loader.ledger import Batch, Order, find_batch, found_again, open_batch
from loader.publish import give_up
from storage.bucket import Bucket, StoredObject
from storage.errors import ObjectExists, ObjectMissing
from storage.layout import BATCHES, batch_id_of, batch_of
from storage.manifest import Manifest, read_manifest, write_manifest
from telemetry.log import get_logger

# Whoever put an object into the bucket by hand, as the ledger calls them.
BY_HAND = "s3"
log = get_logger("rates.accepted")


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
    with suppress(ObjectExists):
        write_manifest(bucket, manifest)
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


def open_accepted(connection: psycopg.Connection, manifest: Manifest) -> Batch:
    """The batch in the ledger, whatever its state. Only one that is new is opened: what comes late or twice
    begins none again.

    A key may be known there under another id, by `loader load`. With the same content that is the batch; else
    the one that was accepted fails, and its own id tells why.
    """
    order = order_of(manifest)
    batch = find_batch(connection, order.key) or open_with_plan(connection, order)
    conflict = conflict_of(batch, order)
    if conflict is None:
        return batch
    if batch.id == order.id:
        log.warning("key accepted again", reason=conflict)
        return batch
    return open_conflict(connection, order, f"{conflict}; send it under another key")


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
    )


def conflict_of(batch: Batch, order: Order) -> str | None:
    """Why the batch of this key is not the one that was accepted."""
    whose = f"key {batch.key!r} belongs to batch {batch.id} ({batch.state})"
    if batch.dry_run != order.dry_run:
        return f"{whose}, which is {'a' if batch.dry_run else 'no'} dry run"
    if batch.content_hash != order.content_hash:
        return f"{whose}, whose content is another"
    if batch.id != order.id and (batch.withdrawn_by is not None or batch.state == "withdrawn"):
        return f"{whose}, which was withdrawn"
    return None


def open_conflict(connection: psycopg.Connection, order: Order, reason: str) -> Batch:
    key = f"{order.key} (conflict {order.id})"
    batch = find_batch(connection, key) or open_batch(connection, replace(order, key=key))
    give_up(connection, batch, reason)
    return found_again(connection, key)
