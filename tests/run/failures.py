"""Tells of a failure when it happens, and how to run it again; pytest tells the whole story at the end."""

from __future__ import annotations

import shlex

import pytest

AGAIN = ".venv/bin/python -m pytest"


class Teller:
    """In the process that hears of every test."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"FAILED {report.nodeid}: {reason(report)}", red=True)
            self._reporter.write_line(f"  again: {AGAIN} {shlex.quote(report.nodeid)}")

    def pytest_terminal_summary(self) -> None:
        if self._reporter.stats.keys() & {"failed", "error"}:
            self._reporter.write_line("all that failed again: make test FAILED=1")


def reason(report: pytest.TestReport) -> str:
    """The first line of what went wrong."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash else report.longreprtext
    return (said.strip().splitlines() or [""])[0]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Teller(reporter))
