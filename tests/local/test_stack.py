"""`python -m local up` and `env` as a person runs them: real processes and signals, folders of their own."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import boto3
import httpx
import psutil
import pytest

from local.log import Log
from local.postgres import free_port, is_alive
from local.stack import SAME_CTRL_C_S
from tests.postgres import connect_to

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 30
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
    """One `python -m local up` and what it has said so far."""

    home: Path
    port: int = field(default_factory=free_port)
    dump: Path | None = None
    lines: list[str] = field(default_factory=list)

    def begin(self) -> "Run":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local", "up"],
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
        wait_until(lambda: self.find(pattern) is not None or self.process.poll() is not None)
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
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if argument in child.cmdline())

    def exit_status(self) -> int:
        status = self.process.wait(TIMEOUT_S)
        self.reader.join(TIMEOUT_S)
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


Starter = Callable[..., Run]


@pytest.fixture
def start() -> Iterator[Starter]:
    """Starts a stack that ends with the test."""
    runs: list[Run] = []

    def begin(home: Path, dump: Path | None = None) -> Run:
        runs.append(Run(home, dump=dump).begin())
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One stack that many tests look at, started on nothing."""
    run = Run(tmp_path_factory.mktemp("stack") / "home").begin()
    try:
        run.until("curl ")
        yield run
    finally:
        run.end()


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a stack has run before."""
    run = Run(tmp_path_factory.mktemp("stack") / "home").begin()
    try:
        run.until("ready in ")
        run.process.send_signal(signal.SIGTERM)
        assert run.exit_status() == 0
    finally:
        run.end()
    return run.home


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
        timeout=TIMEOUT_S,
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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def nothing_left(processes: list[psutil.Process]) -> None:
    """All of them end, and at once: whoever stopped them has waited for them."""
    assert len(processes) > 5
    assert not [process for process in processes if is_alive(process)]


# --- while it runs -----------------------------------------------------------------------------------------


def test_the_curl_line_that_it_prints_is_answered_with_prices(running: Run) -> None:
    address = running.until(r"rates    \| ready in \d+\.\d s: (http://127.0.0.1:\d+)$").group(1)
    url = running.until(r"rates    \| curl '(.*)'$").group(1)
    assert address == f"http://127.0.0.1:{running.port}"
    assert url.startswith(f"{address}/rates?")

    answer = httpx.get(url, trust_env=False)

    assert answer.status_code == 200
    assert [rate for rate in answer.json()["rates"] if rate["price"]]


def test_every_line_of_the_log_says_whose_it_is(running: Run) -> None:
    names = {line.split(" | ")[0] for line in running.lines}
    assert (
        {"postgres", "loader  ", "rates   "}
        <= names
        <= {"postgres", "s3+sqs  ", "api     ", "loader  ", "rates   "}
    )


def test_env_reaches_the_database_as_its_owner(running: Run) -> None:
    assert query(exported(running.home), "SELECT current_user::text, current_database()::text") == [
        ("postgres", "rates")
    ]


def test_the_sample_is_one_published_batch(running: Run) -> None:
    assert query(exported(running.home), "SELECT state FROM batches") == [("published",)]


def test_env_reaches_the_bucket_and_the_queue(running: Run) -> None:
    variables = exported(running.home)
    keys = {
        "endpoint_url": variables["AWS_ENDPOINT_URL"],
        "region_name": variables["AWS_DEFAULT_REGION"],
        "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
    }
    session = boto3.Session()
    s3, sqs = session.client("s3", **keys), session.client("sqs", **keys)

    bucket, queue_url = variables["BATCH_BUCKET"], variables["BATCH_QUEUE_URL"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    events = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert [event["QueueArn"] for event in events] == [attributes["QueueArn"]]
    redrive = json.loads(attributes["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"].endswith(":rates-batches-dead")
    assert redrive["maxReceiveCount"] == 3


def test_env_names_the_api_and_a_token(running: Run) -> None:
    variables = exported(running.home)
    assert variables["RATES_URL"] == f"http://127.0.0.1:{running.port}"
    assert len(variables["RATES_TOKEN"]) >= 32


def test_the_secrets_are_for_their_owner_only(running: Run) -> None:
    assert (running.home / "stack.json").stat().st_mode & 0o777 == 0o600


def test_a_second_run_on_the_same_folder_is_refused(running: Run) -> None:
    result = local("up", environment(running.home, free_port()))
    assert result.returncode == 2
    assert f"as process {running.process.pid}:" in result.stderr
    assert "set RATES_HOME" in result.stderr
    assert running.process.poll() is None


# --- what it refuses before it starts anything -------------------------------------------------------------


def test_a_busy_port_is_named_and_another_proposed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = local("up", environment(tmp_path, port))
    assert result.returncode == 2
    assert result.stderr == (
        f"rates: port {port} on 127.0.0.1 is taken by another program:"
        f" choose another, PORT={port + 1} make up\n"
    )
    assert result.stdout == ""
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize("port", ["0", "65536", "80a", "-1"])
def test_a_port_that_is_none_is_shown(port: str, tmp_path: Path) -> None:
    result = local("up", environment(tmp_path / "home", port))
    assert (result.returncode, result.stderr) == (
        2,
        f"rates: PORT is '{port}': a number from 1 to 65535 is allowed\n",
    )


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.sql"
    result = local("up", environment(tmp_path / "home", free_port(), missing))
    assert (result.returncode, result.stderr) == (2, f"rates: there is no file {missing}, which DUMP names\n")
    assert not (tmp_path / "home").exists()


def test_env_without_a_stack_prints_nothing_to_evaluate(tmp_path: Path) -> None:
    result = local("env", environment(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"rates: no stack runs under {tmp_path}: start it with make up\n"


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"postgres_port": "many"}')
    result = local("env", environment(tmp_path))
    assert result.returncode == 2
    assert f"{tmp_path}/stack.json cannot be read (Expected `int`, got `str`" in result.stderr


# --- stopping, and starting again --------------------------------------------------------------------------


def test_a_second_start_is_quick_and_keeps_the_data(used_home: Path, start: Starter) -> None:
    first = start(used_home)
    first.until("ready in ")
    variables = exported(used_home)
    query(variables, "INSERT INTO regions VALUES ('kept', 'Kept', NULL) RETURNING slug")
    processes = first.processes()

    first.process.send_signal(signal.SIGTERM)

    assert first.exit_status() == 0
    nothing_left(processes)
    second = start(used_home)
    seconds = float(second.until(r"ready in (.*) s:").group(1))
    assert seconds < 5
    assert second.find("importing") is None
    again = exported(used_home)
    assert [again[name] for name in ("PGPORT", "PGPASSWORD", "RATES_TOKEN")] == [
        variables[name] for name in ("PGPORT", "PGPASSWORD", "RATES_TOKEN")
    ]
    assert query(again, "SELECT count(*) FROM batches, regions WHERE slug = 'kept'") == [(1,)]


def test_ctrl_c_stops_everything(used_home: Path, start: Starter) -> None:
    run = start(used_home)
    run.until("ready in ")
    processes = run.processes()

    os.killpg(run.process.pid, signal.SIGINT)

    assert run.exit_status() == 0
    nothing_left(processes)
    assert run.lines[-1] == "rates    | stopped"
    assert "Traceback" not in run.text()
    assert local("env", environment(used_home)).returncode == 1


def test_a_second_ctrl_c_kills_what_does_not_stop(used_home: Path, start: Starter) -> None:
    run = start(used_home)
    run.until("ready in ")
    processes = run.processes()
    run.process_of("work").suspend()

    run.process.send_signal(signal.SIGINT)
    run.until("stopping")
    time.sleep(SAME_CTRL_C_S + 0.2)
    run.process.send_signal(signal.SIGINT)

    assert run.exit_status() == 130
    nothing_left(processes)
    assert run.lines[-1] == "rates: killed at the second Ctrl-C"


@pytest.mark.needs("setpriv")  # that is, Linux: nothing else signals a child at its parent's death
def test_kill_9_leaves_nothing_running_and_the_next_start_works(used_home: Path, start: Starter) -> None:
    run = start(used_home)
    run.until("ready in ")
    processes = run.processes()

    run.process.kill()

    start(used_home).until("ready in ")
    wait_until(lambda: not any(is_alive(process) for process in processes))


def test_a_part_that_ends_by_itself_is_named_and_the_rest_stopped(used_home: Path, start: Starter) -> None:
    run = start(used_home)
    run.until("ready in ")
    processes = run.processes()

    run.process_of("gunicorn").kill()

    assert run.exit_status() == 1
    nothing_left(processes)
    assert run.lines[-1] == "rates: api ended with signal SIGKILL; the rest was stopped"


def test_an_import_that_fails_stops_everything_and_is_tried_again(tmp_path: Path, start: Starter) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("DROP TABLE prices;\n")
    home = tmp_path / "home"

    failed = start(home, dump=dump)

    assert failed.exit_status() == 1
    assert failed.find(r"loader   \| .*dump.sql:1: .*DROP TABLE prices")
    assert failed.lines[-1].startswith(f"rates: the import of {dump} failed with exit status 1; ")
    assert not (home / "postgres" / "postmaster.pid").exists()

    start(home).until(r"loader   \| batch .* published")


# --- the log -----------------------------------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_names_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, file = Terminal(), StringIO()
    Log(terminal)("hello", "api")
    Log(file)("hello", "api")
    assert terminal.getvalue() == "\033[32mapi      | \033[0mhello\n"
    assert file.getvalue() == "api      | hello\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Log(terminal)("hello", "api")
    assert terminal.getvalue() == "api      | hello\n"


def test_postgresqls_checkpoints_are_left_out_and_its_errors_are_not() -> None:
    file = StringIO()
    write = Log(file).of("postgres")
    write("2026-01-01 UTC [1] LOG:  checkpoint starting: time")
    write("2026-01-01 UTC [1] ERROR:  no such table")
    write("2026-01-01 UTC [1] LOG:  server process (PID 2) was terminated by signal 9: Killed")
    assert [line.split("] ")[1] for line in file.getvalue().splitlines()] == [
        "ERROR:  no such table",
        "LOG:  server process (PID 2) was terminated by signal 9: Killed",
    ]


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with os.fdopen(writing_end, "w") as pipe:
        log = Log(pipe)
        log("first")
        log("second")
