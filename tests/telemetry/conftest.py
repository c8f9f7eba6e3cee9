"""What the test's own process logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.telemetry.logged import Lines, logged


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    monkeypatch.setenv("RATES_STACK", "dev")
    structlog.contextvars.clear_contextvars()  # what requests to an app in this process have bound
    with logged("loader") as lines:
        yield lines
