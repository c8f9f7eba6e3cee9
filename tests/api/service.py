"""The API as it runs: gunicorn in a process of its own, on a port of its own, as the role rates_api."""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self

import httpx

from local.postgres import HOST, free_port
from local.processes import ChildProcess
from tests.api.conformance import ConformingClient
from tests.batch_storage import server_environment
from tests.waiting import TIMEOUT_S, wait_until

OURS, CHANGED = "python:api.server", "python:tests.api.changed_server"
COMMAND = [sys.executable, "-m", "gunicorn", "--config", OURS, "api.wsgi:app"]
# What would point the API, or gunicorn, at something else.
ELSEWHERE = ("PG", "DATABASE_URL", "RATES_", "AWS_", "BATCH_", "GUNICORN_", "WEB_CONCURRENCY", "API_", "PORT")
# A bucket and a queue that nobody has, for who asks for neither.
NOWHERE = {
    **server_environment("http://127.0.0.1:1"),
    "BATCH_BUCKET": "nowhere",
    "BATCH_QUEUE_URL": "http://127.0.0.1:1/nowhere",
}

# For addresses without TLS: to read the certificates of all authorities takes 30 ms of a processor.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# A database that is away.
AWAY = {"PGHOST": HOST, "PGPORT": "1", "PGUSER": "rates_api", "PGDATABASE": "rates"}


NOTHING: Mapping[str, object] = MappingProxyType({})
# An answer is new only because the API was told of a commit: it asks by itself once a minute.
ONLY_TOLD = MappingProxyType({"api.data_version.POLL_S": 60, "api.data_version.LEASE_S": 60})


class Service:
    """One API; `variables` are its environment: libpq's, and those of a bucket where it has one. `changed`
    are constants of the product, `api.data_version.POLL_S` say, that are others in this process: what a test
    waits for then cannot come of what it does not mean, however slow the machine is."""

    def __init__(self, variables: Mapping[str, str], *, changed: Mapping[str, object] = NOTHING) -> None:
        self.port = free_port()
        self.lines: list[str] = []
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ELSEWHERE)}
        env = inherited | NOWHERE | {"PORT": str(self.port)} | dict(variables)
        command = [*COMMAND, f"--bind={HOST}:{self.port}"]
        if changed:
            command[command.index(OURS)] = CHANGED
            env["CHANGED"] = json.dumps(dict(changed))
        self.process = ChildProcess(command, env=env, output=self.lines.append)
        address = f"http://{HOST}:{self.port}"
        self.client = ConformingClient(
            base_url=address, trust_env=False, timeout=TIMEOUT_S, verify=NO_AUTHORITIES
        )
        self.client.private_batches = variables.get("RATES_PRIVATE_BATCHES") == "1"

    def __enter__(self) -> Self:
        self.process.start()
        wait_until(lambda: self.is_live() or not self.process.running)
        assert self.process.running, "\n".join(self.lines)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.stop()

    def is_live(self) -> bool:
        try:
            return self.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def raw(self, request: bytes, *, then_close: bool = False) -> bytes:
        """The whole answer to bytes, on a connection of their own."""
        with socket.create_connection((HOST, self.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(request)
            if then_close:
                connection.shutdown(socket.SHUT_WR)
            return rest(connection)

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.get(path, params=parameters or None)

    def rates(self, orig_code: str, dest_code: str, date_from: str, date_to: str = "") -> list[dict]:
        """What GET /rates answers, of one day where no second one is given."""
        answer = self.get(
            "/rates",
            orig_code=orig_code,
            dest_code=dest_code,
            date_from=date_from,
            date_to=date_to or date_from,
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == {"rates"}
        return answer.json()["rates"]


def rest(connection: socket.socket) -> bytes:
    """All that still comes, until the other side closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))
