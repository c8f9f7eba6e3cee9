"""`POST /batches`: a file as the body becomes a batch. `GET /batches`: the newest ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID, uuid4

import falcon
import msgspec

from access.tokens import WRITE
from api.acceptance import accept
from api.bearers import Bearers
from api.compression import respond_json
from api.errors import BadParameter
from api.intake import Body, take_in
from api.known import FAULTS_LISTED, KnownBatch, KnownBatches, of_manifest
from api.ledger import STATES
from api.orders import PARAMETERS, read_order
from api.pages import next_link
from api.parameters import Parameter, by_name, number_parameter, read_parameters
from api.threads import Threads
from storage.layout import batch_id_of
from storage.manifest import CONTENT
from telemetry.metrics import emit

LISTED, LISTED_MAX = 20, 100
NUMBER_MAX = 2**31 - 1


class BatchList(msgspec.Struct, frozen=True):
    """The newest first; `next` is the address of those before them, null where there are none."""

    batches: list[KnownBatch]
    next: str | None


@dataclass(frozen=True)
class Batches:
    """`upload_bytes_max` bounds a body."""

    known: KnownBatches
    bearers: Bearers
    threads: Threads
    upload_bytes_max: int

    def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
        """202 once the batch is accepted, whatever becomes of it, and whether or not it was before."""
        began = time.monotonic()
        bearer = self.bearers.admit(request, WRITE)
        order = read_order(request, read_parameters(request, PARAMETERS))
        body = Body(request, self.upload_bytes_max)

        def batch_of(sha256: str | None) -> UUID:
            key = order.key or (sha256 and f"{CONTENT}{sha256}")
            return batch_id_of(key) if key else uuid4()

        with self.threads.lasting():
            content = take_in(self.known.bucket, body, batch_of)
        key = order.key or f"{CONTENT}{content.sha256}"
        manifest = order.manifest(key, request, bearer, content)
        held = accept(self.known, manifest, bearer)
        respond(response, of_manifest(held, "accepted"), falcon.HTTP_202)
        first = held == manifest
        emit(
            "batch accepted" if first else "batch accepted again",
            {
                "batches_accepted": (int(first), "Count"),
                "accepted_bytes": (content.size, "Bytes"),
                "accept_seconds": (round(time.monotonic() - began, 3), "Seconds"),
            },
            batch=str(held.batch),
            bearer=bearer.name,
        )

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """Those that the ledger knows; one that is only accepted is asked for by its id."""
        self.bearers.admit_reader(request, response)
        given = read_parameters(request, LIST_PARAMETERS)
        state, limit = given["state"], given["limit"]
        statuses = self.known.ledger.newest(state=state, before=given["before"], limit=limit + 1)
        shown = statuses[:limit]
        following = None
        if len(statuses) > limit:
            query = ({"state": state} if state else {}) | {"limit": limit, "before": shown[-1].batch_no}
            following = f"/batches?{urlencode(query)}"
            response.set_header("Link", next_link(following))
        listed = self.known.of_statuses(shown, FAULTS_LISTED, FAULTS_LISTED)
        respond_json(request, response, BatchList(listed, following))

    on_head = on_get


def respond(response: falcon.Response, batch: KnownBatch, status: str = falcon.HTTP_200) -> None:
    response.status = status
    response.data = msgspec.json.encode(batch)
    response.cache_control = ["no-store"]
    if status in (falcon.HTTP_201, falcon.HTTP_202):
        response.location = f"/batches/{batch.batch}"


def read_state(name: str, text: str) -> str:
    if text not in STATES:
        reason = f"{name} is {text[:100]!r}; expected one of {', '.join(STATES)}."
        raise BadParameter(reason, code="invalid_state")
    return text


LIST_PARAMETERS = by_name(
    Parameter(
        "state",
        "Only those that are in this state.",
        {"type": "string", "enum": list(STATES)},
        read_state,
        codes=("invalid_state",),
    ),
    number_parameter("limit", "How many at most.", LISTED_MAX, LISTED),
    number_parameter("before", "Only those before this one, taken from the address in `next`.", NUMBER_MAX),
)
