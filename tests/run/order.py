"""The order of a run: what takes a moment first, so that a mistake shows at once; then the long files, the
longest first, so that no process is busy long after the others have ended.

`seconds.json` says which files are long. `make test RECORD=1` writes anew what it says of those that ran.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS_FILE = Path(__file__).with_name("seconds.json")
# What takes less is not written down.
QUICK_S = 2
RECORD = bool(os.environ.get("RATES_TESTS_RECORD"))


def seconds_of_files() -> dict[str, float]:
    """Seconds of tests by file, of those that take QUICK_S or more."""
    return json.loads(SECONDS_FILE.read_text())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seconds = seconds_of_files()
    items.sort(key=lambda item: place(seconds.get(file_of(item.nodeid), 0)))


def place(seconds: float) -> tuple[bool, float]:
    return seconds >= QUICK_S, -seconds


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_configure(config: pytest.Config) -> None:
    if RECORD and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


class Recorder:
    """Adds up what each file takes; in the process that hears of every test."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._spent[file_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = {file: spent for file, spent in seconds_of_files().items() if (ROOT / file).is_file()}
        found = {
            file: round(spent) for file, spent in sorted((known | self._spent).items()) if spent >= QUICK_S
        }
        SECONDS_FILE.write_text(json.dumps(found, indent=0) + "\n")
