"""Tells whoever asked for it how a batch ended: once, signed, and again until they answer or a day is over.

`publish.end_batch` writes down who is to be told, `access.signatures` signs it with the key of the bearer who
sent the batch, and `callback_request` makes the request. Any worker that has the secret may do it, one at a
time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import class_row

from access import callback_urls
from access.errors import CallbackUrlRefused, SettingUnavailable
from access.signatures import CallbackSecrets, signed_headers
from database.queries import query
from loader.callback_request import Call, Unanswered, status_words
from loader.history import batch_with_id
from telemetry.log import bound, get_logger
from telemetry.metrics import emit

# Between attempts; the last one again and again.
WAITS_S = (10, 30, 60, 300, 900, 3_600)
GIVEN_UP_AFTER_S = 24 * 3_600
# Whoever calls this has other things to do, and somebody who does not answer takes ten seconds each.
TURN_S = 30.0
GONE = 410
LOOPBACK = "RATES_CALLBACK_LOOPBACK"
KEYS = (
    "batch", "key", "state", "rows", "seconds", "error_count", "failure", "source", "created_at", "ended_at",
    "dry_run",
)  # fmt: skip
log = get_logger("rates.callbacks")


@dataclass(frozen=True)
class Callback:
    """A row of `callbacks` that is due, in attempt number `attempt`."""

    batch_id: UUID
    outcome: str
    created_at: datetime
    age_s: float
    attempt: int

    @property
    def message_id(self) -> str:
        """The same however often it is sent, so that who has had it knows; the same end of a batch that was
        gone on with is another."""
        return f"{self.batch_id}-{self.outcome}-{round(self.created_at.timestamp() * 1_000_000)}"


@dataclass(frozen=True)
class Attempt:
    """What became of one: `answer` in a few words, `final` where there is to be no other."""

    answer: str
    told: bool = False
    final: bool = False


def deliver_callbacks(
    connection: psycopg.Connection, secrets: CallbackSecrets, *, stop: Callable[[], bool]
) -> int:
    """Tells whoever is due, for half a minute at most or until it is stopped; returns how many know now.

    `connection` is in autocommit. A worker that is killed leaves its callback due: it may come twice.
    """
    began, told = time.monotonic(), 0
    while not stop() and time.monotonic() - began < TURN_S:
        attempt = deliver_next(connection, secrets)
        if attempt is None:
            break
        told += attempt.told
    return told


def deliver_next(connection: psycopg.Connection, secrets: CallbackSecrets) -> Attempt | None:
    """None where nobody is due whom no other worker is telling, or there is no secret to sign with."""
    with connection.transaction():
        with connection.cursor(row_factory=class_row(Callback)) as cursor:
            callback = cursor.execute(query("loader", "next_callback")).fetchone()
        if callback is None:
            return None
        batch = batch_with_id(connection, callback.batch_id)
        with bound(batch=callback.batch_id, request_id=batch["request_id"]):
            try:
                signing = secrets.known()
            except SettingUnavailable as error:
                log.warning("callbacks wait for the secret to sign with", reason=str(error))
                return None
            if not signing:  # which has been logged
                return None
            attempt = record(connection, callback, tell(callback, batch, signing))
    note(callback, batch, attempt)
    return attempt


def tell(callback: Callback, batch: Mapping[str, Any], signing: Sequence[str]) -> Attempt:
    """One attempt, signed by each of these secrets."""
    try:
        url = callback_urls.parse(batch["callback_url"])
    except CallbackUrlRefused as error:
        return Attempt(str(error), final=True)
    if url.loopback and os.environ.get(LOOPBACK) != "1":
        return Attempt(f"it is this machine itself, which {LOOPBACK} does not allow", final=True)
    body = message(callback, batch)
    headers = signed_headers(signing, batch["created_by"], callback.message_id, datetime.now(UTC), body)
    kind = {"content-type": "application/json", "user-agent": "rates"}
    try:
        status = Call(url, {**kind, **headers}, body).status_within()
    except Unanswered as error:
        return Attempt(str(error))
    return Attempt(status_words(status), told=200 <= status < 300, final=status == GONE)


def message(callback: Callback, batch: Mapping[str, Any]) -> bytes:
    """The batch as it is now, what happened to it and when."""
    what = {"type": f"batch.{callback.outcome}", "timestamp": callback.created_at}
    return msgspec.json.encode({**what, **{key: batch[key] for key in KEYS}})


def record(connection: psycopg.Connection, callback: Callback, attempt: Attempt) -> Attempt:
    """Writes it down; the last one there was time for is final."""
    wait_s = WAITS_S[min(callback.attempt, len(WAITS_S)) - 1]
    over = callback.age_s + wait_s > GIVEN_UP_AFTER_S
    attempt = Attempt(attempt.answer, attempt.told, not attempt.told and (attempt.final or over))
    key = {"batch_id": callback.batch_id, "outcome": callback.outcome}
    values = {**key, **vars(attempt), "attempts": callback.attempt, "wait_s": wait_s}
    connection.execute(query("loader", "record_callback"), values)
    return attempt


def note(callback: Callback, batch: Mapping[str, Any], attempt: Attempt) -> None:
    """The address is left out: what gives a right to be told may stand in it."""
    what = {"outcome": callback.outcome, "attempt": callback.attempt, "answer": attempt.answer}
    with bound(batch=callback.batch_id, request_id=batch["request_id"]):
        if attempt.told:
            emit("callback told", {"callbacks_told": (1, "Count")}, **what)
        elif attempt.final:
            emit("callback given up", {"callbacks_given_up": (1, "Count")}, **what)
        else:
            log.warning("callback not answered", **what)
