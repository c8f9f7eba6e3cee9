"""One PostgreSQL server a run, and for each test a database of its own, cloned from a migrated template.

How tests are chosen, ordered and told of is in `tests/run`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from local.postgres import SUPERUSER, PostgresServer, free_port, installed_bin_dirs
from tests.batch_storage import BatchStorage, new_storage, running_server
from tests.postgres import PASSWORD, Database, clone, make_template, set_password

# What a shell runs in the background ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ("tests.run.garbage", "tests.run.failures", "tests.run.needs", "tests.run.order")

# Nothing here has to outlive a power cut; kills of processes it does survive.
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    # Of a password, in each client and for each connection: 4096 of them take 3 ms, half of connecting.
    "scram_iterations": "1",
}


@pytest.fixture(scope="session")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Of PostgreSQL 15, for tests that are marked as needing it."""
    folder = tmp_path_factory.mktemp("postgresql-15") / "data"
    bin_dir = installed_bin_dirs()[15]
    with PostgresServer(folder, free_port(), PASSWORD, bin_dir, {"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL 18, running."""
    folder = tmp_path_factory.mktemp("postgres")
    with PostgresServer(folder / "data", free_port(), PASSWORD, settings=FAST_SETTINGS) as running:
        set_password(running, SUPERUSER)  # which initdb has set without these settings
        yield running


@pytest.fixture(scope="session")
def template(server: PostgresServer) -> str:
    """The name of a migrated, empty database that nobody is connected to."""
    return make_template(server)


@pytest.fixture
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    """A migrated database of this test's own."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.fixture
def empty_database(server: PostgresServer, template: str) -> Iterator[Database]:
    """A database without a schema; `template` gave the server its roles."""
    database = clone(server, "template0")
    yield database
    database.drop()


@pytest.fixture
def as_loader(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The test's own process is the loader: its environment names the test's database."""
    for name, value in database.environment("rates_loader").items():
        monkeypatch.setenv(name, value)
    return database


@pytest.fixture(scope="session")
def storage_server() -> Iterator[str]:
    """The address of S3 and SQS, running."""
    with running_server() as endpoint_url:
        yield endpoint_url


@pytest.fixture
def storage(storage_server: str, monkeypatch: pytest.MonkeyPatch) -> BatchStorage:
    """A bucket and queues of this test's own, which the test's own process uses too."""
    storage = new_storage(storage_server)
    storage.use(monkeypatch)
    return storage
