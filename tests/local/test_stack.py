"""`python -m local up` and `env` as a person runs them: real processes and signals, folders of their own."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import boto3
import httpx
import psutil
import pytest

from access.signatures import CallbackSecrets
from access.tokens import SCOPES, Tokens
from local.log import Log
from local.postgres import free_port, is_alive
from local.stack import SAME_CTRL_C_S
from tests.stack import STUCK_S, Run, environment, exported, local, query
from tests.waiting import wait_until

# Made once, and the same after another start.
KEPT = ("PGPORT", "PGPASSWORD", "RATES_TOKEN", "RATES_CALLBACK_SECRET")

Starter = Callable[..., Run]


@pytest.fixture(scope="module")
def start() -> Iterator[Starter]:
    """Starts a stack that ends with these tests."""
    runs: list[Run] = []

    def begin(home: Path, dump: Path | None = None) -> Run:
        runs.append(Run(home, dump=dump).begin())
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, start: Starter) -> Run:
    """One stack that many tests look at, started on nothing. The tests after those stop it."""
    run = start(tmp_path_factory.mktemp("stack") / "home")
    run.until("curl ")
    return run


@pytest.fixture(scope="module")
def latest(running: Run) -> list[Run]:
    """The runs on one folder: the last of them may still run."""
    return [running]


@pytest.fixture
def again(latest: list[Run], start: Starter) -> Run:
    """The stack that the test before has left running, or else another start on the same folder."""
    if latest[-1].process.poll() is not None:
        latest.append(start(latest[-1].home))
    latest[-1].until("ready in ")
    return latest[-1]


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
    known = Tokens(variables["RATES_API_TOKENS"]).find(variables["RATES_TOKEN"])
    assert known is not None
    assert (known.name, known.scopes) == ("local", set(SCOPES))


def test_env_has_the_secret_that_its_loader_signs_callbacks_with(running: Run) -> None:
    secret = exported(running.home)["RATES_CALLBACK_SECRET"]
    assert CallbackSecrets(secret).known() == [secret]


def test_with_that_token_a_batch_is_accepted_and_lies_in_the_bucket(running: Run) -> None:
    variables = exported(running.home)
    url, content = f"{variables['RATES_URL']}/batches", b"orig_code,dest_code,day,price\n"
    assert httpx.post(url, content=content, trust_env=False).status_code == 401

    headers = {"Authorization": f"Bearer {variables['RATES_TOKEN']}"}
    answer = httpx.post(url, content=content, headers=headers, trust_env=False)

    assert answer.status_code == 202, answer.text
    told = httpx.get(f"{variables['RATES_URL']}{answer.headers['location']}", trust_env=False)
    assert told.json()["created_by"] == "local"


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


def test_a_second_start_keeps_the_data(again: Run, latest: list[Run], start: Starter) -> None:
    """And makes nothing anew: how soon it is ready is told by `make bench BENCH=delays`."""
    home, variables = again.home, exported(again.home)
    prices = query(variables, "SELECT count(*) FROM prices")
    query(variables, "INSERT INTO regions VALUES ('kept', 'Kept', NULL) RETURNING slug")
    processes = again.processes()

    assert again.stop() == 0
    nothing_left(processes)
    latest.append(second := start(home))
    second.until("ready in ")
    assert second.find("importing") is None
    exported_again = exported(home)
    assert [exported_again[name] for name in KEPT] == [variables[name] for name in KEPT]
    assert query(exported_again, "SELECT count(*) FROM regions WHERE slug = 'kept'") == [(1,)]
    assert query(exported_again, "SELECT count(*) FROM prices") == prices


def test_ctrl_c_stops_everything(again: Run) -> None:
    processes = again.processes()

    os.killpg(again.process.pid, signal.SIGINT)

    assert again.exit_status() == 0
    nothing_left(processes)
    assert again.lines[-1] == "rates    | stopped"
    assert "Traceback" not in again.text()
    assert local("env", environment(again.home)).returncode == 1


def test_a_second_ctrl_c_kills_what_does_not_stop(again: Run) -> None:
    processes = again.processes()
    again.process_of("work").suspend()

    again.process.send_signal(signal.SIGINT)
    again.until("stopping")
    time.sleep(SAME_CTRL_C_S + 0.2)
    again.process.send_signal(signal.SIGINT)

    assert again.exit_status() == 130
    nothing_left(processes)
    assert again.lines[-1] == "rates: killed at the second Ctrl-C"


@pytest.mark.needs("setpriv")  # that is, Linux: nothing else signals a child at its parent's death
def test_kill_9_leaves_nothing_running_and_the_next_start_works(
    again: Run, latest: list[Run], start: Starter
) -> None:
    processes = again.processes()

    again.process.kill()

    latest.append(start(again.home))
    latest[-1].until("ready in ")
    # Nobody waits for them; the API, once told to stop, may take its graceful timeout of a minute.
    wait_until(lambda: not any(is_alive(process) for process in processes), STUCK_S)


def test_a_part_that_ends_by_itself_is_named_and_the_rest_stopped(again: Run) -> None:
    processes = again.processes()

    again.process_of("gunicorn").kill()

    assert again.exit_status() == 1
    nothing_left(processes)
    assert again.lines[-1] == "rates: api ended with signal SIGKILL; the rest was stopped"


def test_an_import_that_fails_stops_everything_and_is_tried_again(tmp_path: Path, start: Starter) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("-- a dump\nCALL prices();\n")
    home = tmp_path / "home"

    failed = start(home, dump=dump)

    assert failed.exit_status() == 1
    assert failed.find(r"loader   \| .*dump.sql:2: .*CALL prices")
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


def test_what_stands_in_a_line_does_not_steer_the_terminal() -> None:
    file = StringIO()
    Log(file)("a\tb\x1b[2J\x9b31m\n\r", "api")
    assert file.getvalue() == "api      | a       b\\x1b[2J\\x9b31m\\n\\r\n"


def test_an_error_has_its_lines_and_does_not_steer_the_terminal(tmp_path: Path) -> None:
    ended = local("up", environment(tmp_path / "home") | {"DUMP": str(tmp_path / "a\x1b[2J.sql")})
    assert ended.returncode == 2
    assert ended.stderr == f"rates: there is no file {tmp_path}/a\\x1b[2J.sql, which DUMP names\n"


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with os.fdopen(writing_end, "w") as pipe:
        log = Log(pipe)
        log("first")
        log("second")
