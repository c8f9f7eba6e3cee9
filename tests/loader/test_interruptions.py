"""A load whose process or server is killed: nothing is lost, nothing is in twice, the same call ends it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path
from random import Random

import pytest

from tests.database.waiting import waiting_for_locks
from tests.examples import nightly
from tests.loader.batches import (
    TIMEOUT_S,
    assert_answers_are_what_was_published,
    assert_nothing_is_left_but_the_ledger,
    begin,
    chunk_held,
    command,
    cut_short,
    data_version,
    environment,
    json_of,
    make_rows,
    only_line,
    run,
    write_csv,
)
from tests.postgres import Database
from tests.waiting import wait_until

ROWS = make_rows(2400)
CHUNK_ROWS = 20
CHUNK_COUNT = len(ROWS) // CHUNK_ROWS
CUT = ("--chunk-rows", str(CHUNK_ROWS), "--workers", "2")
# `xmin` is the transaction that wrote a row: another one for a chunk that was done again.
CHUNKS = "SELECT chunk_no, xmin::text, row_count FROM chunks ORDER BY chunk_no"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "prices.csv", ROWS)


def chunk_count(database: Database) -> int:
    return database.rows("SELECT count(*) FROM chunks")[0][0]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(TIMEOUT_S)


@pytest.mark.parametrize("seed", range(1, 10) if nightly else [1])
def test_a_load_killed_again_and_again_is_published_once(seed: int, ports: Database, path: Path) -> None:
    chance = Random(seed)  # noqa: S311
    known: list[tuple] = []
    for _ in range(3):
        until = chance.randrange(1, 14)
        load = cut_short(kill, "load", path, *CUT, database=ports, until_chunks=until)
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
    assert [(number, rows) for number, _, rows in chunks] == [(n, CHUNK_ROWS) for n in range(CHUNK_COUNT)]


def test_sigterm_ends_a_load_between_two_chunks_and_says_how_it_goes_on(ports: Database, path: Path) -> None:
    terminate = subprocess.Popen.terminate
    load = cut_short(terminate, "load", path, *CUT, "--json", database=ports, until_chunks=3)
    output, errors = load.stdout, load.stderr
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
    cut_short(kill, "load", path, *CUT, database=ports, until_chunks=20)

    result = json_of(run("load", path, *CUT, "--json", database=ports))

    assert (result["state"], result["rows"], result["error_count"]) == ("rejected", 0, 1)
    assert result["errors"][0]["line"] == 2
    assert_nothing_is_left_but_the_ledger(ports)


def test_two_loads_of_which_one_is_killed_publish_once(ports: Database, path: Path) -> None:
    call = ("load", path, *CUT, "--json")
    with begin(*call, database=ports) as killed, begin(*call, database=ports) as other:
        with chunk_held(ports, CHUNK_COUNT // 2):
            events = "SELECT event FROM batch_events ORDER BY event_no"
            wait_until(lambda: ports.rows(events) == [("opened",), ("resumed",)])
            wait_until(lambda: chunk_count(ports) >= 10)
            kill(killed)
        output, errors = other.communicate(timeout=TIMEOUT_S)
    assert other.returncode == 0, errors
    assert f'"state":"published","rows":{len(ROWS)}' in output
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
    assert f'"state":"published","rows":{len(ROWS)}' in output
    assert_answers_are_what_was_published(ports, ROWS)
    assert data_version(ports) == 1
    assert [(number, rows) for number, _, rows in ports.rows(CHUNKS)] == [
        (n, CHUNK_ROWS) for n in range(CHUNK_COUNT)
    ]


def test_ctrl_c_ends_a_load_with_one_line_and_the_next_goes_on(ports: Database, path: Path) -> None:
    call = ("load", path, *CUT, "--json")
    load = cut_short(lambda it: it.send_signal(signal.SIGINT), *call, database=ports, until_chunks=20)
    output, errors = load.stdout, load.stderr
    assert load.returncode == 130
    done = ports.rows(CHUNKS)
    stays = f"{len(done)} chunks are in and stay, the same load goes on from there"
    assert errors == f"loader: interrupted; {stays}\n"
    assert output.count("\n") == 1
    assert 20 <= len(done) < CHUNK_COUNT

    assert json_of(run("load", path, *CUT, "--json", database=ports))["state"] == "published"

    assert set(done) < set(ports.rows(CHUNKS))
    assert_answers_are_what_was_published(ports, ROWS)


@pytest.mark.parametrize("kind", ["standard input", "fifo"])
def test_ctrl_c_ends_a_load_that_waits_for_a_silent_pipe(kind: str, ports: Database, tmp_path: Path) -> None:
    fifo, (reading, writing) = tmp_path / "fifo", os.pipe()
    os.mkfifo(fifo)
    address, output = ("-" if kind == "standard input" else fifo), subprocess.PIPE
    load = subprocess.Popen(command("load", address), env=environment(ports), stdin=reading, stderr=output)
    os.close(reading)
    if kind == "fifo":
        os.close(writing)
        writing = os.open(fifo, os.O_WRONLY)  # waits until it is opened to be read
    try:
        os.write(writing, b"o")
        wait_until(lambda: unread_bytes(writing) == 0)
        load.send_signal(signal.SIGINT)
        assert load.communicate(timeout=TIMEOUT_S)[1] == b"loader: interrupted\n"
        assert load.returncode == 130
    finally:
        os.close(writing)
        load.kill()


def unread_bytes(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_load_whose_server_is_killed_ends_with_3_and_goes_on_once_it_is_back(
    on_mortal_server: Database, path: Path
) -> None:
    database = on_mortal_server
    call = ("load", path, *CUT, "--json")
    load = cut_short(lambda _: database.server.kill(), *call, database=database, until_chunks=30)
    output, errors = load.stdout, load.stderr
    assert load.returncode == 3
    assert errors.startswith("loader: the database could not be reached: ")
    assert errors.count("\n") == 1
    assert output.count("\n") == 1
    assert output.startswith('{"error":"the database could not be reached: ')

    refused = run("load", path, *CUT, database=database)
    assert refused.returncode == 3
    assert "Connection refused" in refused.stderr

    database.server.start()
    known = database.rows(CHUNKS)  # without those of the last moment, perhaps: they do not wait for the disk
    result = json_of(run("load", path, *CUT, "--json", database=database))
    assert (result["state"], result["rows"]) == ("published", len(ROWS))
    assert set(known) < set(database.rows(CHUNKS))
    assert_answers_are_what_was_published(database, ROWS)


def test_a_load_whose_sessions_are_ended_says_so_and_goes_on(ports: Database, path: Path) -> None:
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rates_loader'"
    call = ("load", path, *CUT)
    load = cut_short(lambda _: ports.rows(terminate), *call, database=ports, until_chunks=30)
    assert load.returncode == 3
    assert only_line(load).startswith("loader: the database could not be reached: ")
    assert json_of(run("load", path, *CUT, "--json", database=ports))["state"] == "published"
    assert_answers_are_what_was_published(ports, ROWS)
