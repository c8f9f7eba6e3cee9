"""`region_ports` is the closure of the tree of regions and ports, whatever is done to the tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.postgres import PostgresServer
from tests.database.waiting import begin_and_wait
from tests.examples import examples
from tests.postgres import Database, clone
from tests.waiting import TIMEOUT_S

SLUGS = [f"r{number}" for number in range(8)]
CODES = [f"P{number}" for number in range(8)]
# What is done to a region: (region, its new parent, or itself for none). And to a port: (port, its region).
PLACEMENTS = st.lists(st.tuples(st.sampled_from(SLUGS), st.sampled_from(SLUGS)), min_size=1, max_size=12)
PORTS = st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(SLUGS)), min_size=1, max_size=12)
PUT_REGION = (
    "INSERT INTO regions VALUES (%s, 'Region', %s)"
    " ON CONFLICT (slug) DO UPDATE SET parent_slug = excluded.parent_slug"
)
PUT_PORT = (
    "INSERT INTO ports VALUES (%s, 'Port', %s)"
    " ON CONFLICT (code) DO UPDATE SET parent_slug = excluded.parent_slug"
)
MOVE_ASIA = "UPDATE regions SET parent_slug = 'europe' WHERE slug = 'asia'"
CUT_CHINA_OFF = "UPDATE regions SET parent_slug = NULL WHERE slug = 'china'"
MOVE_HAMBURG = "UPDATE ports SET parent_slug = 'china' WHERE code = 'DEHAM'"
ADD_NINGBO = "INSERT INTO ports VALUES ('CNNGB', 'Ningbo', 'china')"


@pytest.fixture(scope="module")
def places(server: PostgresServer, template: str) -> Iterator[psycopg.Connection]:
    """A connection whose database is emptied by the tests that fill it."""
    database = clone(server, template)
    with database.connect() as connection:
        yield connection
    database.drop()


@pytest.fixture
def tree(database: Database) -> Database:
    """world > asia > china > CNSGH and world > europe > DEHAM: a port at two depths."""
    with database.connect() as connection, connection.transaction():
        for slug, parent in (("world", None), ("asia", "world"), ("china", "asia"), ("europe", "world")):
            connection.execute(PUT_REGION, [slug, parent])
        for code, slug in (("CNSGH", "china"), ("DEHAM", "europe")):
            connection.execute(PUT_PORT, [code, slug])
    return database


def closure(rows: list[tuple]) -> set[tuple]:
    assert len(rows) == len(set(rows))
    return set(rows)


def kept(database: Database) -> set[tuple]:
    return closure(database.rows("SELECT region_slug, port_code FROM region_ports"))


def expected(parents: dict[str, str | None], ports: dict[str, str]) -> set[tuple]:
    """Worked out in Python, by walking up from each port; a region met twice ends a cycle."""
    pairs = set()
    for code, region in ports.items():
        above: str | None = region
        while above is not None and (above, code) not in pairs:
            pairs.add((above, code))
            above = parents[above]
    return pairs


@settings(
    deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(placements=PLACEMENTS, port_placements=PORTS, gone=st.sets(st.sampled_from(CODES)))
def test_any_history_of_inserts_moves_and_deletes_leaves_the_closure(
    places: psycopg.Connection,
    placements: list[tuple[str, str]],
    port_placements: list[tuple[str, str]],
    gone: set[str],
) -> None:
    parents: dict[str, str | None] = dict.fromkeys(SLUGS)
    ports: dict[str, str] = {}
    with places.transaction(force_rollback=True):
        for slug in SLUGS:
            places.execute(PUT_REGION, [slug, None])
        for number, (slug, parent) in enumerate(placements):
            parents[slug] = parent if parent != slug else None
            places.execute(PUT_REGION, [slug, parents[slug]])
            if number < len(port_placements):
                code, ports[code] = port_placements[number]
                places.execute(PUT_PORT, [code, ports[code]])
        places.execute("DELETE FROM ports WHERE code = ANY(%s)", [list(gone)])
        ports = {code: slug for code, slug in ports.items() if code not in gone}
        rows = places.execute("SELECT region_slug, port_code FROM region_ports").fetchall()
        assert closure(rows) == expected(parents, ports)
        should = places.execute("SELECT region_slug, port_code FROM region_tree_ports").fetchall()
        assert closure(rows) == closure(should)


def test_a_port_is_below_every_region_above_it(tree: Database) -> None:
    assert kept(tree) == {
        *(("world", "CNSGH"), ("asia", "CNSGH"), ("china", "CNSGH")),
        *(("world", "DEHAM"), ("europe", "DEHAM")),
    }


def test_moving_a_region_moves_all_that_is_below_it(tree: Database) -> None:
    tree.rows("UPDATE regions SET parent_slug = 'europe' WHERE slug = 'asia' RETURNING slug")
    assert {slug for slug, code in kept(tree) if code == "CNSGH"} == {"world", "europe", "asia", "china"}


def test_cutting_a_region_off_takes_its_ports_from_what_was_above(tree: Database) -> None:
    tree.rows("UPDATE regions SET parent_slug = NULL WHERE slug = 'china' RETURNING slug")
    assert {slug for slug, code in kept(tree) if code == "CNSGH"} == {"china"}


def test_deleting_a_port_takes_it_out_of_every_region(tree: Database) -> None:
    tree.rows("DELETE FROM ports WHERE code = 'CNSGH' RETURNING code")
    assert {code for _, code in kept(tree)} == {"DEHAM"}


def test_a_region_that_others_are_in_cannot_be_deleted(tree: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        tree.rows("DELETE FROM regions WHERE slug = 'asia' RETURNING slug")
    assert ("asia", "CNSGH") in kept(tree)


def test_an_import_may_name_a_port_before_its_region_and_a_region_before_its_parent(
    database: Database,
) -> None:
    with database.connect() as connection, connection.transaction():
        connection.execute(PUT_PORT, ["CNSGH", "china"])
        connection.execute(PUT_REGION, ["china", "asia"])
        connection.execute(PUT_REGION, ["asia", None])
    assert kept(database) == {("china", "CNSGH"), ("asia", "CNSGH")}


def test_a_cycle_of_regions_ends_and_each_has_the_ports_of_all(tree: Database) -> None:
    tree.rows("UPDATE regions SET parent_slug = 'china' WHERE slug = 'world' RETURNING slug")
    assert {slug for slug, code in kept(tree) if code == "CNSGH"} == {"world", "asia", "china"}
    assert {slug for slug, code in kept(tree) if code == "DEHAM"} == {"world", "asia", "china", "europe"}


@pytest.mark.parametrize(
    ("first", "second"),
    [(MOVE_ASIA, ADD_NINGBO), (ADD_NINGBO, MOVE_ASIA), (MOVE_HAMBURG, CUT_CHINA_OFF)],
)
def test_two_changes_at_once_leave_the_closure_of_both(
    tree: Database, first: LiteralString, second: LiteralString
) -> None:
    with tree.connect("rates_loader") as one, tree.connect("rates_loader") as other:
        with one.transaction():
            one.execute(first)
            waiting = begin_and_wait(tree, other, second)
        waiting.result(TIMEOUT_S)
    assert kept(tree) == closure(tree.rows("SELECT region_slug, port_code FROM region_tree_ports"))


def test_thousands_of_ports_go_in_at_once(places: psycopg.Connection) -> None:
    """Where each row of the closure was looked for in the whole tree, these took more than a minute."""
    with places.transaction(force_rollback=True):
        places.execute("SET LOCAL statement_timeout = '60s'")
        places.execute(
            "INSERT INTO regions SELECT 't' || n, '', CASE WHEN n > 0 THEN 't' || (n - 1) / 8 END"
            " FROM generate_series(0, 584) AS n"
        )
        places.execute(
            "INSERT INTO ports SELECT 'T' || n, '', 't' || 73 + n % 512 FROM generate_series(1, 10000) AS n"
        )
        counted = places.execute("SELECT count(*) FROM region_ports WHERE region_slug = 't0'")
        assert counted.fetchone() == (10_000,)
