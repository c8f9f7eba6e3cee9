"""A batch as it is told of, whoever knows it: the ledger, or so far only the bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from api.errors import Refusal
from api.ledger import STATES, BatchStatus, Fault, FaultKind, Ledger
from storage.bucket import Bucket
from storage.errors import ObjectMissing, StorageError
from storage.manifest import Manifest, read_manifest

# Of one batch, and of each in a list.
FAULTS_SHOWN, FAULTS_LISTED = 100, 3
# States of a batch that the bucket alone knows.
ONLY_SENT = ("uploading", "accepted")
# Of one batch all there are: the ledger has a few thousand at most.
KINDS_SHOWN = 2**31 - 1


Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Progress(msgspec.Struct, frozen=True):
    """`share` is of all there is, from 0 to 1. What is not known, or no longer of interest, is null."""

    share: float | None = 0.0
    rows: int = 0
    rows_per_second: int | None = None
    chunks: int = 0
    chunks_planned: int | None = None
    expected_end: Time | None = None


class RowFault(msgspec.Struct, frozen=True):
    """One thing wrong with one row; `column` and `value` are null where it is the whole row."""

    file: str
    line: int
    column: str | None
    value: str | None
    reason: str


class FaultsOfKind(msgspec.Struct, frozen=True):
    """All faults with the same column, value and reason: `count` rows have it, the first at `first_lines` of
    `file`. Where a batch has too many different values, one that is null stands for the others.
    `probably_meant` are codes of ports (`GET /ports` lists all), where `value` is nearly one."""

    column: str | None
    value: str | None
    reason: str
    count: int
    first_lines: list[int]
    file: str
    probably_meant: list[str]


class KnownBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What `loader load --json` says of a batch, and what else is known; `errors` are the first ones,
    `error_kinds` count all of them."""

    batch: UUID
    state: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [*ONLY_SENT, *STATES]})]
    rows: int = 0
    seconds: float = 0.0
    errors: list[RowFault] = []
    error_count: int = 0
    error_kinds: list[FaultsOfKind] = []
    key: str
    source: str
    created_by: str
    created_at: Time
    ended_at: Time | None = None
    dry_run: bool
    deadline: Time | None
    late_since: Time | None = None
    failure: str | None = None
    content_hash: str | None
    request_id: str | None
    replaces: str | None = None
    replaced_by: UUID | None = None
    progress: Progress = Progress()


@dataclass(frozen=True)
class KnownBatches:
    """Raises DatabaseUnavailable and StorageUnavailable."""

    ledger: Ledger
    bucket: Bucket

    def find(self, name: str) -> KnownBatch:
        """Of this id, in the ledger or the bucket. Raises 404."""
        batch = batch_id(name)
        status = self.status(batch)
        if isinstance(status, Manifest):
            return of_manifest(status, self.state_of(status))
        return self.of_statuses([status], FAULTS_SHOWN, KINDS_SHOWN)[0]

    def of_statuses(self, statuses: list[BatchStatus], faults_max: int, kinds_max: int) -> list[KnownBatch]:
        """With so many faults, and kinds of them, each."""
        faults = self.ledger.first_faults(statuses, faults_max)
        kinds = self.ledger.fault_kinds(statuses, kinds_max)
        return [of_status(one, faults[one.batch_no], kinds[one.batch_no]) for one in statuses]

    def status(self, batch: UUID) -> BatchStatus | Manifest:
        """The ledger's word, and the bucket's where it has none yet. Raises 404."""
        status = self.ledger.find(batch)
        if status is not None:
            return self.sent_again(status) or status
        manifest = self.manifest(batch)
        # Whoever loaded the same under this key, by `loader load` say, was there first; and by now the ledger
        # may have this one.
        found = self.state(of_manifest(manifest, "accepted"))
        return (found and self.ledger.find(found[0])) or manifest

    def sent_again(self, status: BatchStatus) -> Manifest | None:
        """What was sent again of a batch that was rejected, and had not been judged anew by then."""
        judged_at = status.accepted_at or status.ended_at
        if status.state != "rejected" or judged_at is None:
            return None
        try:
            manifest = read_manifest(self.bucket, status.id)
        except StorageError:  # the ledger's word is good as well
            return None
        return manifest if manifest is not None and manifest.accepted_at > judged_at else None

    def state(self, batch: KnownBatch) -> tuple[UUID, str] | None:
        """The ledger's word alone, and the id that it has the batch under."""
        return self.ledger.state(
            batch.batch,
            key=batch.key,
            dry_run=batch.dry_run,
            content_hash=batch.content_hash,
            sent_at=batch.created_at if batch.state in ONLY_SENT else None,
        )

    def manifest(self, batch: UUID) -> Manifest:
        """Raises 404."""
        manifest = read_manifest(self.bucket, batch)
        if manifest is None:
            raise batch_not_found()
        return manifest

    def state_of(self, manifest: Manifest) -> str:
        return "accepted" if self.has_content(manifest) else "uploading"

    def has_content(self, manifest: Manifest) -> bool:
        """Whether it is all there; what the API has put there itself is."""
        return manifest.sha256 is not None or is_there(self.bucket, manifest.content)


def is_there(bucket: Bucket, key: str) -> bool:
    try:
        bucket.look(key)
    except ObjectMissing:
        return False
    return True


def batch_id(name: str) -> UUID:
    """Raises 404 for what is no id."""
    try:
        return UUID(name)
    except ValueError:
        raise batch_not_found() from None


def batch_not_found() -> Refusal:
    return Refusal(404, "batch_not_found", "There is no batch of this id.")


def of_manifest(manifest: Manifest, state: str) -> KnownBatch:
    return KnownBatch(
        batch=manifest.batch,
        state=state,
        key=manifest.key,
        source=manifest.source,
        created_by=manifest.accepted_by,
        created_at=manifest.accepted_at,
        dry_run=manifest.dry_run,
        deadline=manifest.deadline,
        content_hash=manifest.sha256,
        request_id=manifest.request_id,
        replaces=manifest.replaces,
    )


def of_status(status: BatchStatus, faults: list[Fault], kinds: list[FaultKind]) -> KnownBatch:
    ended = status.ended_at is not None
    loaded = ended and status.state != "withdrawn"  # which it may have been long after
    overall = round(status.row_count / status.seconds) if loaded and status.seconds > 0 else None
    progress = Progress(
        share=status.share,
        rows=status.row_count,
        rows_per_second=status.rows_per_second if status.rows_per_second is not None else overall,
        chunks=status.chunk_count,
        chunks_planned=status.chunks_planned,
        expected_end=None if ended else status.expected_end,
    )
    return KnownBatch(
        batch=status.id,
        state=status.state,
        rows=status.row_count,
        seconds=round(status.seconds, 3),
        errors=[RowFault(*fault) for fault in faults],
        error_count=status.error_count,
        error_kinds=[FaultsOfKind(*kind) for kind in kinds],
        key=status.key,
        source=status.source,
        created_by=status.created_by,
        created_at=status.created_at,
        ended_at=status.ended_at,
        dry_run=status.dry_run,
        deadline=status.deadline,
        late_since=status.late_since,
        failure=status.failure,
        content_hash=status.content_hash,
        request_id=status.request_id,
        replaces=None if status.replaces is None else str(status.replaces),
        replaced_by=status.replaced_by,
        progress=progress,
    )
