"""Where in the bucket what lies. The bucket tells the queue of all that is put below `batches/`.

batches/ID/manifest.json   what was accepted (`manifest`); with it the batch is
batches/ID/content-…       its content, as the API put it there, once a request; below some other id where
                           that of the batch follows from content that was not all there yet
batches/ID/upload          its content, as the sender put it there, at a presigned address
batches/ID/parts.json      how the sender puts it there in parts, while they do
batches/…                  anything else is a batch by itself: a seed, a file put there by hand
chunks/ID/N                a chunk cut out of what cannot be read from the middle; gone with the batch
"""

from __future__ import annotations

from uuid import UUID, uuid5

BATCHES = "batches/"
CHUNKS = "chunks/"
MANIFEST = "manifest.json"
UPLOAD = "upload"
PARTS = "parts.json"
# A batch's id follows from its key, so that whoever accepts it needs nobody to know it again.
KEYS = UUID("6f1b0d5e-3c57-4a3e-9a53-5d1f0c2f7a41")


def batch_id_of(key: str) -> UUID:
    """The id of the batch that goes by this key."""
    return uuid5(KEYS, key)


def manifest_key(batch: UUID) -> str:
    return f"{BATCHES}{batch}/{MANIFEST}"


def upload_key(batch: UUID) -> str:
    return f"{BATCHES}{batch}/{UPLOAD}"


def parts_key(batch: UUID) -> str:
    return f"{BATCHES}{batch}/{PARTS}"


def content_key(batch: UUID, request: str) -> str:
    """Two requests for one batch at once may bring different content: each has a place of its own."""
    return f"{BATCHES}{batch}/content-{request}"


def chunks_prefix(batch: UUID) -> str:
    return f"{CHUNKS}{batch}/"


def chunk_key(batch: UUID, chunk_no: int) -> str:
    return f"{chunks_prefix(batch)}{chunk_no:06}"


def batch_of(key: str) -> UUID | None:
    """The batch that an object below `batches/` belongs to; None where it is one by itself."""
    folder, slash, _ = key.removeprefix(BATCHES).partition("/")
    try:
        return UUID(folder) if slash and key.startswith(BATCHES) else None
    except ValueError:
        return None
