"""A process measured from outside."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import BenchmarkError
from benchmarks.memory import pss_bytes
from benchmarks.process import NOT_PASSED_ON, run_process
from tests.waiting import wait_until

MB = 1_000_000


def python(code: str, timeout_s: float = 30, **environment: str):
    return run_process([sys.executable, "-I", "-S", "-c", code], environment=environment, timeout_s=timeout_s)


def test_a_process_is_measured_with_its_output_and_exit_status() -> None:
    before = time.monotonic()
    ended = python(
        "import os, sys, time; time.sleep(0.1); print(os.environ['WORD']); sys.exit('no')", WORD="yes"
    )
    assert (ended.exit_status, ended.stdout.strip(), ended.stderr.strip()) == (1, "yes", "no")
    # On the clock of whoever runs it: not before it was started, nor longer than until its end.
    assert before <= ended.began < ended.began + 0.1 <= ended.ended <= time.monotonic()
    assert ended.seconds == ended.ended - ended.began


def test_the_peak_of_a_process_is_its_own() -> None:
    """Neither what it has given back by its end is missed, nor is what this process holds counted."""
    held = bytearray(300 * MB)
    assert python("pass").peak_bytes < 50 * MB < psutil.Process().memory_info().rss
    assert 200 * MB < python(f"held = bytearray({200 * MB}); del held").peak_bytes < 250 * MB
    assert len(held) == 300 * MB


def test_memory_is_told_of_a_process_that_runs() -> None:
    code = f"held = bytearray({100 * MB}); print(flush=True); input()"
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        taken = pss_bytes(psutil.Process(running.pid))
        running.communicate(b"\n")
    assert 100 * MB < taken < 130 * MB


def test_a_process_that_takes_too_long_is_ended_with_an_error() -> None:
    with pytest.raises(BenchmarkError, match="had not ended after 1 s"):
        python("import time; time.sleep(987)", timeout_s=1)
    # What was killed is seen for a moment longer.
    wait_until(lambda: "time.sleep(987)" not in str([each.info for each in psutil.process_iter(["cmdline"])]))


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(BenchmarkError, match="no-such-command could not be started"):
        run_process(["no-such-command"], environment={}, timeout_s=30)


def test_what_polars_puts_into_the_environment_of_this_process_is_not_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("POLARS_MAX_THREADS", "_RJEM_MALLOC_CONF"):
        monkeypatch.setenv(name, "1")
    ended = run_process(
        [sys.executable, "-c", "import os; print(*os.environ)"], environment={"KEPT": "1"}, timeout_s=10
    )
    names = ended.stdout.split()
    assert "KEPT" in names
    assert not any(name.startswith(NOT_PASSED_ON) for name in names)
