"""A local stack as a person starts it, in a folder of its own, for `tests/local` and `tests/system`."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from local.postgres import free_port, is_alive
from tests.postgres import connect_to
from tests.processes import with_argument
from tests.waiting import wait_until

# A stack that is not ready, or has not stopped, after so long is stuck: it takes a machine some seconds.
STUCK_S = 180
ROOT = Path(__file__).resolve().parents[1]
# A shell that is set up for some other system, which must not matter here.
ELSEWHERE = {
    "PGHOST": "elsewhere.invalid",
    "PGSERVICE": "elsewhere",
    "DATABASE_URL": "postgresql://elsewhere.invalid/rates",
    "RATES_DB_AUTH": "iam",
    "AWS_PROFILE": "elsewhere",
    "HTTP_PROXY": "http://elsewhere.invalid:3128",
}


@dataclass
class Run:
    """One run of the stack and what it has said so far."""

    home: Path
    port: int = field(default_factory=free_port)
    dump: Path | None = None
    command: tuple[str, ...] = (sys.executable, "-m", "local", "up")
    lines: list[str] = field(default_factory=list)

    def begin(self) -> Run:
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=environment(self.home, self.port, self.dump),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))

    def until(self, pattern: str) -> re.Match[str]:
        """Waits for a line."""
        wait_until(lambda: self.find(pattern) is not None or self.process.poll() is not None, STUCK_S)
        found = self.find(pattern)
        assert found is not None, f"no line is like {pattern!r}:\n{self.text()}"
        return found

    def find(self, pattern: str) -> re.Match[str] | None:
        return next((match for line in list(self.lines) if (match := re.search(pattern, line))), None)

    def text(self) -> str:
        return "\n".join(self.lines)

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def process_of(self, argument: str) -> psutil.Process:
        """The direct child that runs this."""
        return with_argument(argument, psutil.Process(self.process.pid).children())

    def stop(self) -> int:
        """Asks it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_status()

    def exit_status(self) -> int:
        status = self.process.wait(STUCK_S)
        self.reader.join(STUCK_S)
        return status

    def end(self) -> None:
        """After a test, however it went."""
        if self.process.poll() is None:
            children = self.processes()
            self.process.kill()
            for child in children:
                if is_alive(child):
                    child.kill()
        self.exit_status()


def environment(home: Path, port: int | str = "", dump: Path | None = None) -> dict[str, str]:
    own = {"RATES_HOME": str(home), "PORT": str(port), "DUMP": str(dump or "")}
    return dict(os.environ) | ELSEWHERE | own


def local(command: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "local", command],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=STUCK_S,
        check=False,
    )


def exported(home: Path) -> dict[str, str]:
    """What `env` prints, as a shell understands it."""
    result = local("env", environment(home))
    assert result.returncode == 0, result.stderr
    words = [shlex.split(line) for line in result.stdout.splitlines()]
    assert all(word[0] == "export" and len(word) == 2 for word in words)
    return dict(word[1].split("=", 1) for word in words)


def query(variables: Mapping[str, str], question: str) -> list[tuple]:
    with connect_to(variables) as connection:
        return connection.execute(question.encode()).fetchall()
