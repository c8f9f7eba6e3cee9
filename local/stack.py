"""Starts the parts of the local stack in order, watches them, and stops them in reverse.

PostgreSQL and moto start side by side; then come the schema, the first import, the API and one loader.
`local.__main__` runs it as `make up`.
"""

import http.client
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import msgspec
import psycopg
from psycopg import sql

from local import LocalError, object_storage
from local.environment import (
    API_ROLE,
    DATABASE,
    LOADER_ROLE,
    api_environment,
    api_url,
    loader_environment,
    postgres_server,
    storage_url,
)
from local.log import Log
from local.postgres import HOST, SUPERUSER, PostgresServer, free_port, is_free
from local.processes import ChildProcess
from local.state import State, only_run, read_state, write_state

SAMPLE = Path(__file__).with_name("sample.sql")
READY_TIMEOUT_S = 60
POLL_S = 0.02
WATCH_S = 0.1
# Some senders signal both a process and its group: two that come this close together are one Ctrl-C.
SAME_CTRL_C_S = 0.5
KILLED_STATUS = 128 + signal.SIGINT
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
JOB = "job"


@dataclass(frozen=True)
class Settings:
    """Where the state lives, the API's port, and what fills an empty database (None is the sample)."""

    home: Path
    port: int
    dump: Path | None


class Part(Protocol):
    """A process of the stack."""

    @property
    def running(self) -> bool: ...
    @property
    def exit_status(self) -> int | None: ...
    def stop(self) -> object: ...
    def kill(self) -> object: ...


class StopRequested(Exception):
    """Ctrl-C, or another way of asking for a clean stop."""


class KillRequested(Exception):
    """A second Ctrl-C."""


def up(settings: Settings, log: Log) -> None:
    """Runs the stack until it is told to stop. Raises LocalError when it cannot start or a part ends."""
    if settings.dump is not None and not settings.dump.is_file():
        raise LocalError(f"there is no file {settings.dump}, which DUMP names", 2)
    if not settings.home.is_dir():
        settings.home.mkdir(parents=True)
    with only_run(settings.home):
        if not is_free(settings.port):
            busy = f"port {settings.port} on {HOST} is taken by another program"
            raise LocalError(f"{busy}: choose another, PORT={settings.port + 1} make up", 2)
        Stack(settings, log).run()


@dataclass
class Stack:
    """One run of the stack, below a folder that is held for it."""

    settings: Settings
    log: Log
    state: State = field(init=False)
    postgres: PostgresServer = field(init=False)
    parts: dict[str, Part] = field(init=False, default_factory=dict)  # as started
    stop_requested_at: float | None = field(init=False, default=None)
    kill_requested: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        state = read_state(self.settings.home)
        postgres_port = port_of_last_time(state.postgres_port, {self.settings.port})
        storage_port = port_of_last_time(state.storage_port, {self.settings.port, postgres_port})
        self.state = msgspec.structs.replace(
            state,
            postgres_port=postgres_port,
            storage_port=storage_port,
            api_port=self.settings.port,
            ready=False,
        )
        self.postgres = postgres_server(self.settings.home, self.state)
        self.postgres.output = self.log.of("postgres")

    def run(self) -> None:
        with self._signals_noted():
            try:
                self._start()
                self._watch()
            except (StopRequested, KillRequested):
                pass
            except psycopg.Error as error:
                raise LocalError(f"PostgreSQL refused a step of the start: {error}") from error
            finally:
                self._stop()
        if self.kill_requested:
            raise LocalError("killed at the second Ctrl-C", KILLED_STATUS)

    # --- in order ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        began = time.monotonic()
        self._remember()  # the secrets, before there is a database that is locked with them
        self._start_database_and_storage()
        self._migrate_and_create_storage()
        self._let_roles_in()
        self._import_if_empty()
        self._start_api_and_loader()
        self._remember(ready=True)
        self.log(f"ready in {time.monotonic() - began:.1f} s: {api_url(self.state)}")
        self.log(f"curl '{api_url(self.state)}{self.state.example}'")

    def _start_database_and_storage(self) -> None:
        where = f"{HOST}:{self.state.postgres_port}, S3 and SQS on {HOST}:{self.state.storage_port}"
        self.log(f"starting under {self.settings.home}: PostgreSQL on {where}")
        self.postgres.initialise()
        self.postgres.launch()
        self.parts["postgres"] = self.postgres
        command = [sys.executable, "-m", "local.object_storage", str(self.state.storage_port)]
        self._begin("s3+sqs", ChildProcess(command, output=self.log.of("s3+sqs")))
        self._wait_for("PostgreSQL", self.postgres.is_ready)

    def _migrate_and_create_storage(self) -> None:
        """The migration spends its second in Python's imports; the bucket is made meanwhile."""
        with self.postgres.connect() as connection:
            known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        migration = self._begin(JOB, self._loader("migrate", role=SUPERUSER))
        self._wait_for("S3 and SQS", lambda: object_storage.answers(self.state.storage_port))
        self._remember(queue_url=object_storage.create_batch_storage(storage_url(self.state)))
        self._finish("the migration", migration)

    def _let_roles_in(self) -> None:
        passwords = {API_ROLE: self.state.api_password, LOADER_ROLE: self.state.loader_password}
        with self.postgres.connect() as connection:
            for role, password in passwords.items():
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password)
                )

    def _import_if_empty(self) -> None:
        """What a failed or interrupted import leaves in the ledger does not count; what is withdrawn does."""
        empty = self._ask("SELECT FROM batches WHERE state IN ('published', 'withdrawn') LIMIT 1") is None
        if empty:
            dump = self.settings.dump or SAMPLE
            self.log(f"importing {dump} into the empty database")
            self._finish(f"the import of {dump}", self._begin(JOB, self._loader("import", str(dump))))
        elif self.settings.dump is not None:
            self.log(
                f"{self.settings.dump} is not imported: the database under this folder has prices already"
            )
        if empty or not self.state.example:
            lanes = "SELECT orig_code, dest_code, max(day) - 9, max(day) FROM prices GROUP BY 1, 2"
            busiest = self._ask(f"{lanes} ORDER BY count(*) DESC, 1, 2 LIMIT 1")
            self._remember(example=example_question(busiest))

    def _start_api_and_loader(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "--config", "python:api.server", "api.wsgi:app"]
        command += [f"--bind={HOST}:{self.state.api_port}"]
        env = api_environment(self.settings.home, self.state)
        self._begin("api", ChildProcess(command, env=env, output=self.log.of("api")))
        self._begin("loader", self._loader("work"))
        self._wait_for("the API", lambda: answers_ready(self.state.api_port))

    def _watch(self) -> None:
        while True:
            self._check()
            time.sleep(WATCH_S)

    def _stop(self) -> None:
        """Each part in turn, the last started first; at a second Ctrl-C, by force."""
        for part in reversed(self.parts.values()):
            if not self.kill_requested:
                with suppress(KillRequested):
                    part.stop()
            if self.kill_requested:
                part.kill()
        self.log("stopped")

    # --- its processes ----------------------------------------------------------------------------------

    def _loader(self, *arguments: str, role: str = LOADER_ROLE) -> ChildProcess:
        env = loader_environment(self.settings.home, self.state, role)
        return ChildProcess(
            [sys.executable, "-m", "loader", *arguments], env=env, output=self.log.of("loader")
        )

    def _begin(self, name: str, child: ChildProcess) -> ChildProcess:
        child.start()
        self.parts[name] = child
        return child

    def _finish(self, what: str, job: ChildProcess) -> None:
        """Waits for a process that is to end by itself."""
        while job.running:
            self._check()
            time.sleep(POLL_S)
        status = job.wait()
        if status != 0:
            message = f"{what} failed with {describe_exit(status)}; the next `make up` tries it again"
            raise LocalError(message, status if status > 0 else 1)
        del self.parts[JOB]

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not condition():
            self._check()
            if time.monotonic() > deadline:
                raise LocalError(f"{what} was not ready within {READY_TIMEOUT_S} s")
            time.sleep(POLL_S)

    def _check(self) -> None:
        """Raises StopRequested once a signal came, and LocalError once a part has ended by itself."""
        if self.stop_requested_at is not None:
            self.log("stopping")
            raise StopRequested
        for name, part in self.parts.items():
            if name != JOB and not part.running:
                raise LocalError(f"{name} ended with {describe_exit(part.exit_status)}; the rest was stopped")

    def _ask(self, question: str) -> tuple | None:
        with self.postgres.connect(DATABASE) as connection:
            return connection.execute(question.encode()).fetchone()

    def _remember(self, **changes: str | bool) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)
        write_state(self.settings.home, self.state)

    # --- signals ----------------------------------------------------------------------------------------

    @contextmanager
    def _signals_noted(self) -> Generator[None]:
        before = {number: signal.signal(number, self._note_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        """The first is only noted, so that it cuts no step short; a second Ctrl-C does.

        A second SIGTERM does not: GNU make passes on to its child the one that the child has had already.
        """
        now = time.monotonic()
        if self.stop_requested_at is None:
            self.stop_requested_at = now
        elif (
            number == signal.SIGINT
            and now - self.stop_requested_at > SAME_CTRL_C_S
            and not self.kill_requested
        ):
            self.kill_requested = True
            raise KillRequested


def port_of_last_time(last: int, taken: set[int]) -> int:
    """Another one where there was none, or it is busy now."""
    if last and last not in taken and is_free(last):
        return last
    while (port := free_port()) in taken:
        pass
    return port


def answers_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def example_question(busiest_lane: tuple | None) -> str:
    """The path of a question that has an answer; a database without prices can only say that it is there."""
    if busiest_lane is None:
        return "/health/ready"
    orig, dest, first_day, last_day = busiest_lane
    return f"/rates?date_from={first_day}&date_to={last_day}&orig_code={orig}&dest_code={dest}"


def describe_exit(status: int | None) -> str:
    if status is not None and status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
