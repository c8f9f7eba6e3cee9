"""What the ledger knows of batches, read over the store's connections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from api.store import Store
from database.queries import query

# States after which nothing comes by itself.
ENDED = ("published", "rejected", "valid", "failed", "withdrawn")
STATES = ("loading", *ENDED)


@dataclass(frozen=True)
class BatchStatus:
    """A row of the view `batch_status`; what is not known of it is None."""

    batch_no: int
    id: UUID
    key: str
    content_hash: str | None
    source: str
    state: str
    row_count: int
    error_count: int
    created_by: str
    created_at: datetime
    ended_at: datetime | None
    dry_run: bool
    deadline: datetime | None
    late_since: datetime | None
    failure: str | None
    request_id: str | None
    chunk_count: int
    chunks_planned: int | None
    share: float | None
    rows_per_second: int | None
    expected_end: datetime | None
    accepted_at: datetime | None
    replaces: UUID | None
    replaced_by: UUID | None
    seconds: float


@dataclass(frozen=True)
class SentBefore:
    """The batch that has a key, and what it was sent with; `replaces_key` is of the one it replaces."""

    id: UUID
    key: str
    state: str
    sha256: str | None
    source: str
    deadline: datetime | None
    callback_url: str | None
    adds: bool
    ended_at: datetime | None
    withdrawn: bool
    created_by: str
    request_id: str | None
    replaces: UUID | None
    replaces_key: str | None


class Fault(NamedTuple):
    """One thing wrong with one row, as `loader.errors.RowError` has it."""

    file: str
    line: int
    column: str | None
    value: str | None
    reason: str


class FaultKind(NamedTuple):
    """Faults with the same column, value and reason, as `loader.errors.ErrorKind` has them."""

    column: str | None
    value: str | None
    reason: str
    count: int
    first_lines: list[int]
    file: str
    probably_meant: list[str]


class Place(NamedTuple):
    """Where among a batch's faults one stands."""

    chunk_no: int
    error_no: int


FIRST = Place(-1, -1)


@dataclass(frozen=True)
class Ledger:
    """Every method raises DatabaseUnavailable."""

    store: Store

    def find(self, batch: UUID) -> BatchStatus | None:
        found = self._statuses("batch", {"id": batch})
        return found[0] if found else None

    def newest(self, *, state: str | None, before: int | None, limit: int) -> list[BatchStatus]:
        """Newest first, below the number `before`."""
        values = {"state": state, "before": before, "limit": limit}
        return self._statuses("batches", values)

    def sent_before(self, batch: UUID, key: str) -> SentBefore | None:
        """The batch of this key, or of this id."""

        def ask(connection: psycopg.Connection) -> SentBefore | None:
            with connection.cursor(row_factory=class_row(SentBefore)) as rows:
                return rows.execute(query("api", "sent_before"), {"id": batch, "key": key}).fetchone()

        return self.store.read(ask)

    def state(
        self, batch: UUID, *, key: str, dry_run: bool, content_hash: str | None, sent_at: datetime | None
    ) -> tuple[UUID, str] | None:
        """Of the batch of this id, or of the same one under another, which is told first; None of one that
        was rejected before `sent_at`."""
        values = {"id": batch, "key": key, "dry_run": dry_run, "content_hash": content_hash}
        rows = self._rows("batch_state", {**values, "sent_at": sent_at})
        return rows[0] if rows else None

    def first_faults(self, statuses: list[BatchStatus], limit: int) -> dict[int, list[Fault]]:
        """By the batch's number; asked only where there are some."""
        found: dict[int, list[Fault]] = defaultdict(list)
        numbers = [status.batch_no for status in statuses if status.error_count]
        if numbers:
            for batch_no, *fault in self._rows("first_errors", {"batch_nos": numbers, "limit": limit}):
                found[batch_no].append(Fault(*fault))
        return found

    def fault_kinds(self, statuses: list[BatchStatus], limit: int) -> dict[int, list[FaultKind]]:
        """By the batch's number, the most frequent first; asked only where there are faults."""
        found: dict[int, list[FaultKind]] = defaultdict(list)
        numbers = [status.batch_no for status in statuses if status.error_count]
        if numbers:
            for batch_no, *kind in self._rows("fault_kinds", {"batch_nos": numbers, "limit": limit}):
                found[batch_no].append(FaultKind(*kind))
        return found

    def not_listed(self, batch_no: int) -> int:
        """How many faults of a batch are counted and nothing else is known of."""
        return self._rows("faults_not_listed", {"batch_no": batch_no})[0][0]

    def next_faults(self, batch_no: int, after: Place, limit: int) -> list[tuple[Place, Fault]]:
        values = {"batch_no": batch_no, "limit": limit, **after._asdict()}
        return [(Place(*row[:2]), Fault(*row[2:])) for row in self._rows("next_errors", values)]

    def _statuses(self, name: str, values: Mapping[str, Any]) -> list[BatchStatus]:
        def ask(connection: psycopg.Connection) -> list[BatchStatus]:
            with connection.cursor(row_factory=class_row(BatchStatus)) as rows:
                return rows.execute(query("api", name), values).fetchall()

        return self.store.read(ask)

    def _rows(self, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return self.store.read(lambda connection: connection.execute(query("api", name), values).fetchall())
