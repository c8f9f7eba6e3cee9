"""The embedded PostgreSQL as a real child process: it starts, is killed, returns, leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from local import LocalError
from local.postgres import PostgresServer, free_port, installed_bin_dirs, is_alive
from tests.postgres import connect_to
from tests.waiting import wait_until

QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "10"}
PASSWORD = "correct horse"
# Starts a server on argv[1], port argv[2], says its process id, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from local.postgres import PostgresServer

server = PostgresServer(Path(sys.argv[1]), int(sys.argv[2]), "correct horse", settings={"fsync": "off"})
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One initialised folder for all of these tests: initdb is the slow part."""
    folder = tmp_path_factory.mktemp("embedded") / "postgres"
    PostgresServer(folder, free_port(), PASSWORD).initialise()
    return folder


@pytest.fixture
def server(data_dir: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(data_dir, free_port(), PASSWORD, settings=QUICK)
    server.start()
    yield server
    server.kill()


def connect(server: PostgresServer, password: str = PASSWORD) -> psycopg.Connection:
    return connect_to(server.environment(password=password))


def ask(server: PostgresServer, question: str) -> object:
    with connect(server) as connection:
        row = connection.execute(question.encode()).fetchone()
    return None if row is None else row[0]


@pytest.mark.parametrize("major", installed_bin_dirs())
def test_every_installed_major_starts_answers_and_stops(major: int, tmp_path: Path) -> None:
    bin_dir = installed_bin_dirs()[major]
    with PostgresServer(tmp_path / "data", free_port(), PASSWORD, bin_dir, QUICK) as server:
        assert ask(server, "SELECT current_setting('server_version_num')::int / 10000") == major
        assert ask(server, "SHOW server_encoding") == "UTF8"
        assert ask(server, "SHOW timezone") == "UTC"
        assert ask(server, "SHOW fsync") == "off"
    assert not server.running
    assert server.exit_status == 0


def test_the_wheel_brings_18() -> None:
    assert 18 in installed_bin_dirs()


def test_letters_beyond_ascii_have_an_upper_case(server: PostgresServer) -> None:
    assert ask(server, "SELECT upper('gävle')") == "GÄVLE"


def test_committed_rows_survive_kill_9_and_a_restart(server: PostgresServer) -> None:
    with connect(server) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    assert len(processes) > 3

    server.kill()

    assert not server.running
    assert not [process for process in processes if is_alive(process)]
    server.start()
    assert ask(server, "SELECT count(*) FROM kept") == 1000


def test_a_second_initialise_keeps_the_data(server: PostgresServer) -> None:
    with connect(server) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS initialised_once ()")
    server.stop()

    server.initialise()

    server.start()
    assert ask(server, "SELECT to_regclass('initialised_once')::text") == "initialised_once"


def test_an_initdb_cut_short_is_begun_again(tmp_path: Path) -> None:
    partial = tmp_path / "data.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")

    with PostgresServer(tmp_path / "data", free_port(), PASSWORD, settings=QUICK) as server:
        assert ask(server, "SELECT 1") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, password="wrong")


def test_it_listens_on_this_machine_alone(server: PostgresServer) -> None:
    sockets = psutil.Process(server.pid).net_connections()
    assert {listening.laddr for listening in sockets if listening.status == psutil.CONN_LISTEN} == {
        ("127.0.0.1", server.port)
    }


def test_a_busy_port_is_named(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = PostgresServer(data_dir, port, PASSWORD, settings=QUICK)
        with pytest.raises(LocalError, match=f"cannot listen on 127.0.0.1:{port}: another program"):
            server.start()
    assert not server.running


def test_a_setting_that_postgresql_refuses_is_shown_in_its_words(data_dir: Path) -> None:
    server = PostgresServer(data_dir, free_port(), PASSWORD, settings={"max_connections": "none"})
    with pytest.raises(LocalError, match='invalid value for parameter "max_connections": "none"'):
        server.start()


def test_a_second_server_on_the_same_data_is_refused_with_the_process_id(server: PostgresServer) -> None:
    second = PostgresServer(server.data_dir, free_port(), PASSWORD)
    with pytest.raises(LocalError, match=f"already running on {server.data_dir} as process {server.pid};"):
        second.start()
    assert ask(server, "SELECT 1") == 1


def test_stop_ends_open_sessions_and_exits_cleanly(server: PostgresServer) -> None:
    connection = connect(server)
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]

    server.stop()

    assert server.exit_status == 0
    assert not [process for process in processes if is_alive(process)]
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_the_log_is_passed_on_line_by_line(data_dir: Path) -> None:
    lines: list[str] = []
    with PostgresServer(data_dir, free_port(), PASSWORD, settings=QUICK, output=lines.append):
        pass
    assert [line for line in lines if "database system is ready to accept connections" in line]
    assert [line for line in lines if "database system is shut down" in line]


def test_libpqs_variables_are_enough_for_psql(server: PostgresServer) -> None:
    with connect(server) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'its own'")
    result = subprocess.run(
        [server.bin_dir / "psql", "--no-psqlrc", "-Atc", "SELECT current_user || ' ' || current_database()"],
        env=os.environ | server.environment(user="reader", database="template1", password="its own"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "reader template1\n"


@pytest.mark.needs("setpriv")  # that is, Linux: nothing else signals a child at its parent's death
def test_nothing_survives_kill_9_of_the_parent(data_dir: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, data_dir, str(free_port())], stdout=subprocess.PIPE, text=True
    )
    with parent:
        try:
            assert parent.stdout is not None
            postmaster = psutil.Process(int(parent.stdout.readline()))
            processes = [postmaster, *postmaster.children(recursive=True)]
            # Some are short-lived by nature.
            assert len([process for process in processes if is_alive(process)]) > 3
        finally:
            parent.send_signal(signal.SIGKILL)

    wait_until(lambda: not any(is_alive(process) for process in processes))


def test_root_without_setpriv_is_told_what_to_install(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"setpriv, .* install util-linux"):
        PostgresServer(data_dir, free_port(), PASSWORD).start()


def test_a_password_other_than_the_data_folders_is_said_at_once(data_dir: Path) -> None:
    server = PostgresServer(data_dir, free_port(), "wrong", settings=QUICK)
    with pytest.raises(LocalError, match=r"refuses its superuser: .*password authentication failed"):
        server.start()
    assert not server.running
