"""For each module of these tests: a database, a bucket and one API on them, which its tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.postgres import PostgresServer
from storage import clients
from tests.api.ingestion import TOKENS
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage, new_storage
from tests.postgres import Database, clone

KEEP_NOTHING = {"RATES_ANSWERS_BYTES_MAX": "0"}
# Two parts and some.
UPLOAD_BYTES_MAX = 20 * 2**20


@pytest.fixture(scope="module")
def filled(server: PostgresServer, template: str) -> Iterator[Database]:
    """The module's database; its modules fill it."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def service(filled: Database) -> Iterator[Service]:
    """The module's API, of one worker: what a request leaves behind meets the next. It logs no fault, and
    keeps no answer: a test sees what it wrote the moment before."""
    with Service(filled.environment("rates_api") | {"WEB_CONCURRENCY": "1"} | KEEP_NOTHING) as service:
        yield service
    assert_no_fault(service)


@pytest.fixture(scope="module")
def batch_storage(storage_server: str) -> BatchStorage:
    """The module's bucket and queue."""
    return new_storage(storage_server)


@pytest.fixture
def store(batch_storage: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> BatchStorage:
    """The module's bucket and queue, which the test's own process uses too."""
    for name, value in batch_storage.environment().items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    return batch_storage


@pytest.fixture(scope="module")
def ingestion(filled: Database, batch_storage: BatchStorage) -> Iterator[Service]:
    """The module's API with its bucket and queue: one worker of four threads, which logs no fault."""
    own = {"WEB_CONCURRENCY": "1", "RATES_UPLOAD_BYTES_MAX": str(UPLOAD_BYTES_MAX)}
    with Service(filled.environment("rates_api") | batch_storage.environment() | TOKENS | own) as service:
        yield service
    assert_no_fault(service)


@pytest.fixture(scope="module")
def alone(batch_storage: BatchStorage) -> Iterator[Service]:
    """The module's API with its bucket and queue, whose database is away."""
    with Service(AWAY | batch_storage.environment() | TOKENS | {"WEB_CONCURRENCY": "1"}) as service:
        yield service


def assert_no_fault(service: Service) -> None:
    faults = [line for line in service.lines if "Traceback" in line or "failed" in line]
    assert not faults, "\n".join(service.lines)
