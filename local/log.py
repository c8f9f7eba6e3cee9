"""The one log of the local stack: every process's lines on stdout, each behind its name."""

import os
import re
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from telemetry.terminal import visible

# The stack's own lines, and its parts in the order in which they start.
OWN_NAME = "rates"
COLOURS = {"postgres": 34, "s3+sqs": 33, "api": 32, "loader": 36, OWN_NAME: 1}
WIDTH = max(len(name) for name in COLOURS)
# What PostgreSQL says each time it starts, idles and stops. Its errors, and a process that dies, get through.
POSTGRES_ROUTINE = re.compile(
    r" LOG:  (starting PostgreSQL|listening on|database system (was|is) shut down"
    r"|checkpoint (starting|complete)|received fast shutdown|aborting any active"
    r"|shutting down|background worker \"logical replication)"
)


class Log:
    """Safe to write to from the thread of each process."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def __call__(self, line: str, name: str = OWN_NAME) -> None:
        head = f"{name:<{WIDTH}} | "
        if self.coloured:
            head = f"\033[{COLOURS[name]}m{head}\033[0m"
        with self._lock:
            try:
                print(f"{head}{visible(line.expandtabs())}", file=self.stream, flush=True)
            except OSError:
                # Whoever read the log is gone (`make up | head`, a closed terminal). The processes must not
                # stand still on that, nor Python complain when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def of(self, name: str) -> Callable[[str], None]:
        """What takes the lines of one process."""
        if name == "postgres":
            return lambda line: None if POSTGRES_ROUTINE.search(line) else self(line, name)
        return lambda line: self(line, name)
