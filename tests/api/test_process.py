"""The API as a process: how it starts, forks, keeps connections, and stops without losing an answer."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from local.postgres import HOST
from tests.api.service import AWAY, COMMAND, ELSEWHERE, OURS, Service
from tests.postgres import Database
from tests.waiting import TIMEOUT_S, wait_until

QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=A&dest_code=B"
PREPARED_AT = 5  # times that psycopg is asked before it prepares a statement
SESSIONS = (
    "SELECT pid, client_port FROM pg_stat_activity"
    " WHERE application_name LIKE 'rates-api%%' AND datname = current_database()"
)

TOLD_EARLY = """
import os
from api import server

globals().update({name: value for name, value in vars(server).items() if not name.startswith("_")})

def post_fork(arbiter, worker):
    os.kill(os.getpid(), int(os.environ["TOLD_EARLY"]))
    server.post_fork(arbiter, worker)
"""


@pytest.fixture
def started(database: Database) -> Iterator[Service]:
    """One that a test may stop, of two workers with two threads each."""
    environment = {"WEB_CONCURRENCY": "2", "API_THREADS": "2"}
    with Service(database.environment("rates_api") | environment) as service:
        wait_until(lambda: len(workers(service)) == 2)
        yield service


def workers(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


def test_the_deltas_are_read_by_index_even_while_there_are_none(database: Database) -> None:
    """Else a plan made now would read all that a load puts there later."""
    with database.connect() as connection:
        connection.execute("INSERT INTO regions VALUES ('r', 'R', NULL)")
        connection.execute("INSERT INTO ports VALUES ('A', 'A', 'r'), ('B', 'B', 'r')")
        connection.execute("INSERT INTO postings VALUES (1)")
        connection.execute("VACUUM ANALYZE")
    scans = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'lane_month_deltas'"
    ((whole_before, by_index_before),) = database.rows(scans)
    with Service(database.environment("rates_api")) as service:
        assert service.client.get(QUESTION).status_code == 200
    wait_until(lambda: database.rows(scans)[0][1] > by_index_before)
    assert database.rows(scans)[0][0] == whole_before


def test_columns_that_get_another_type_while_it_serves_cost_nobody_an_answer(database: Database) -> None:
    """As a migration does; statements that were prepared before fail from then on."""
    keep_nothing = {"RATES_ANSWERS_BYTES_MAX": "0"}
    with Service(database.environment("rates_api") | keep_nothing) as service, database.connect() as owner:
        asked = (QUESTION, "/ports") * (PREPARED_AT + 1)
        before = [service.get(path).json() for path in asked]
        owner.execute("DROP VIEW lane_day_deltas, lane_day_totals")
        for table in ("lane_month_totals", "lane_month_deltas"):
            owner.execute(f"ALTER TABLE {table} ALTER price_counts TYPE bigint[]")
        owner.execute("ALTER TABLE data_version ALTER version TYPE integer")
        answers = [service.get(path) for path in asked]
    assert [answer.json() for answer in answers if answer.status_code == 200] == before
    assert "Traceback" not in "\n".join(service.lines)


# --- starting ----------------------------------------------------------------------------------------------


def ended(**variables: str) -> subprocess.CompletedProcess[str]:
    """What a start with these variables, and no others of ours, comes to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ELSEWHERE)}
    env = inherited | variables
    return subprocess.run(COMMAND, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_a_wrong_environment_is_one_line_that_names_all_that_is_wrong() -> None:
    wrong = {
        "PORT": "http",
        "WEB_CONCURRENCY": "0",
        "API_THREADS": "-1",
        "API_DRAIN_S": "90",
        "RATES_DAYS_MAX": "x",
        "RATES_DB_PAUSES": "yes",
        "RATES_DB_AUTH": "ldap",
        "RATES_UPLOAD_BYTES_MAX": "1G",
        "RATES_API_TOKENS": "token",
        "RATES_CORS_ORIGINS": "https://app.example.com, *",
        "RATES_LIMIT": "0/minute",
        "RATES_PROXIES": "11",
        "BATCH_BUCKET": "",
    }
    result = ended(**wrong, PGUSER="me")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line == (
        "rates-api: no place for batches is named: set BATCH_BUCKET, BATCH_QUEUE_URL;"
        " RATES_API_TOKENS: entry 1 is not name:scopes:sha256, scopes being of read, write, admin;"
        " PORT is 'http': a number from 1 to 65535 is allowed;"
        " WEB_CONCURRENCY is '0': a number from 1 to 64 is allowed;"
        " API_THREADS is '-1': a number from 1 to 64 is allowed;"
        " API_DRAIN_S is '90': a number from 0 to 30 is allowed;"
        " RATES_DAYS_MAX is 'x': a number from 1 to 36600 is allowed;"
        " RATES_DB_PAUSES is 'yes': a number from 0 to 1 is allowed;"
        " RATES_UPLOAD_BYTES_MAX is '1G': a number from 1 to 68719476736 is allowed;"
        " RATES_CORS_ORIGINS is 'https://app.example.com, *': origins such as https://app.example.com, with"
        " commas between, or * is allowed;"
        " RATES_LIMIT is '0/minute': requests a time, such as 100/minute, is allowed;"
        " RATES_PROXIES is '11': a number from 0 to 10 is allowed;"
        " RATES_DB_AUTH is 'ldap': password or iam is allowed;"
        " no database is named: set PGHOST, PGDATABASE (or DATABASE_URL)"
    )


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"DATABASE_URL": "mysql://db/rates"},
        {"PGHOST": "db", "PGUSER": "me", "PGDATABASE": "rates", "RATES_DB_AUTH": "iam"},
    ],
    ids=["none", "url", "iam without a region"],
)
def test_a_start_that_cannot_go_well_ends_with_one_line(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gunicorn reads its configuration, in this process."""
    for name in [name for name in os.environ if name.startswith(ELSEWHERE)]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^rates-api: [^\n]+$"):
        runpy.run_module("api.server")


# --- processes and connections -----------------------------------------------------------------------------


def test_each_worker_has_connections_of_its_own_made_after_the_fork(
    started: Service, database: Database
) -> None:
    assert database.rows(SESSIONS) == []
    pids = [worker.pid for worker in workers(started)]
    with ThreadPoolExecutor(8) as crowd:
        wait_until(lambda: asked_by_both(started, crowd, pids))
    sessions = {port for _, port in database.rows(SESSIONS)}
    owned = [database_ports(pid) for pid in pids]
    assert not owned[0] & owned[1]
    assert owned[0] | owned[1] == sessions
    assert not database_ports(started.process.pid), "the process that only watches has none"
    assert all(1 <= len(ports) <= 3 for ports in owned), "one a thread at most, and one that listens"


def asked_by_both(service: Service, crowd: ThreadPoolExecutor, pids: list[int]) -> bool:
    assert list(crowd.map(lambda _: ask_anew(service), range(16))) == [200] * 16
    return all(database_ports(pid) for pid in pids)


def ask_anew(service: Service) -> int:
    """Over a connection of its own, which either worker may take."""
    request = f"GET {QUESTION} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return int(service.raw(request.encode()).split(b" ", 2)[1])


def database_ports(pid: int) -> set[int]:
    """The local ports of a process's connections to its database."""
    environ = psutil.Process(pid).environ()
    return {
        connection.laddr.port
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.raddr and connection.raddr.port == int(environ["PGPORT"])
    }


def test_many_requests_go_over_one_connection(started: Service) -> None:
    connection = HTTPConnection(HOST, started.port, timeout=TIMEOUT_S)
    connection.connect()
    first = connection.sock.getsockname()
    for _ in range(20):
        connection.request("GET", QUESTION)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
        answer.read()
    assert connection.sock.getsockname() == first
    connection.close()


def test_a_worker_that_dies_is_replaced_and_the_next_requests_are_answered(started: Service) -> None:
    victim = workers(started)[0]
    victim.kill()
    wait_until(lambda: victim not in workers(started) and len(workers(started)) == 2)
    wait_until(started.is_live)
    assert started.get(QUESTION).status_code == 200


def test_who_connects_while_the_only_worker_is_replaced_waits_for_the_next_one(database: Database) -> None:
    """A task of one processor has one (docs/decisions/0018-a-process-for-each-processor.md)."""
    with Service(database.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        for _ in range(3):
            (victim,) = workers(service)
            victim.kill()
            victim.wait(TIMEOUT_S)
            assert ask_anew(service) == 200


# --- stopping ----------------------------------------------------------------------------------------------


def test_sigterm_lets_the_request_in_hand_end_and_exits_with_0(started: Service, database: Database) -> None:
    with database.connect() as owner, ThreadPoolExecutor(1) as client:
        with owner.transaction():
            owner.execute("LOCK TABLE lane_month_totals IN ACCESS EXCLUSIVE MODE")
            answer = client.submit(started.get, QUESTION)
            wait_until(lambda: waits_for_lock(database))

            started.process.signal(signal.SIGTERM)

            wait_until(lambda: said_stop(started))
            assert not answer.done()
        assert answer.result(TIMEOUT_S).status_code == 200
    assert started.process.wait(TIMEOUT_S) == 0
    assert database.rows(SESSIONS) == []
    assert "Traceback" not in "\n".join(started.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_that_is_told_to_stop_before_it_is_ready_to_hear_it_stops(
    number: signal.Signals, tmp_path: Path
) -> None:
    """As one that was forked the moment before. Here each is told so, and another takes its place."""
    config = tmp_path / "told_early.py"
    config.write_text(TOLD_EARLY)
    service = Service(AWAY | {"WEB_CONCURRENCY": "1", "TOLD_EARLY": str(int(number))})
    service.process.command[service.process.command.index(OURS)] = str(config)
    service.process.start()
    try:
        wait_until(lambda: sum("Worker exiting" in line for line in service.lines) >= 2)
    finally:
        service.client.close()
        service.process.stop()


def waits_for_lock(database: Database) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE application_name = 'rates-api' AND wait_event_type = 'Lock'"
    return bool(database.rows(waiting))


def said_stop(service: Service) -> bool:
    return any("Handling signal: term" in line for line in service.lines)


def test_requests_that_come_while_the_load_balancer_still_sends_some_are_answered(database: Database) -> None:
    with Service(database.environment("rates_api") | {"API_DRAIN_S": "4"}) as service:
        service.client.close()
        service.process.signal(signal.SIGTERM)
        wait_until(lambda: said_stop(service))
        for _ in range(5):
            assert ask_anew(service) == 200
        assert service.process.running
        assert service.process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_one_stops_and_leaves_no_process(started: Service, number: signal.Signals) -> None:
    left = workers(started)
    started.client.close()
    started.process.signal(number)
    assert started.process.wait(TIMEOUT_S) == 0
    assert not [worker for worker in left if worker.is_running()]
