"""`loader places` and `import --places-only`: regions and ports alone, all of them or none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.loader.batches import (
    PORTS,
    REGIONS,
    assert_answers_are_what_was_published,
    contents,
    data_version,
    json_of,
    load_rows,
    make_rows,
    run,
    run_here,
    write_csv,
)
from tests.loader.dumps import dump_text, write_dump
from tests.postgres import Database

OF_REGIONS, OF_PORTS = "slug,name,parent_slug", "code,name,parent_slug"


def test_new_ones_go_in_known_ones_change_and_the_same_again_changes_nothing(
    ports: Database, tmp_path: Path
) -> None:
    regions = write_csv(tmp_path / "regions.csv", [("nordic", '"Nordic, all"', "europe")], OF_REGIONS)
    some = [("nordic", "SEGVX", "Gefle"), ("nordic", "FIHEL", "Helsinki")]
    of_ports = write_csv(tmp_path / "ports.csv", some, "parent_slug,code,name")
    for changed in (3, 0):
        done = run("places", of_ports, regions, "--json", database=ports)
        assert json_of(done) == {"regions": 1, "ports": 2, "changed": changed}
    assert ports.rows("SELECT name FROM regions WHERE slug = 'nordic'") == [("Nordic, all",)]
    assert ports.rows("SELECT code, name FROM ports WHERE parent_slug = 'nordic' ORDER BY code") == [
        ("FIHEL", "Helsinki"),
        ("SEGVX", "Gefle"),
    ]
    assert ports.rows("SELECT count(*) FROM region_ports WHERE port_code = 'FIHEL'") == [(3,)]
    assert data_version(ports) == 1


def test_a_port_that_was_refused_is_known_from_then_on(ports: Database, tmp_path: Path) -> None:
    rows = [row._replace(dest_code="FIHEL") for row in make_rows(5)]
    prices = write_csv(tmp_path / "prices.csv", rows)
    assert run_here("load", prices, database=ports).returncode == 1
    path = write_csv(tmp_path / "ports.csv", [("FIHEL", "Helsinki", "europe")], OF_PORTS)
    told = run_here("places", path, database=ports).stdout
    assert told == "0 regions and 1 port are there; 1 row went in or changed\n"
    assert run_here("load", prices, database=ports).returncode == 0
    assert_answers_are_what_was_published(ports, rows)


@pytest.mark.parametrize("command", [["places"], ["import", "--places-only"]])
def test_of_a_dump_the_prices_are_left(command: list[str], ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, rows := make_rows(20))
    text = dump_text(REGIONS, [*PORTS, ("FIHEL", "Helsinki", "europe")], make_rows(30, seed=2))
    path = write_dump(tmp_path / "dump.sql", text)
    path.write_bytes(gzip.compress(path.read_bytes()))
    done = run_here(*command, path, "--json", database=ports)
    assert json_of(done) == {"regions": len(REGIONS), "ports": len(PORTS) + 1, "changed": 1}
    assert_answers_are_what_was_published(ports, rows)


WRONG = [
    (OF_PORTS, [("X", "X", "nowhere")], "port 'X' lies in region 'nowhere', which is not there"),
    (OF_PORTS, [("X", "X", "asia"), ("X", "Y", "asia")], "port 'X' is there twice"),
    (OF_PORTS, [("asia", "X", "europe")], "'asia' is a region and a port"),
    (OF_REGIONS, [("CNSGH", "X", "asia")], "'CNSGH' is a region and a port"),
    (OF_REGIONS, [("world", "World", "asia")], "region 'world' lies in itself"),
    (OF_PORTS, [("X", "X", "")], ":2: parent_slug: missing: a value is expected"),
    (OF_PORTS, [("X", "X")], ":2: 2 columns, expected 3"),
    (OF_PORTS, [("X", '"X', "asia")], ":2: a quote is not closed"),
    (OF_PORTS, [], "no rows: there is nothing below the header"),
    ("code,name", [("X", "X")], f"the header is 'code,name'; expected {OF_REGIONS} of regions or {OF_PORTS}"),
    (
        "orig_code,dest_code,day,price",
        [("X", "X", "X", "X")],
        "the header is 'orig_code,dest_code,day,price'",
    ),
]


@pytest.mark.parametrize(("header", "rows", "reason"), WRONG)
def test_what_is_wrong_is_named_and_none_goes_in(
    header: str, rows: list[tuple], reason: str, ports: Database, tmp_path: Path
) -> None:
    good = write_csv(tmp_path / "good.csv", [("FIHEL", "Helsinki", "europe")], OF_PORTS)
    before = contents(ports)
    done = run_here("places", good, write_csv(tmp_path / "wrong.csv", rows, header), database=ports)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert contents(ports) == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfea\x00", "UTF-16"),
        (b'{"code": "X"}\n', "the file is ndjson"),
        (b"PAR1", "the file is parquet"),
        (b"\xe9,\xe9\n", "not UTF-8: byte 0xe9"),
        (b"", "the header is ''"),
    ],
)
def test_what_is_no_csv_is_named(data: bytes, reason: str, ports: Database, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_bytes(data)
    done = run_here("places", path, database=ports)
    assert done.returncode == 1
    assert reason in done.stderr


def test_a_region_may_take_its_parent_from_what_is_there(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", [("nordic", "Nordic", "europe"), ("top", "Top", "")], OF_REGIONS)
    assert run_here("places", path, database=ports).returncode == 0
    assert ports.rows("SELECT parent_slug FROM regions WHERE slug IN ('nordic', 'top') ORDER BY slug") == [
        ("europe",),
        (None,),
    ]
