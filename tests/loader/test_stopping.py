"""A signal that asks to stop: it is heard at once, whenever it comes and however often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from loader.stopping import StopSignal
from tests.waiting import TIMEOUT_S


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    before = signal.getsignal(signal.SIGUSR1)
    yield StopSignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_it_is_not_set_before_the_signal_and_waits_as_long_as_it_is_told(stop: StopSignal) -> None:
    began = time.monotonic()
    stop.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert not stop.is_set()


def test_a_signal_before_the_wait_ends_it(stop: StopSignal) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)
    stop.wait(TIMEOUT_S * 10)
    assert stop.is_set()
    stop.wait(TIMEOUT_S * 10)


STORM = """
import os, signal, subprocess, sys
from loader.stopping import StopSignal

stop = StopSignal(signal.SIGUSR1)
send = f"import os, signal; [os.kill({os.getpid()}, signal.SIGUSR1) for _ in range(50_000)]"
with subprocess.Popen([sys.executable, "-c", send]) as sender:
    while sender.poll() is None:
        stop.wait(0.001)
assert stop.is_set()
"""


def test_signals_in_the_midst_of_waiting_do_not_lock_it_up() -> None:
    """They would, if it were an Event: its wait and its set want the same lock, in the same thread."""
    subprocess.run([sys.executable, "-c", STORM], timeout=TIMEOUT_S, check=True, capture_output=True)
