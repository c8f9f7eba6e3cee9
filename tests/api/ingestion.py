"""What tests of batches over HTTP share: bearers, files, and what an answer about a batch has to be."""

from __future__ import annotations

import csv
import io
import os
from typing import Any

import httpx

from access.tokens import ADMIN, READ, WRITE, entry_of
from storage.clients import client
from storage.messages import Work, decode
from tests.api.service import Service
from tests.batch_storage import BatchStorage

WRITER, READER = "a-token-that-may-read-and-write", "a-token-that-may-only-read"
OTHER, ADMINISTRATOR = "a-token-that-may-write", "a-token-that-may-do-everything"
ENTRIES = (
    entry_of("writer", [READ, WRITE], WRITER),
    entry_of("reader", [READ], READER),
    entry_of("other", [WRITE], OTHER),
    entry_of("administrator", [ADMIN], ADMINISTRATOR),
)
TOKENS = {"RATES_API_TOKENS": " ".join(ENTRIES)}
# The id of no batch.
NOBODY = "00000000-0000-4000-8000-000000000000"
CSV = b"orig_code,dest_code,day,price\nCNSGH,EETLL,2021-03-01,2510\n"
BATCH_KEYS = {
    *(
        "batch",
        "state",
        "rows",
        "seconds",
        "errors",
        "error_count",
        "error_kinds",
        "key",
        "source",
        "created_by",
        "created_at",
    ),
    *("ended_at", "dry_run", "deadline", "late_since", "failure", "content_hash", "request_id", "progress"),
    *("replaces", "replaced_by"),
}
PROGRESS_KEYS = {"share", "rows", "rows_per_second", "chunks", "chunks_planned", "expected_end"}


def bearing(token: str | None = WRITER, **headers: str) -> dict[str, str]:
    """Headers, those of a bearer among them; underscores stand for dashes."""
    own = {} if token is None else {"Authorization": f"Bearer {token}"}
    return own | {name.replace("_", "-"): value for name, value in headers.items()}


def post(service: Service, content: Any = CSV, path: str = "/batches", **headers: str) -> httpx.Response:
    """A body from the writer; a generator goes in chunks."""
    return service.client.post(path, content=content, headers=bearing(**headers))


def unlike(*others: bytes) -> bytes:
    """A file that no other test sends."""
    return CSV + os.urandom(8).hex().encode() + b"".join(others)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    """The batch that has been accepted just now."""
    batch = told(answer, 202)
    assert answer.headers["location"] == f"/batches/{batch['batch']}"
    assert batch["state"] == "accepted"
    assert (batch["rows"], batch["errors"], batch["error_count"], batch["error_kinds"]) == (0, [], 0, [])
    return batch


def told(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    batch = answer.json()
    assert batch.keys() - {"upload"} == BATCH_KEYS
    assert batch["progress"].keys() == PROGRESS_KEYS
    return batch


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """The shape that every error has; its description."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"title", "description", "code"}
    assert body["code"] == code
    assert body["title"]
    return body["description"]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def keys_in(storage: BatchStorage) -> set[str]:
    """Of all objects in the bucket."""
    return {found.key for found in storage.bucket.list("")}


def works_in(storage: BatchStorage) -> set[Work]:
    """What the queue asks for, and does so no more."""
    found: set[Work] = set()
    while messages := storage.queue.receive(10, wait_s=0, visibility_s=30):
        for message in messages:
            found.update(decode(message.body))
            storage.queue.done(message)
    return found


def under_way(storage: BatchStorage) -> int:
    """How many uploads in parts were begun and neither completed nor aborted."""
    return len(client("s3").list_multipart_uploads(Bucket=storage.name).get("Uploads", []))
