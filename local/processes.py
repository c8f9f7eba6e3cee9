"""One child process of the local stack: its lines are read as they come, and it never outlives its parent.

Used by `local.postgres` and `local.stack`, which decide what to run and in which order.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

# Asks Linux to signal the child when its parent dies, kill -9 included, then becomes the real command. A
# `preexec_fn` would fork Python code from a process with threads, which Python 3.12 warns about.
DIE_WITH_PARENT = """
import ctypes, os, sys
signal, parent = int(sys.argv[1]), int(sys.argv[2])
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
if os.getppid() != parent:
    sys.exit("the parent process ended")
try:
    os.execvp(sys.argv[3], sys.argv[3:])
except OSError as error:
    sys.exit(f"{sys.argv[3]}: {error.strerror}")
"""
LAST_LINES = 20


class ChildProcess:
    """A command in the foreground of its own session, so that a terminal's Ctrl-C reaches only the parent.

    Start it from the main thread: Linux counts the end of the thread that started it as its parent's death.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        output: Callable[[str], None] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.command = [os.fspath(part) for part in command]
        self.env = env
        self.output = output
        self.stop_signal = stop_signal
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        if self.running:
            raise RuntimeError(f"{self.command[0]} is already running")
        self.last_lines.clear()
        self._process = subprocess.Popen(
            tied_to_this_process(self.command, self.stop_signal),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self.command[0]} was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """As `subprocess` gives it: negative for a signal, None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit status, once all its lines have been read. Raises `subprocess.TimeoutExpired`."""
        if self._process is None:
            raise RuntimeError(f"{self.command[0]} was never started")
        status = self._process.wait(timeout_s)
        if self._reader is not None:
            # A grandchild that still holds the pipe must not hold the stop.
            self._reader.join(timeout=1)
        return status

    def stop(self, timeout_s: float = 20) -> int | None:
        """Asks with the stop signal, and kills the whole group when that takes longer than `timeout_s`."""
        if self._process is None:
            return None
        self.signal(self.stop_signal)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.exit_status

    def kill(self) -> None:
        """SIGKILL to the process and to its group, whether or not the process itself is still there."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                text = line.rstrip("\n")
                self.last_lines.append(text)
                if self.output is not None:
                    self.output(text)


def tied_to_this_process(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """`command`, so wrapped that `death_signal` reaches it when this process dies (on Linux)."""
    if sys.platform != "linux":
        return list(command)
    shim = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(int(death_signal)), str(os.getpid())]
    return [*shim, *command]
