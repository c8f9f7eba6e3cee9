"""`loader work` as a real process: it folds what is published until it is told to stop, whatever happens.

What it does with messages is in `test_work_messages`, with what fails in `test_work_failures`.
"""

from __future__ import annotations

import signal
from pathlib import Path

import msgspec
import pytest

from loader.load import Options, load
from loader.sources import Files
from local.postgres import free_port
from tests.batch_storage import BatchStorage
from tests.loader.batches import (
    TIMEOUT_S,
    Row,
    add_places,
    assert_answers_are_what_was_published,
    begin,
    json_of,
    make_rows,
    only_line,
    run,
    write_csv,
)
from tests.loader.workers import STARTED, STOPPED, worker
from tests.postgres import Database
from tests.waiting import wait_until


def publish(database: Database, folder: Path, rows: list[Row], name: str = "a") -> None:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in database.environment("rates_loader").items():
            patch.setenv(variable, value)
        assert load(Files([write_csv(folder / f"{name}.csv", rows)]), Options()).state == "published"


def delta_count(database: Database) -> int:
    return database.rows("SELECT count(*) FROM lane_month_deltas")[0][0]


def test_it_folds_what_is_published_before_and_while_it_runs(
    ports: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    before, later = make_rows(200), make_rows(200, seed=2)
    publish(ports, tmp_path, before, "before")
    with worker(ports, storage) as running:
        wait_until(lambda: delta_count(ports) == 0)
        publish(ports, tmp_path, later, "later")
        wait_until(lambda: delta_count(ports) == 0)
        assert running.stop() == 0
        assert running.find("totals folded")
    assert_answers_are_what_was_published(ports, before, later)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_asked(number: signal.Signals, ports: Database, storage: BatchStorage) -> None:
    with worker(ports, storage) as running:
        assert running.stop(number) == 0
        events = [line["event"] for line in running.logged()]
        assert (events[0], events[-1]) == (STARTED, STOPPED)


@pytest.mark.parametrize(("secret", "lines"), [("", 1), ("  ", 1), ("s" * 43, 0)])
def test_without_a_secret_to_sign_with_it_says_once_that_it_leaves_callbacks_to_others(
    secret: str, lines: int, ports: Database, storage: BatchStorage
) -> None:
    with worker(ports, storage, RATES_CALLBACK_SECRET=secret) as running:
        assert running.stop() == 0
        assert len(running.find("callbacks are left to other workers")) == lines


def test_a_secret_to_sign_with_that_is_none_is_told_before_it_works(
    ports: Database, storage: BatchStorage
) -> None:
    done = run("work", database=ports, RATES_CALLBACK_SECRET="short", **storage.environment())
    assert done.returncode == 2
    assert done.stderr.startswith("loader: RATES_CALLBACK_SECRET: secret 1 is not 32 to 200 of ")
    assert "short" not in done.stderr


def test_json_is_one_object_once_it_has_stopped(
    ports: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    publish(ports, tmp_path, make_rows(100))
    deltas = delta_count(ports)
    with worker(ports, storage, "--json") as running:
        wait_until(lambda: delta_count(ports) == 0)
        assert running.stop() == 0
        assert running.process.stdout is not None
        assert msgspec.json.decode(running.process.stdout.read()) == {
            "chunks": 0,
            "folded": deltas,
        }


def test_two_workers_fold_everything_once(ports: Database, storage: BatchStorage, tmp_path: Path) -> None:
    batches = [make_rows(500, seed=number) for number in range(3)]
    with worker(ports, storage) as one, worker(ports, storage) as other:
        for number, rows in enumerate(batches):
            publish(ports, tmp_path, rows, str(number))
        wait_until(lambda: delta_count(ports) == 0)
        assert (one.stop(), other.stop()) == (0, 0)
    assert_answers_are_what_was_published(ports, *batches)


def test_it_lives_through_a_database_that_goes_away_and_returns(
    on_mortal_server: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    rows, database = make_rows(100), on_mortal_server
    with worker(database, storage) as running:
        database.server.kill()
        wait_until(lambda: running.says("the database could not be reached"))
        wait_until(lambda: running.find("database away", again_in_s=1.0) != [])
        database.server.start()
        publish(database, tmp_path, rows)
        wait_until(lambda: delta_count(database) == 0)
        assert running.stop() == 0
    assert_answers_are_what_was_published(database, rows)


def test_it_ends_while_it_waits_for_a_database_that_is_away(
    database: Database, storage: BatchStorage
) -> None:
    with worker(database, storage, PGPORT=str(free_port())) as running:
        wait_until(lambda: running.find("database away", again_in_s=2.0) != [])
        assert running.says("Connection refused")
        assert running.stop() == 0


def test_it_waits_for_a_schema_that_is_not_there_yet(
    empty_database: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    with worker(empty_database, storage) as running:
        wait_until(lambda: running.says("run `loader migrate`"))
        assert run("migrate", database=empty_database, role="postgres").returncode == 0
        add_places(empty_database)
        publish(empty_database, tmp_path, make_rows(50))
        wait_until(lambda: delta_count(empty_database) == 0)
        assert running.stop() == 0


def test_a_reader_of_its_lines_who_leaves_does_not_end_it(
    ports: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    with begin("work", database=ports, **storage.environment()) as process:
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


def test_every_setting_that_is_missing_is_named_at_once(ports: Database) -> None:
    none = {"BATCH_BUCKET": "", "BATCH_QUEUE_URL": ""}
    done = run("work", database=ports, **none)
    assert done.returncode == 2
    assert only_line(done) == "loader: no place for batches is named: set BATCH_BUCKET, BATCH_QUEUE_URL"
    told = run("work", "--json", database=ports, **none)
    assert json_of(told) == {"error": "no place for batches is named: set BATCH_BUCKET, BATCH_QUEUE_URL"}


def test_a_queue_that_is_not_there_ends_it_before_it_begins(ports: Database, storage: BatchStorage) -> None:
    environment = {**storage.environment(), "BATCH_QUEUE_URL": f"{storage.queue_url}-not"}
    done = run("work", database=ports, **environment)
    assert done.returncode == 2
    assert f"queue {storage.queue_url}-not" in only_line(done)


def test_while_the_queue_is_away_it_folds_and_what_is_planned_waits(
    ports: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    publish(ports, tmp_path, make_rows(100))
    with worker(ports, storage, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}") as running:
        wait_until(lambda: delta_count(ports) == 0)
        wait_until(lambda: running.find("queue away", again_in_s=2.0) != [])
        assert running.stop() == 0
