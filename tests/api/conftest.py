"""What these tests share: for each module with prices a database and an API on it, for all others together
one API with its database and bucket."""

from __future__ import annotations

from collections.abc import Iterator

import falcon.testing
import pytest

from api import batch
from api.app import create_app
from api.data_version import NewestVersion
from api.settings import read_settings
from api.store import Store
from database.connect import make_pool
from local.postgres import PostgresServer
from tests.api.ingestion import TOKENS, bearing
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage, new_storage
from tests.postgres import Database, clone

KEEP_NOTHING = {"RATES_ANSWERS_BYTES_MAX": "0"}
# Two parts and some.
UPLOAD_BYTES_MAX = 20 * 2**20
# Of the app in the test's own process.
WITHDRAWAL_S = 0.5


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


@pytest.fixture(scope="session")
def batch_storage(storage_server: str) -> BatchStorage:
    """The bucket and queue of all modules: what others have put there is there as well."""
    return new_storage(storage_server)


@pytest.fixture
def store(batch_storage: BatchStorage, monkeypatch: pytest.MonkeyPatch) -> BatchStorage:
    """That bucket and queue, which the test's own process uses too."""
    batch_storage.use(monkeypatch)
    return batch_storage


@pytest.fixture(scope="session")
def ledger(server: PostgresServer, template: str) -> Iterator[Database]:
    """The database of all modules whose tests need no prices but their own batches."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.fixture(scope="session")
def running_ingestion(ledger: Database, batch_storage: BatchStorage) -> Iterator[Service]:
    """One worker of four threads."""
    own = {"WEB_CONCURRENCY": "1", "RATES_UPLOAD_BYTES_MAX": str(UPLOAD_BYTES_MAX)}
    with Service(ledger.environment("rates_api") | batch_storage.environment() | TOKENS | own) as service:
        yield service


@pytest.fixture(scope="module")
def ingestion(running_ingestion: Service) -> Iterator[Service]:
    """The API of all these modules with its bucket and queue; it logs no fault."""
    lines = len(running_ingestion.lines)
    yield running_ingestion
    assert_no_fault(running_ingestion, lines)


@pytest.fixture
def impatient(
    ledger: Database, store: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> Iterator[falcon.testing.TestClient]:
    """The app in the test's own process, which waits for a worker only for WITHDRAWAL_S."""
    for name, value in ledger.environment("rates_api").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(batch, "WITHDRAWAL_S", WITHDRAWAL_S)
    settings = read_settings(store.environment() | TOKENS)
    with make_pool("test", size_max=1) as pool:
        app = create_app(Store(pool), NewestVersion(pool.getconn), settings)
        yield falcon.testing.TestClient(app, headers=bearing())


@pytest.fixture(scope="session")
def alone(batch_storage: BatchStorage) -> Iterator[Service]:
    """An API with that bucket and queue, whose database is away."""
    with Service(AWAY | batch_storage.environment() | TOKENS | {"WEB_CONCURRENCY": "1"}) as service:
        yield service


def assert_no_fault(service: Service, since: int = 0) -> None:
    """In the lines that it has logged since these many."""
    lines = service.lines[since:]
    assert not [line for line in lines if "Traceback" in line or "failed" in line], "\n".join(lines)
