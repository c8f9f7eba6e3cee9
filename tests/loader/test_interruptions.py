"""A load whose process or server is killed: nothing is lost, nothing is in twice, the same call ends it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from local.postgres import PostgresServer, free_port
from tests.database.waiting import waiting_for_locks
from tests.loader.batches import (
    TIMEOUT_S,
    add_places,
    assert_answers_are_what_was_published,
    assert_nothing_is_left_but_the_ledger,
    begin,
    data_version,
    json_of,
    make_rows,
    run,
    write_csv,
)
from tests.postgres import PASSWORD, Database, clone, make_template
from tests.waiting import wait_until

ROWS = make_rows(6000)
CHUNK_ROWS = 20
CUT = ("--chunk-rows", str(CHUNK_ROWS), "--workers", "2")
# `xmin` is the transaction that wrote a row: another one for a chunk that was done again.
CHUNKS = "SELECT chunk_no, xmin::text, row_count FROM chunks ORDER BY chunk_no"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "prices.csv", ROWS)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that a test may kill."""
    server = PostgresServer(tmp_path / "postgres", free_port(), PASSWORD, settings={"fsync": "off"})
    with server:
        yield server


def chunk_count(database: Database) -> int:
    return database.rows("SELECT count(*) FROM chunks")[0][0]


def begin_load(database: Database, path: Path, *, until_chunks: int) -> subprocess.Popen[str]:
    """A load that is running and has this many chunks more in than there were."""
    before = chunk_count(database)
    load = begin("load", path, *CUT, "--json", database=database)
    wait_until(lambda: chunk_count(database) >= before + until_chunks)
    assert load.poll() is None
    return load


@pytest.mark.parametrize("seed", [1, 2])
def test_a_load_killed_again_and_again_is_published_once(seed: int, ports: Database, path: Path) -> None:
    chance = Random(seed)  # noqa: S311
    known: list[tuple] = []
    for _ in range(3):
        with begin_load(ports, path, until_chunks=chance.randrange(1, 60)) as load:
            load.kill()
        assert load.returncode == -signal.SIGKILL
        now = ports.rows(CHUNKS)
        assert set(known) < set(now)
        known = now
        assert ports.rows("SELECT state FROM batches") == [("loading",)]
        assert_answers_are_what_was_published(ports)
        assert data_version(ports) == 0

    result = json_of(run("load", path, *CUT, "--json", database=ports))

    assert (result["state"], result["rows"], result["error_count"]) == ("published", len(ROWS), 0)
    assert_answers_are_what_was_published(ports, ROWS)
    assert data_version(ports) == 1
    chunks = ports.rows(CHUNKS)
    assert set(known) < set(chunks), "a chunk that was in has been done again"
    assert [(number, rows) for number, _, rows in chunks] == [(n, CHUNK_ROWS) for n in range(300)]


def test_sigterm_ends_a_load_between_two_chunks_and_says_how_it_goes_on(ports: Database, path: Path) -> None:
    load = begin_load(ports, path, until_chunks=3)
    load.terminate()
    output, errors = load.communicate(timeout=TIMEOUT_S)
    assert load.returncode == 130
    stays = f"{chunk_count(ports)} chunks are in and stay, the same load goes on from there"
    assert errors == f"loader: stopped between two chunks; {stays}\n"
    assert output == f'{{"error":"{errors.removeprefix("loader: ").strip()}"}}\n'
    assert_answers_are_what_was_published(ports)

    assert json_of(run("load", path, *CUT, "--json", database=ports))["state"] == "published"

    assert_answers_are_what_was_published(ports, ROWS)


def test_a_load_killed_with_a_fault_in_it_is_rejected_when_it_goes_on(
    ports: Database, tmp_path: Path
) -> None:
    rows = [ROWS[0]._replace(price=0), *ROWS[1:]]
    path = write_csv(tmp_path / "prices.csv", rows)
    with begin_load(ports, path, until_chunks=20) as load:
        load.kill()

    result = json_of(run("load", path, *CUT, "--json", database=ports))

    assert (result["state"], result["rows"], result["error_count"]) == ("rejected", 0, 1)
    assert result["errors"][0]["line"] == 2
    assert_nothing_is_left_but_the_ledger(ports)


def test_two_loads_of_which_one_is_killed_publish_once(ports: Database, path: Path) -> None:
    with begin_load(ports, path, until_chunks=5) as killed, begin_load(ports, path, until_chunks=5) as other:
        killed.kill()
        output, errors = other.communicate(timeout=TIMEOUT_S)
    assert other.returncode == 0, errors
    assert '"state":"published","rows":6000' in output
    assert_answers_are_what_was_published(ports, ROWS)


def test_a_load_killed_in_the_middle_of_a_chunk_leaves_it_to_its_partner(ports: Database, path: Path) -> None:
    """Killed once it has written prices, while the partner goes on with the chunks after it."""
    with ports.connect() as owner, owner.transaction():
        owner.execute("LOCK TABLE lane_month_deltas IN SHARE MODE")
        with begin("load", path, *CUT[:2], "--workers", "1", "--json", database=ports) as killed:
            wait_until(lambda: waiting_for_locks(ports) == 1)
            other = begin("load", path, *CUT, "--json", database=ports)
            wait_until(lambda: waiting_for_locks(ports) == 3)
            killed.kill()
        assert ports.rows("SELECT count(*) FROM chunks") == [(0,)]
    output, errors = other.communicate(timeout=TIMEOUT_S)
    assert other.returncode == 0, errors
    assert '"state":"published","rows":6000' in output
    assert_answers_are_what_was_published(ports, ROWS)
    assert data_version(ports) == 1
    assert [(number, rows) for number, _, rows in ports.rows(CHUNKS)] == [(n, CHUNK_ROWS) for n in range(300)]


def test_ctrl_c_ends_a_load_with_one_line_and_the_next_goes_on(ports: Database, path: Path) -> None:
    with begin_load(ports, path, until_chunks=20) as load:
        load.send_signal(signal.SIGINT)
        output, errors = load.communicate(timeout=TIMEOUT_S)
    assert load.returncode == 130
    done = ports.rows(CHUNKS)
    stays = f"{len(done)} chunks are in and stay, the same load goes on from there"
    assert errors == f"loader: interrupted; {stays}\n"
    assert output.count("\n") == 1
    assert 20 <= len(done) < 300

    assert json_of(run("load", path, *CUT, "--json", database=ports))["state"] == "published"

    assert set(done) < set(ports.rows(CHUNKS))
    assert_answers_are_what_was_published(ports, ROWS)


def test_a_load_whose_server_is_killed_ends_with_3_and_goes_on_once_it_is_back(
    own_server: PostgresServer, path: Path
) -> None:
    database = clone(own_server, make_template(own_server))
    add_places(database)
    with begin_load(database, path, until_chunks=30) as load:
        own_server.kill()
        output, errors = load.communicate(timeout=TIMEOUT_S)
    assert load.returncode == 3
    assert errors.startswith("loader: the database could not be reached: ")
    assert errors.count("\n") == 1
    assert output.count("\n") == 1
    assert output.startswith('{"error":"the database could not be reached: ')

    refused = run("load", path, *CUT, database=database)
    assert refused.returncode == 3
    assert "Connection refused" in refused.stderr

    own_server.start()
    known = database.rows(CHUNKS)  # without those of the last moment, perhaps: they do not wait for the disk
    result = json_of(run("load", path, *CUT, "--json", database=database))
    assert (result["state"], result["rows"]) == ("published", len(ROWS))
    assert set(known) < set(database.rows(CHUNKS))
    assert_answers_are_what_was_published(database, ROWS)


def test_a_load_whose_sessions_are_ended_says_so_and_goes_on(ports: Database, path: Path) -> None:
    with begin_load(ports, path, until_chunks=30) as load:
        ports.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rates_loader'")
        _, errors = load.communicate(timeout=TIMEOUT_S)
    assert load.returncode == 3
    assert errors.startswith("loader: the database could not be reached: ")
    assert errors.count("\n") == 1
    assert json_of(run("load", path, *CUT, "--json", database=ports))["state"] == "published"
    assert_answers_are_what_was_published(ports, ROWS)
