"""Batches as they are accepted, planned and done, for tests that follow one from the bucket to the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
from msgspec.structs import replace

from loader.check import Ports, check
from loader.chunks import Chunk
from loader.content import Content, decode_content
from loader.ledger import (
    Batch,
    Order,
    chunk_transaction,
    claim_chunk,
    known_ports,
    open_batch,
    write_chunk,
)
from loader.plan import plan_batch
from loader.planned import PlannedChunk, read_chunk
from loader.publish import end_batch
from storage.bucket import Bucket
from storage.layout import batch_id_of, content_key
from storage.manifest import Manifest, write_manifest
from storage.messages import DoChunk
from tests.postgres import Database

PLANNED = """SELECT chunk_no, first_line, begin_byte, end_byte, object_key, attempts
    FROM planned_chunks WHERE batch_no = %s ORDER BY chunk_no"""


def accept(bucket: Bucket, stored: bytes, key: str = "k", **changes: Any) -> Manifest:
    """Puts content and manifest where the API puts them."""
    batch = batch_id_of(key)
    manifest = Manifest(
        batch=batch,
        key=key,
        content=content_key(batch, "1"),
        source="prices.csv",
        accepted_by="somebody",
        accepted_at=datetime.now(UTC),
        sha256="ab" * 32,
        size=len(stored),
    )
    manifest = replace(manifest, **changes)
    bucket.put(manifest.content, stored)
    write_manifest(bucket, manifest)
    return manifest


def open_small(connection: psycopg.Connection, manifest: Manifest, chunk_rows: int) -> Batch:
    """Opens a batch to be cut into small chunks, as it is in every try of it."""
    content_hash = bytes.fromhex(manifest.sha256) if manifest.sha256 else None
    order = Order(manifest.key, content_hash, manifest.source, chunk_rows, id=manifest.batch)
    return open_batch(connection, order)


class Sent(list[int]):
    """The chunks that were sent, by number; stops the planner once they are `stop_after`."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after

    def send(self, messages: list[DoChunk]) -> None:
        self += [message.chunk for message in messages]

    def stop(self) -> bool:
        return len(self) == self.stop_after


def plan(
    connection: psycopg.Connection, bucket: Bucket, manifest: Manifest, sent: Sent | None = None
) -> Batch | None:
    sent = Sent() if sent is None else sent
    return plan_batch(connection, bucket, manifest, send=sent.send, stop=sent.stop)


def planned(database: Database, batch: Batch) -> list[PlannedChunk]:
    content = content_of(database, batch)
    rows = database.rows(PLANNED, batch.batch_no)
    return [PlannedChunk(batch, *row[:5], content=content, attempts=row[5]) for row in rows]


def content_of(database: Database, batch: Batch) -> Content:
    ((content,),) = database.rows("SELECT content FROM plans WHERE batch_no = %s", batch.batch_no)
    return decode_content(content)


def chunks_of(database: Database, bucket: Bucket, batch: Batch) -> list[Chunk]:
    """What whoever does the chunks reads."""
    return [read_chunk(bucket, chunk) for chunk in planned(database, batch)]


def do_all(
    connection: psycopg.Connection,
    database: Database,
    bucket: Bucket,
    batch: Batch,
    write: Callable[..., None] = write_chunk,
) -> str:
    """Does what is planned and ends the batch; returns how."""
    ((content, chunk_count),) = database.rows(
        "SELECT content, chunk_count FROM plans WHERE batch_no = %s", batch.batch_no
    )
    places = decode_content(content).places
    ports = Ports(known_ports(connection) | {port.code for port in places.ports})
    for each in planned(database, batch):
        chunk = read_chunk(bucket, each)
        with chunk_transaction(connection):
            if claim_chunk(connection, batch, each.chunk_no, chunk, wait=False) == "mine":
                write(connection, batch, each.chunk_no, chunk, check(chunk, ports))
    return end_batch(connection, batch, chunk_count=chunk_count, places=places).state
