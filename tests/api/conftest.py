"""For each module of these tests: a database of its own and one API on it, which its tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.postgres import PostgresServer
from tests.api.service import Service
from tests.postgres import Database, clone


@pytest.fixture(scope="module")
def filled(server: PostgresServer, template: str) -> Iterator[Database]:
    """The module's database; its modules fill it."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def service(filled: Database) -> Iterator[Service]:
    """The module's API, of one worker: what a request leaves behind meets the next. It logs no fault."""
    with Service(filled.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        yield service
    faults = [line for line in service.lines if "Traceback" in line or "failed" in line]
    assert not faults, "\n".join(service.lines)
