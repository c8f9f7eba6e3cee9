"""`POST /batches/uploads`: an address at which the sender puts a file, of any size, into the bucket.

A large one goes there in parts, each at its own address, and `POST /batches/ID/upload` puts them together.
What is put there is a batch: the bucket tells the loader of it, and nobody has to tell us.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import falcon
import msgspec
from msgspec import UNSET, UnsetType

from access.tokens import WRITE
from api.acceptance import (
    claim,
    discard,
    key_taken,
    not_written,
    refuse_known,
    refuse_other,
    send_again,
    whose,
)
from api.batches import respond
from api.bearers import Bearers
from api.errors import Refusal
from api.known import KnownBatch, KnownBatches, Time, batch_id, is_there, of_manifest
from api.orders import PARAMETERS as ORDER_PARAMETERS
from api.orders import read_order
from api.parameters import by_name, number_parameter, read_parameters
from storage.bucket import Bucket
from storage.errors import ObjectExists, ObjectMissing
from storage.layout import parts_key
from storage.manifest import UPLOADED, Manifest
from storage.parts import PART_BYTES_MAX, Part, PartedUpload, begin_upload
from telemetry.log import get_logger

EXPIRES_S = 3600
PARTS_MAX = 1_000
# What S3 takes in one piece.
SINGLE_BYTES_MAX = 5 * 2**30
PART_BYTES = 64 * 2**20
MIB = 2**20
# So many parts are named of those that are not as they were announced.
NAMED_MAX = 5
log = get_logger("rates.api")
PARAMETERS = by_name(
    *ORDER_PARAMETERS.values(),
    number_parameter(
        "size", "Of the file, in bytes; above 5 GiB it goes in parts.", PARTS_MAX * PART_BYTES_MAX
    ),
)


class Announced(msgspec.Struct, frozen=True):
    """A file in parts, as it was announced: `size` is all of it. Kept beside the batch's manifest."""

    upload_id: str
    size: int
    part_bytes: int

    @property
    def sizes(self) -> list[int]:
        """Of each part, the first one first."""
        count = math.ceil(self.size / self.part_bytes)
        return [self.part_bytes] * (count - 1) + [self.size - (count - 1) * self.part_bytes]


class UploadPart(msgspec.Struct, frozen=True):
    """Where to put a part; `part` is its number, from 1."""

    part: int
    url: str


class Upload(msgspec.Struct, frozen=True):
    """How to send the file: to `url`, or in `parts` of `part_bytes` each, and then a POST to `complete`."""

    method: str
    expires_at: Time
    url: str | UnsetType = UNSET
    parts: list[UploadPart] | UnsetType = UNSET
    part_bytes: int | UnsetType = UNSET
    complete: str | UnsetType = UNSET


class UploadAnswer(KnownBatch, frozen=True, kw_only=True):
    upload: Upload


@dataclass(frozen=True)
class Uploads:
    """What is larger than `single_bytes_max` goes in parts of at least `part_bytes`."""

    known: KnownBatches
    bearers: Bearers
    single_bytes_max: int = SINGLE_BYTES_MAX
    part_bytes: int = PART_BYTES

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """201 with an address; given the same key again, with a new one for the same batch, or 200 once the
        file is there."""
        bearer = self.bearers.admit(request, WRITE)
        given = read_parameters(request, PARAMETERS)
        size = given["size"]
        order = read_order(request, given)
        bucket = self.known.bucket
        manifest = order.manifest(order.key or f"{UPLOADED}{uuid4()}", request, bearer)
        there = is_there(bucket, manifest.content)
        state = refuse_known(self.known, manifest, bearer, is_there=there)
        held = claim(bucket, manifest)
        if held is None:
            raise not_written(manifest)
        refuse_other(held, manifest, state)
        if held != manifest:
            held = send_again(bucket, held, manifest, state)
        if there:
            respond(response, of_manifest(held, "accepted"))
            return
        upload = self._address(held, size)
        told = msgspec.structs.asdict(of_manifest(held, "uploading"))
        respond(response, UploadAnswer(**told, upload=upload), falcon.HTTP_201)
        log.info("upload announced", batch=str(held.batch), bearer=bearer.name, bytes=size)

    def _address(self, held: Manifest, size: int | None) -> Upload:
        bucket = self.known.bucket
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=EXPIRES_S)
        announced = find_announced(bucket, held.batch)
        if announced is None and (size is None or size <= self.single_bytes_max):
            return Upload("PUT", expires_at, url=bucket.put_address(held.content, EXPIRES_S, size))
        if announced is not None and announced.size != size:
            raise key_taken(f"{whose(held)}, which was announced with {announced.size:,} bytes")
        if announced is None or not is_under_way(bucket, held.content, announced):
            announced = self._announce(held, size or 0, again=announced is not None)
        parted = PartedUpload(bucket, held.content, announced.upload_id)
        numbers = range(1, len(announced.sizes) + 1)
        return Upload(
            "PUT",
            expires_at,
            parts=[UploadPart(number, parted.put_address(number, EXPIRES_S)) for number in numbers],
            part_bytes=announced.part_bytes,
            complete=f"/batches/{held.batch}/upload",
        )

    def _announce(self, held: Manifest, size: int, *, again: bool) -> Announced:
        bucket, key = self.known.bucket, parts_key(held.batch)
        part_bytes = max(self.part_bytes, math.ceil(size / PARTS_MAX / MIB) * MIB)
        parted = begin_upload(bucket, held.content)
        announced = Announced(parted.upload_id, size, part_bytes)
        if again:
            bucket.put(key, msgspec.json.encode(announced))
            return announced
        try:
            bucket.create(key, msgspec.json.encode(announced))
        except ObjectExists:  # by the same request, sent twice at once; or by this one, whose answer got lost
            there = find_announced(bucket, held.batch) or announced
            if there != announced:
                parted.abort()
            return there
        return announced


@dataclass(frozen=True)
class FinishedUpload:
    """`POST /batches/ID/upload`: all parts are there."""

    known: KnownBatches
    bearers: Bearers

    def on_post(self, request: falcon.Request, response: falcon.Response, batch: str) -> None:
        """202 once they are one file. Raises 409 where they are not what was announced."""
        bearer = self.bearers.admit(request, WRITE)
        read_parameters(request)
        bucket = self.known.bucket
        manifest = self.known.manifest(batch_id(batch))
        announced = find_announced(bucket, manifest.batch)
        if not self.known.has_content(manifest):
            if announced is None:
                reason = "Nothing was announced in parts for this batch; put the file at its address."
                raise Refusal(409, "no_parts", reason)
            complete(PartedUpload(bucket, manifest.content, announced.upload_id), announced)
            log.info("upload completed", batch=str(manifest.batch), bearer=bearer.name, bytes=announced.size)
        if announced is not None:
            discard(bucket, parts_key(manifest.batch))
        respond(response, of_manifest(manifest, "accepted"), falcon.HTTP_202)


def complete(parted: PartedUpload, announced: Announced) -> None:
    try:
        parts = parted.parts()
        refuse_incomplete(parts, announced)
        parted.complete(parts)
    except ObjectMissing as error:
        if is_there(parted.bucket, parted.key):
            return  # by the same request, sent twice
        reason = "The parts were not put together in time and are gone; ask POST /batches/uploads again."
        raise Refusal(409, "upload_expired", reason) from error


def refuse_incomplete(parts: list[Part], announced: Announced) -> None:
    there = {part.number: part.size for part in parts}
    faults = [
        f"part {number} {f'has {there[number]:,} bytes of {size:,}' if number in there else 'is missing'}"
        for number, size in enumerate(announced.sizes, 1)
        if there.get(number) != size
    ]
    faults += [f"there is a part {number}" for number in there if number > len(announced.sizes)]
    if faults:
        more = f"; and {len(faults) - NAMED_MAX:,} more" if len(faults) > NAMED_MAX else ""
        named = "; ".join(faults[:NAMED_MAX])
        reason = f"The parts are not the {announced.size:,} bytes that were announced: {named}{more}."
        raise Refusal(409, "upload_incomplete", reason)


def find_announced(bucket: Bucket, batch: UUID) -> Announced | None:
    found = bucket.find(parts_key(batch))
    return None if found is None else msgspec.json.decode(found, type=Announced)


def is_under_way(bucket: Bucket, key: str, announced: Announced) -> bool:
    try:
        PartedUpload(bucket, key, announced.upload_id).parts()
    except ObjectMissing:
        return False
    return True
