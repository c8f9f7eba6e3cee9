"""A request's body on its way into the bucket, hashed as it goes by: no more of it in memory than a part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import falcon
import msgspec
from gunicorn.http.errors import NoMoreData, ParseException

from api.connections import let_send
from api.errors import Refusal
from storage.bucket import Bucket
from storage.errors import StorageError
from storage.layout import content_key
from storage.parts import Part, begin_upload

PART_BYTES = 8 * 2**20
# So much at a time from gunicorn, which copies what it is asked for.
READ_BYTES = 256 * 2**10
MULTIPART, URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
AS_IT_IS = "`--data-binary @FILE` or `-X POST -T FILE`"
# `curl -d @FILE` takes these away. Whatever is taken has one of them, but Zstandard and a single row of JSON.
STRIPPED = b"\n\r\0"
ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Content:
    """What has been put there: an object's key, the hash in hex, and the size in bytes."""

    key: str
    sha256: str
    size: int


@dataclass
class Body:
    """A request's body, in parts. Raises Refusal where it is too large, empty, malformed or cut short."""

    request: falcon.Request
    bytes_max: int
    size: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.expected = self.request.content_length
        if self.expected is not None and self.expected > self.bytes_max:
            raise body_too_large(f"has {self.expected:,} bytes", self.bytes_max)
        self._media_type = (self.request.content_type or "").lower().partition(";")[0].strip()
        if self._media_type == MULTIPART:
            raise is_form(f"{MULTIPART}; send the file itself as the body, as curl does with {AS_IT_IS}.")

    def begin(self) -> None:
        """Nothing of it is read before."""
        try:
            let_send(self.request.env)
        except OSError as error:
            raise cut_short("the client is gone") from error

    def part(self, part_bytes: int) -> bytearray:
        """The next bytes, `part_bytes` of them unless it ends; then `ended` is true."""
        part = bytearray()
        while len(part) < part_bytes and not self.ended:
            piece = self._read(min(READ_BYTES, part_bytes - len(part)))
            part += piece
            self.size += len(piece)
            if self.size > self.bytes_max:
                raise body_too_large("has more", self.bytes_max)
            self.ended = not piece or self.size == self.expected
        if self.ended and self.expected is not None and self.size < self.expected:
            raise cut_short(f"{self.size:,} of {self.expected:,} bytes came")
        if self.ended and self.size == 0:
            raise Refusal(400, "empty_body", "The body is empty; send the file as the body.")
        return part

    def refuse_form(self, first: bytes | bytearray) -> None:
        """By its first bytes: what curl sends with `--data-binary` it calls a form as well."""
        if self._media_type == URLENCODED and is_stripped(first):
            why = "`curl -d` takes them away; send the file as it is, with"
            raise is_form(f"{URLENCODED}, and has no ends of lines: {why} {AS_IT_IS}.")

    def _read(self, count: int) -> bytes:
        stream: Any = self.request.env["wsgi.input"]
        if self.expected is None and self.request.get_header("Transfer-Encoding") is None:
            return b""
        try:
            return stream.read(count)
        except TimeoutError as error:
            raise Refusal(408, "body_stalled", "Nothing more of the body came; send it again.") from error
        except (NoMoreData, OSError) as error:
            raise cut_short(f"{self.size:,} bytes came") from error
        except ParseException as error:
            raise Refusal(400, "malformed_body", "The body is not chunked as HTTP has it.") from error


def take_in(bucket: Bucket, body: Body, batch_of: Callable[[str | None], UUID]) -> Content:
    """Puts the body into the bucket. Raises Refusal and StorageUnavailable; then nothing of it stays there.

    `batch_of` says whose content it is: by the content's hash or, of one that is not all there yet, by None.
    """
    body.begin()
    digest = hashlib.sha256()
    first = body.part(PART_BYTES)
    body.refuse_form(first)
    digest.update(first)
    request = uuid4().hex
    if body.ended:
        sha256 = digest.hexdigest()
        key = content_key(batch_of(sha256), request)
        try:
            bucket.put(key, first)
        except StorageError:
            with suppress(StorageError):  # it may be there, and only its answer be lost
                bucket.delete(key)
            raise
        return Content(key, sha256, body.size)
    upload = begin_upload(bucket, content_key(batch_of(None), request))
    try:
        parts: list[Part] = []
        part = first
        del first
        while part:
            parts.append(upload.put(len(parts) + 1, part))
            del part  # before there is another
            part = body.part(PART_BYTES) if not body.ended else bytearray()
            digest.update(part)
        upload.complete(parts)
    except BaseException as error:
        with suppress(StorageError):  # the bucket aborts it by itself after some days
            upload.abort()
            if isinstance(error, StorageError):
                bucket.delete(upload.key)  # likewise
        raise
    return Content(upload.key, digest.hexdigest(), body.size)


def is_stripped(content: bytes | bytearray) -> bool:
    if any(byte in content for byte in STRIPPED) or content.startswith(ZSTD):
        return False
    try:
        msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return True
    return False  # one row


def is_form(which: str) -> Refusal:
    return Refusal(415, "unsupported_media_type", f"The body is a form, {which}")


def body_too_large(found: str, bytes_max: int) -> Refusal:
    reason = (
        f"The body {found}, {bytes_max:,} bytes are allowed; ask for an address for larger ones with"
        " POST /batches/uploads."
    )
    return Refusal(413, "body_too_large", reason)


def cut_short(found: str) -> Refusal:
    return Refusal(400, "body_cut_short", f"The body ended before its time: {found}.")
