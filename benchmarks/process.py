"""Runs one command as a process and measures it from outside: wall and processor time, peak memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
# A small process starts the command and waits for it: Linux counts what the process that forked had in memory
# towards the peak of what it forked (`test_the_peak_of_a_process_is_its_own`). It tells last, on stdout.
MEASURE = """
import json, os, sys, time
began = time.monotonic()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
ended = time.monotonic()
unit = 1 if sys.platform == "darwin" else 1024
processor_s = usage.ru_utime + usage.ru_stime
figures = [os.waitstatus_to_exitcode(status), began, ended, usage.ru_maxrss * unit, processor_s]
print("\\n" + json.dumps(figures))
"""


# Polars puts settings of its own there when it is imported here; a command makes do without them elsewhere.
NOT_PASSED_ON = ("POLARS_", "_RJEM_")


@dataclass(frozen=True)
class Ended:
    """A process that has ended; `began` and `ended` on the clock of `time.monotonic`, which all share."""

    exit_status: int
    began: float
    ended: float
    peak_bytes: int
    processor_s: float
    stdout: str
    stderr: str

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def inherited() -> dict[str, str]:
    """The environment of what is measured, which is a person's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}


def run_process(command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float) -> Ended:
    """Raises BenchmarkError when it takes longer than `timeout_s`, and ends it then."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", MEASURE, *command],
        env={**inherited(), **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException as error:  # a Ctrl-C too must leave nothing behind
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            late = f"{' '.join(command[:4])} … had not ended after {timeout_s:g} s"
            raise BenchmarkError(late) from error
    output, _, figures = stdout.rstrip("\n").rpartition("\n")
    if process.returncode != 0:
        raise BenchmarkError(f"{command[0]} could not be started: {stderr.strip()}")
    return Ended(*json.loads(figures), output, stderr)
