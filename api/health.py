"""`GET /health/live` and `/health/ready`: whether to restart this process, whether to send it requests."""

from __future__ import annotations

from dataclasses import dataclass

import falcon
import msgspec

from api.store import Store

LIVE = {"status": "live"}


@dataclass(frozen=True)
class Live:
    """200 while the process serves at all; never asks the database, whose faults no restart of ours mends."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        respond(response, LIVE)

    on_head = on_get


@dataclass(frozen=True)
class Ready:
    """200 when a request would be answered, 503 when not.

    `ask_database` is off where a database pauses while nobody asks, so that a health check keeps none awake.
    """

    store: Store
    ask_database: bool

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        if self.ask_database:
            self.store.version()
        respond(response, {"status": "ready"})

    on_head = on_get


def respond(response: falcon.Response, body: dict[str, str]) -> None:
    response.data = msgspec.json.encode(body)
    response.cache_control = ["no-store"]
