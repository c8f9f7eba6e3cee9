"""What the benchmark of the loader is made of: its data, its check of a load, its reader."""

from __future__ import annotations

import csv
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import BenchmarkError, databases, random_prices
from benchmarks.anchors import FLOOR, Anchor
from benchmarks.cores import free_core, server_processes
from benchmarks.loader import check_load, load, publish_s, run_anchor
from benchmarks.random_prices import DAYS, LaneDay, Total, random_lanes, totals_of, write_prices
from benchmarks.reader import PERIOD_S, reader_beside
from local.postgres import PostgresServer
from local.sample import PORTS
from tests.postgres import Database
from tests.processes import asked
from tests.waiting import wait_until

ROWS = 2_500
LOCK_S = 0.3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "prices.csv"
    write_prices(file, ROWS)
    return file


@pytest.fixture
def with_ports(database: Database) -> databases.Database:
    """The test's database as the benchmark sees it."""
    with database.connect() as connection:
        databases.insert_ports(connection)
    return databases.Database(database.server, database.name)


@pytest.fixture
def loaded(with_ports: databases.Database, file: Path) -> tuple[databases.Database, dict[str, Any]]:
    """The file loaded once, and what the loader said."""
    return with_ports, load(with_ports, file, key="once")[1]


def test_the_file_has_random_days_of_random_lanes_between_known_ports(file: Path) -> None:
    with file.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == ["orig_code", "dest_code", "day", "price"]
    assert len(rows) == ROWS
    lanes = {(orig, dest) for orig, dest, _, _ in rows}
    assert len(random_lanes()) == 725
    assert lanes <= set(random_lanes())
    assert len(lanes) > 650
    assert {code for lane in lanes for code in lane} <= {port.code for port in PORTS}
    assert all(orig != dest for orig, dest in lanes)
    assert {date.fromisoformat(day) for _, _, day, _ in rows} > set(DAYS[10:12])
    assert all(100 <= int(price) < 10_000 for *_, price in rows)


def test_the_same_file_is_made_again_whatever_blocks_it_is_made_in(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again.csv"
    write_prices(again, ROWS)
    assert again.read_bytes() == file.read_bytes()
    monkeypatch.setattr(random_prices, "BLOCK_ROWS", 1_000)
    write_prices(again, ROWS)
    lines = again.read_text().splitlines()
    assert len(lines) == len(file.read_text().splitlines())
    assert lines.count("orig_code,dest_code,day,price") == 1
    assert lines[1:501] != lines[1001:1501], "blocks differ from each other"


def test_the_totals_are_those_of_the_file(file: Path) -> None:
    expected: dict[LaneDay, Total] = {}
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            lane_day = (row["orig_code"], row["dest_code"], date.fromisoformat(row["day"]))
            usd, count = expected.get(lane_day, (0, 0))
            expected[lane_day] = (usd + int(row["price"]), count + 1)
    assert totals_of(file) == expected


def test_a_right_load_passes_once_and_twice(
    loaded: tuple[databases.Database, dict[str, Any]], file: Path
) -> None:
    database, said = loaded
    check_load(database, said, totals_of(file), loads=1)
    said = load(database, file, key="again")[1]
    check_load(database, said, totals_of(file), loads=2)


def test_a_load_that_says_something_else_does_not_pass(
    loaded: tuple[databases.Database, dict[str, Any]], file: Path
) -> None:
    database, said = loaded
    with pytest.raises(BenchmarkError, match="the load ended loading with 2,500 of 2,500 rows"):
        check_load(database, {**said, "state": "loading"}, totals_of(file), loads=1)
    with pytest.raises(BenchmarkError, match="the load ended published with 2,499 of 2,500 rows"):
        check_load(database, {**said, "rows": ROWS - 1}, totals_of(file), loads=1)


def test_a_load_with_one_row_wrong_does_not_pass(
    loaded: tuple[databases.Database, dict[str, Any]], file: Path
) -> None:
    database, said = loaded
    with database.connect() as connection:
        connection.execute("UPDATE prices SET price = price + 1 WHERE ctid = '(0,1)'")
    with pytest.raises(BenchmarkError, match="the rows of 1 lane-days are not the file's"):
        check_load(database, said, totals_of(file), loads=1)


def test_a_load_that_readers_do_not_see_whole_does_not_pass(
    loaded: tuple[databases.Database, dict[str, Any]], file: Path
) -> None:
    """An answer is nothing where one of its ports is not there, whatever the tables of totals look like."""
    database, said = loaded
    with database.connect() as connection:
        connection.execute("DELETE FROM ports WHERE code = %s", [random_lanes()[0][0]])
    with pytest.raises(BenchmarkError, match=r"the answers of \d+ lane-days are not the file's"):
        check_load(database, said, totals_of(file), loads=1)


def test_an_anchor_that_loads_too_little_does_not_pass(bare_server: PostgresServer, file: Path) -> None:
    assert run_anchor(bare_server, FLOOR, file, ROWS).seconds > 0
    lazy = Anchor("lazy", databases.BARE, lambda _database, _file: 0.001)
    with pytest.raises(BenchmarkError, match="lazy: 0 of 2,500 rows are there"):
        run_anchor(bare_server, lazy, file, ROWS)


def test_a_stall_counts_for_every_question_that_falls_into_it(with_ports: databases.Database) -> None:
    connect = with_ports.connect
    with reader_beside(with_ports, None) as answers, connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE ports IN ACCESS EXCLUSIVE MODE")
        locked = time.monotonic()
        wait_until(lambda: time.monotonic() > locked + LOCK_S)
        released = time.monotonic()
    stalled = [(due, seconds) for due, seconds in answers if locked < due < released]
    assert all(due + seconds >= released for due, seconds in stalled)
    # And none was left out, as a reader would that asks again only once it is answered.
    assert len(stalled) >= LOCK_S / PERIOD_S - 1
    times = [due for due, _ in answers]
    assert [late - early for early, late in pairwise(times)] == pytest.approx([PERIOD_S] * (len(times) - 1))


@pytest.mark.needs("root")
def test_the_reader_has_a_core_that_neither_the_load_nor_the_server_use(
    with_ports: databases.Database,
) -> None:
    """Another process of the server's user could not be told where to run by anybody but root."""
    cores = psutil.Process().cpu_affinity()
    with free_core(with_ports.server) as core:
        if len(cores) == 1:
            assert core is None
            return
        assert core == cores[-1]
        with reader_beside(with_ports, core):
            here = psutil.Process()
            all_of_them = [*server_processes(with_ports.server), here]
            kept = {tuple(its) for _, its in asked(psutil.Process.cpu_affinity, all_of_them)}
            (reader,) = [
                child for child, its in asked(psutil.Process.cpu_affinity, here.children()) if its == [core]
            ]
            assert "benchmarks.reader" in reader.cmdline()
        assert kept == {tuple(cores[:-1]), (core,)}
    assert psutil.Process().cpu_affinity() == cores


def test_the_time_of_publishing_is_read_from_the_events_of_a_batch() -> None:
    events = [
        {"event": "opened", "at": "…", "seconds": None},
        {"event": "published", "at": "…", "seconds": 0.004},
    ]
    assert publish_s({"batch": "…", "events": events}) == 0.004
    assert publish_s({"batch": "…", "events": events[:1]}) is None
    assert publish_s({"batch": "…"}) is None
