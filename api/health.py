"""`GET /health/live` and `/health/ready`: whether to restart this process, whether to send it requests."""

from __future__ import annotations

from dataclasses import dataclass

import falcon
import msgspec

from api.store import Store

PREFIX = "/health/"


class Health(msgspec.Struct, frozen=True):
    """`live`, or `ready`."""

    status: str


LIVE = Health("live")


@dataclass(frozen=True)
class Live:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """200 while the process serves at all; never asks the database, whose faults no restart mends."""
        respond(response, LIVE)

    on_head = on_get


@dataclass(frozen=True)
class Ready:
    """`ask_database` is off where a database pauses while nobody asks, so that a health check keeps none
    awake."""

    store: Store
    ask_database: bool

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        """200 when a request would be answered, 503 when not."""
        if self.ask_database:
            self.store.version()
        respond(response, Health("ready"))

    on_head = on_get


def respond(response: falcon.Response, body: Health) -> None:
    response.data = msgspec.json.encode(body)
    response.cache_control = ["no-store"]


def is_health(path: str) -> bool:
    """Of such an address; nobody's limit counts it."""
    return path.startswith(PREFIX)
