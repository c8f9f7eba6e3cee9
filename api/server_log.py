"""gunicorn's own log, as lines of JSON among all others."""

from __future__ import annotations

import sys
from typing import Any

from gunicorn.glogging import Logger

from telemetry.log import configure

REFUSED = "Invalid request from "


class ServerLog(Logger):
    """There is no log of requests, which the load balancer has; nor of what stands in one, as a token may."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        configure("api")

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """gunicorn says who sent what it refuses, why, and quotes it: the last is left out."""
        if str(msg).startswith(REFUSED):
            msg = ": ".join(str(msg).split(": ")[:2])
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Without the address that was asked for. A client that stops in the middle of a head is no fault."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            return
        super().exception(str(msg).partition(" %s")[0] if args else msg, **kwargs)
