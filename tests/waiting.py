"""Waiting for what other processes do."""

import time
from collections.abc import Callable

TIMEOUT_S = 30


def wait_until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Returns once it is true; fails the test if that takes longer than any machine should."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
