"""The bundled sample: made the same everywhere, sound as data, and a dump that PostgreSQL runs."""

import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from local import sample
from local.postgres import PostgresServer

COMMITTED = Path(sample.__file__).with_suffix(".sql")
README_LANE = ("CNSGH", "EETLL")
JANUARY = [date(2021, 1, day) for day in range(1, 32)]

Rows = dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def tables() -> Rows:
    """The rows of each COPY section of the committed file."""
    rows: Rows = {}
    table = None
    for line in COMMITTED.read_text().splitlines():
        if line.startswith("COPY public."):
            table = line.split(".")[1].split()[0]
            rows[table] = []
        elif line == r"\.":
            table = None
        elif table:
            rows[table].append(line.split("\t"))
    return rows


def test_the_command_writes_the_committed_file_byte_for_byte() -> None:
    made = subprocess.run([sys.executable, "-m", "local.sample"], capture_output=True, check=True)
    assert made.stdout == COMMITTED.read_bytes()


def test_the_hash_seed_of_the_process_does_not_change_the_file(tmp_path: Path) -> None:
    output = tmp_path / "sample.sql"
    command = [sys.executable, "-m", "local.sample", "--output", str(output)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "12345"}, cwd=COMMITTED.parents[1])
    assert output.read_bytes() == COMMITTED.read_bytes()


def test_the_file_is_small_enough_to_commit() -> None:
    assert COMMITTED.stat().st_size <= 700_000


def test_every_port_is_in_a_region_and_every_region_below_one_that_exists(tables: Rows) -> None:
    slugs = {slug for slug, _, _ in tables["regions"]}
    assert {slug for _, _, slug in tables["ports"]} <= slugs
    assert {parent for _, _, parent in tables["regions"]} <= slugs | {r"\N"}
    assert len(slugs) == len(tables["regions"])
    assert len({code for code, _, _ in tables["ports"]}) == len(tables["ports"]) >= 60


def test_the_tree_of_regions_is_four_levels_deep_and_has_its_odd_cases(tables: Rows) -> None:
    parents = {slug: parent for slug, _, parent in tables["regions"]}
    with_ports = {slug for _, _, slug in tables["ports"]}

    def depth(slug: str) -> int:
        return 1 if parents[slug] == r"\N" else 1 + depth(parents[slug])

    assert max(depth(slug) for slug in parents) == 4
    assert {4} <= {depth(slug) for slug in with_ports}, "no port at the deepest level"
    assert with_ports & set(parents.values()), "no region with both ports and regions below it"
    childless = set(parents) - set(parents.values())
    assert childless - with_ports, "no region without any port below it"


def test_prices_are_positive_and_between_known_ports_in_january_and_february(tables: Rows) -> None:
    codes = {code for code, _, _ in tables["ports"]}
    for orig, dest, day, price in tables["prices"]:
        assert {orig, dest} <= codes
        assert orig != dest
        assert date(2021, 1, 1) <= date.fromisoformat(day) <= date(2021, 2, 28)
        assert 100 < int(price) < 10_000


def test_lanes_vary_from_both_directions_to_a_handful_of_prices(tables: Rows) -> None:
    prices = Counter((orig, dest) for orig, dest, _, _ in tables["prices"])
    assert len(prices) == 150
    assert 1 <= min(prices.values()) < 10
    assert any((dest, orig) in prices for orig, dest in prices)
    per_day = Counter(tuple(row[:3]) for row in tables["prices"])
    assert set(per_day.values()) == {1, 2, 3, 4, 5, 6}


def test_the_readme_lane_has_mostly_priced_days_and_thin_and_empty_ones(tables: Rows) -> None:
    per_day = Counter(row[2] for row in tables["prices"] if tuple(row[:2]) == README_LANE)
    counts = [per_day[day.isoformat()] for day in JANUARY]
    assert sum(count >= 3 for count in counts) >= 20
    assert sum(0 < count < 3 for count in counts) >= 1
    assert sum(count == 0 for count in counts) >= 1


def test_prices_lie_between_the_regions_of_the_readme(tables: Rows) -> None:
    orig_codes, dest_codes = (
        {port.code for port in sample.ports_of(slug)} for slug in ("china_main", "northern_europe")
    )
    per_day = Counter(row[2] for row in tables["prices"] if row[0] in orig_codes and row[1] in dest_codes)
    assert all(per_day[day.isoformat()] >= 3 for day in JANUARY if day != date(2021, 1, 1))


def test_postgresql_runs_it_in_an_empty_database(server: PostgresServer, tables: Rows) -> None:
    psql = [server.bin_dir / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]

    def run(database: str, *arguments: str) -> str:
        environment = server.environment(database=database)
        done = subprocess.run(
            [*psql, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("postgres", "--command=CREATE DATABASE sample_as_dumped TEMPLATE template0")
    try:
        run("sample_as_dumped", f"--file={COMMITTED}")
        for table, rows in tables.items():
            count = run("sample_as_dumped", "-tA", f"--command=SELECT count(*) FROM public.{table}")
            assert int(count) == len(rows)
    finally:
        run("postgres", "--command=DROP DATABASE sample_as_dumped")
