"""A test that needs more than Python says so, `@pytest.mark.needs("buildah")`: it runs where that is found.

Where it is not, the test is listed by name. With RATES_TESTS_COMPLETE set, as in CI, what did not run is a
failure.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

COMPLETE = bool(os.environ.get("RATES_TESTS_COMPLETE"))
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
