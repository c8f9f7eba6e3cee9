"""`GET /batches/ID`: what became of a batch, at once or when it has ended. `DELETE`: takes it back."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import falcon

from access.tokens import WRITE
from api.batches import respond
from api.bearers import Bearers, refuse_others
from api.errors import Refusal
from api.known import KnownBatch, KnownBatches, batch_id, of_manifest
from api.ledger import ENDED
from api.parameters import read_parameters
from api.threads import Threads
from database.batch_states import NOTHING_IN
from database.errors import DatabaseUnavailable, SchemaMissing
from storage.messages import WithdrawBatch
from storage.work_queue import WorkQueue
from telemetry.log import get_logger

ASK_AGAIN_S = 0.2
# What a load balancer and gunicorn let a request take, and some.
WAIT_S_MAX = 25
WITHDRAWAL_S = 5.0
# RFC 7240, section 4.3.
WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:;.*)?", re.IGNORECASE | re.ASCII)
log = get_logger("rates.api")


@dataclass(frozen=True)
class Batch:
    known: KnownBatches
    queue: WorkQueue
    bearers: Bearers
    threads: Threads

    def on_get(self, request: falcon.Request, response: falcon.Response, batch: str) -> None:
        """At once, or with `Prefer: wait=SECONDS` as soon as it has ended."""
        self.bearers.admit_reader(request, response)
        read_parameters(request)
        found = self.known.find(batch)
        wait_s = preferred_wait_s(request)
        if wait_s and found.state not in ENDED:
            with self.threads.waiting() as may_wait:
                if may_wait:
                    self._wait(found, wait_s, ENDED)
                    response.set_header("Preference-Applied", f"wait={wait_s}")
                    found = self.known.find(batch)
        if found.batch != batch_id(batch):
            response.content_location = f"/batches/{found.batch}"
        respond(response, found)

    on_head = on_get

    def on_delete(self, request: falcon.Request, response: falcon.Response, batch: str) -> None:
        """200 once it is out of the answers, 202 where that takes longer or the database is away. A token
        with the scope `write` withdraws what it sent, one with `admin` any batch."""
        bearer = self.bearers.admit(request, WRITE)
        read_parameters(request)
        try:
            found = self.known.find(batch)
        except (DatabaseUnavailable, SchemaMissing):
            found = self._accepted(batch)
            if found is None:
                raise
        refuse_others(bearer, found)
        if found.state != "withdrawn":
            refuse_nothing(found)
            self.queue.send([WithdrawBatch(found.batch, bearer.name)])
            log.info("withdrawal asked for", batch=str(found.batch), bearer=bearer.name)
            found = self._withdrawn(found)
            refuse_nothing(found)
        respond(response, found, falcon.HTTP_200 if found.state == "withdrawn" else falcon.HTTP_202)

    def _accepted(self, batch: str) -> KnownBatch | None:
        """The batch as the bucket alone knows it."""
        try:
            manifest = self.known.manifest(batch_id(batch))
        except Refusal:
            return None
        return of_manifest(manifest, self.known.state_of(manifest))

    def _withdrawn(self, found: KnownBatch) -> KnownBatch:
        """As it is when it has been withdrawn, or after a while; as it was where the database is away."""
        with self.threads.waiting() as may_wait:
            try:
                if may_wait:
                    self._wait(found, WITHDRAWAL_S, ("withdrawn", *NOTHING_IN))
                return self.known.find(str(found.batch))
            except (DatabaseUnavailable, SchemaMissing):
                return found

    def _wait(self, found: KnownBatch, wait_s: float, states: Sequence[str]) -> None:
        """Until it is in one of these: asks again and again, and has no connection in between."""
        deadline = time.monotonic() + wait_s
        while (told := self.known.state(found)) is None or told[1] not in states:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(ASK_AGAIN_S, left))


def preferred_wait_s(request: falcon.Request) -> int:
    """0 without the preference; one that is none is left aside, as preferences are."""
    for preference in (request.get_header("Prefer") or "").split(","):
        match = WAIT.fullmatch(preference)
        if match:
            return min(int(match[1]), WAIT_S_MAX)
    return 0


def refuse_nothing(found: KnownBatch) -> None:
    if found.state in NOTHING_IN:
        reason = f"Batch {found.batch} {NOTHING_IN[found.state]}: none of its rows is in."
        raise Refusal(409, "nothing_to_withdraw", reason)
