"""A database with ports in it and a file of good rows, for the tests of the loader."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
import structlog.testing

from local.postgres import PostgresServer, free_port
from storage.bucket import Bucket
from tests.batch_storage import BatchStorage
from tests.loader.batches import add_places, make_rows, write_csv
from tests.postgres import PASSWORD, Database, clone, make_template


@pytest.fixture
def ports(as_loader: Database) -> Database:
    """A migrated database with the places of `batches`; the test's own process is its loader."""
    add_places(as_loader)
    return as_loader


@pytest.fixture(scope="session")
def mortal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One that tests kill and start again."""
    folder = tmp_path_factory.mktemp("mortal")
    with PostgresServer(folder / "data", free_port(), PASSWORD, settings={"fsync": "off"}) as server:
        make_template(server)
        yield server


@pytest.fixture
def on_mortal_server(mortal_server: PostgresServer) -> Iterator[Database]:
    """A database with places in it, whose server the test may kill."""
    database = clone(mortal_server)
    add_places(database)
    yield database
    if not mortal_server.running:
        mortal_server.start()
    database.drop()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "good.csv", make_rows(50))


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    """What the test's own process logs, a line an event."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@pytest.fixture
def connection(ports: Database) -> Iterator[psycopg.Connection]:
    with ports.connect("rates_loader") as connection:
        yield connection


@pytest.fixture
def bucket(storage: BatchStorage) -> Bucket:
    return storage.bucket
