"""A chunk as it was planned, and how its rows are read: a range of the content, or an object of its own.

`plan` has cut it, `schedule` picks it; what is read here goes to `check` as any other chunk does.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from uuid import UUID

from loader.chunks import Chunk
from loader.content import Content
from loader.ledger import Batch
from storage.bucket import Bucket
from storage.errors import ObjectChanged
from storage.layout import chunks_prefix

# So often a chunk is begun before its batch is given up, and a plan until a chunk of it is planned: a worker
# that is killed may have been killed by it.
ATTEMPTS_MAX = 5
# So many tickets of a batch are in the queue at most, however many chunks it has: whatever is sent next, a
# new batch or a withdrawal, waits behind them (`tests/system/test_fairness.py`). No more slots than that work
# at one batch, unless they find nothing in the queue: where there are many, RATES_TICKETS_MAX is as many.
# Whoever has done a chunk puts its ticket back while there are more.
TICKETS_MAX = 32


@dataclass(frozen=True)
class PlannedChunk:
    """A row of `planned_chunks`: bytes of the content, or of an object of its own, `object_key`.

    `attempts` is how often it was begun, `failure` what the last try ended with, where that was nothing that
    is expected. `request_id` is that of whatever brought the batch.
    """

    batch: Batch
    chunk_no: int
    first_line: int
    begin_byte: int
    end_byte: int
    object_key: str | None
    content: Content
    attempts: int
    failure: str | None = None
    request_id: str | None = None


def read_chunk(bucket: Bucket, planned: PlannedChunk) -> Chunk:
    """The chunk that `sources` would have cut. Raises ObjectMissing, ObjectChanged, StorageUnavailable."""
    # Polars, which those who only know of chunks do not wait for.
    import polars as pl  # noqa: PLC0415

    from loader.formats.delimited import DelimitedChunk, Layout  # noqa: PLC0415
    from loader.formats.ndjson import NdjsonChunk  # noqa: PLC0415
    from loader.formats.parquet import ParquetChunk  # noqa: PLC0415

    content, line = planned.content, planned.first_line
    data = read_bytes(bucket, planned)
    match content.kind:
        case "delimited":
            layout = Layout(content.columns_at(line), content.separator, content.quoted)
            return DelimitedChunk(content.source, line, layout, data)
        case "ndjson":
            return NdjsonChunk(content.source, line, data)
        case "parquet":
            return ParquetChunk(content.source, line, pl.read_ipc(BytesIO(data)))


def read_bytes(bucket: Bucket, planned: PlannedChunk) -> bytes:
    size = planned.end_byte - planned.begin_byte
    key, etag = planned.content.key, planned.content.etag
    if planned.object_key is not None:
        key, etag = planned.object_key, None
    data = bucket.read(key, planned.begin_byte, planned.end_byte, etag)
    if len(data) != size:
        raise ObjectChanged(f"s3://{bucket.name}/{key}: a chunk has {len(data):,} bytes, {size:,} were cut")
    return data


def forget_chunk_objects(bucket: Bucket, batch: UUID) -> None:
    """Deletes the chunks of a batch that has ended, where they are objects of their own."""
    bucket.delete(*[found.key for found in bucket.list(chunks_prefix(batch))])
