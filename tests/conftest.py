"""One PostgreSQL server a run, and for each test a database of its own, cloned from a migrated template.

What needs more than Python says so with `@pytest.mark.needs("buildah")`: it runs where that is found and is
listed by name where it is not. With RATES_TESTS_COMPLETE set, as in CI, whatever did not run is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.postgres import SUPERUSER, PostgresServer, free_port
from storage import clients
from tests.batch_storage import BatchStorage, new_storage, running_server
from tests.postgres import PASSWORD, Database, clone, make_template, set_password

COMPLETE = bool(os.environ.get("RATES_TESTS_COMPLETE"))
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
    for name, value in storage.environment().items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    return storage


# --- what needs more than Python ---------------------------------------------------------------------------

NOT_RUN = pytest.StashKey[list[str]]()
# What a complete run may lack since it says so: RATES_TESTS_ABSENT lists it, and REFERENCE_DUMP, set to
# nothing, says that there is no reference dump, which is not public.
DECLARED_ABSENT = {*os.environ.get("RATES_TESTS_ABSENT", "").split()}
if os.environ.get("REFERENCE_DUMP") == "":
    DECLARED_ABSENT.add("reference")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*parts): programs on PATH, `root`, or `reference` (REFERENCE_DUMP)"
    )
    config.stash[NOT_RUN] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes out, by name, what cannot run here; in a complete run it stays in and fails."""
    lacking = {item: missing_parts(item) for item in items}
    out = [item for item in items if lacking[item] and (not COMPLETE or {*lacking[item]} <= DECLARED_ABSENT)]
    config.stash[NOT_RUN] += [f"{item.nodeid} (needs {', '.join(lacking[item])})" for item in out]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = missing_parts(item)
    if missing:
        pytest.fail(f"this run must be complete and lacks {', '.join(missing)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[NOT_RUN]:
        terminalreporter.section("not run here")
        for line in config.stash[NOT_RUN]:
            terminalreporter.line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each process that runs tests has collected all of them: they lack the same."""
    node.config.stash[NOT_RUN] = getattr(node, "workeroutput", {}).get("not_run", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a complete run a skipped test is a failed run."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = session.config.stash[NOT_RUN]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if COMPLETE and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def missing_parts(item: pytest.Item) -> list[str]:
    needed = [part for mark in item.iter_markers("needs") for part in mark.args]
    return [part for part in dict.fromkeys(needed) if not is_there(part)]


def is_there(part: str) -> bool:
    match part:
        case "root":
            return os.geteuid() == 0
        case "reference":
            return bool(os.environ.get("REFERENCE_DUMP"))
        case "postgresql-15":
            return Path("/usr/lib/postgresql/15/bin/postgres").is_file()
        case _:
            return shutil.which(part) is not None
