"""`loader work` as a real process: it folds what is published until it is told to stop, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from loader.load import Options, load
from loader.sources import Files
from local.postgres import PostgresServer, free_port
from tests.loader.batches import (
    TIMEOUT_S,
    Row,
    add_places,
    assert_answers_are_what_was_published,
    begin,
    make_rows,
    run,
    write_csv,
)
from tests.postgres import PASSWORD, Database, clone, make_template
from tests.waiting import wait_until

WAITING = "the worker is waiting for published batches"


class Worker:
    """A running worker and the lines it has said."""

    def __init__(self, process: subprocess.Popen[str], *, as_json: bool) -> None:
        self.process = process
        self.lines: list[str] = []
        stream = process.stderr if as_json else process.stdout
        assert stream is not None
        self._reader = threading.Thread(target=lambda: self.lines.extend(iter(stream.readline, "")))
        self._reader.start()

    def says(self, part: str) -> bool:
        return any(part in line for line in list(self.lines))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(TIMEOUT_S)
        self._reader.join()
        return status


@contextmanager
def worker(database: Database, *arguments: str) -> Generator[Worker]:
    with begin("work", *arguments, database=database) as process:
        try:
            running = Worker(process, as_json="--json" in arguments)
            wait_until(lambda: running.says(WAITING))
            yield running
        finally:
            process.kill()


def publish(database: Database, folder: Path, rows: list[Row], name: str = "a") -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in database.environment("rates_loader").items():
            patch.setenv(variable, value)
        assert load(Files([write_csv(folder / f"{name}.csv", rows)]), Options()).state == "published"


def delta_count(database: Database) -> int:
    return database.rows("SELECT count(*) FROM lane_month_deltas")[0][0]


def test_it_folds_what_is_published_before_and_while_it_runs(ports: Database, tmp_path: Path) -> None:
    before, later = make_rows(200), make_rows(200, seed=2)
    publish(ports, tmp_path, before, "before")
    with worker(ports) as running:
        wait_until(lambda: delta_count(ports) == 0)
        publish(ports, tmp_path, later, "later")
        wait_until(lambda: delta_count(ports) == 0)
        assert running.stop() == 0
        assert running.says("totals of a lane and month into the base")
    assert_answers_are_what_was_published(ports, before, later)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_asked(number: signal.Signals, ports: Database) -> None:
    with worker(ports) as running:
        assert running.stop(number) == 0
        assert running.lines == [f"{WAITING}\n", "the worker has stopped\n"]


def test_json_is_one_object_once_it_has_stopped(ports: Database, tmp_path: Path) -> None:
    publish(ports, tmp_path, make_rows(100))
    deltas = delta_count(ports)
    with worker(ports, "--json") as running:
        wait_until(lambda: delta_count(ports) == 0)
        assert running.stop() == 0
        assert running.process.stdout is not None
        assert msgspec.json.decode(running.process.stdout.read()) == {"folded": deltas}


def test_two_workers_fold_everything_once(ports: Database, tmp_path: Path) -> None:
    batches = [make_rows(500, seed=number) for number in range(3)]
    with worker(ports) as one, worker(ports) as other:
        for number, rows in enumerate(batches):
            publish(ports, tmp_path, rows, str(number))
        wait_until(lambda: delta_count(ports) == 0)
        assert (one.stop(), other.stop()) == (0, 0)
    assert_answers_are_what_was_published(ports, *batches)


def test_it_lives_through_a_database_that_goes_away_and_returns(tmp_path: Path) -> None:
    rows = make_rows(100)
    server = PostgresServer(tmp_path / "postgres", free_port(), PASSWORD, settings={"fsync": "off"})
    with server:
        database = clone(server, make_template(server))
        add_places(database)
        with worker(database) as running:
            server.kill()
            wait_until(lambda: running.says("the database could not be reached"))
            assert running.says("asking again in 1 s")
            server.start()
            publish(database, tmp_path, rows)
            wait_until(lambda: delta_count(database) == 0)
            assert running.stop() == 0
        assert_answers_are_what_was_published(database, rows)


def test_it_ends_while_it_waits_for_a_database_that_is_away(database: Database) -> None:
    with begin("work", database=database, PGPORT=str(free_port())) as process:
        try:
            running = Worker(process, as_json=False)
            wait_until(lambda: running.says("asking again in 2 s"))
            assert running.says("Connection refused")
            assert running.stop() == 0
        finally:
            process.kill()


def test_it_waits_for_a_schema_that_is_not_there_yet(empty_database: Database, tmp_path: Path) -> None:
    with worker(empty_database) as running:
        wait_until(lambda: running.says("run `loader migrate`"))
        assert run("migrate", database=empty_database, role="postgres").returncode == 0
        add_places(empty_database)
        publish(empty_database, tmp_path, make_rows(50))
        wait_until(lambda: delta_count(empty_database) == 0)
        assert running.stop() == 0


def test_a_reader_of_its_lines_who_leaves_does_not_end_it(ports: Database, tmp_path: Path) -> None:
    with begin("work", database=ports) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            publish(ports, tmp_path, make_rows(50))
            wait_until(lambda: delta_count(ports) == 0)
            process.terminate()  # after what it said of the fold, it says once more that it stops
            assert process.wait(TIMEOUT_S) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""
        finally:
            process.kill()
