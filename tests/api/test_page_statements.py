"""How PostgreSQL reads a page of places or lanes: what the page takes, by index, however much there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from api.store import CONNECTION_SETTINGS
from database.queries import query
from tests.postgres import Database

MANY = """
    INSERT INTO regions
    SELECT 'r' || n, '', CASE WHEN n > 0 THEN 'r' || (n - 1) / 3 END FROM generate_series(0, 39) AS n;
    INSERT INTO ports SELECT 'P' || n, 'Port ' || n, 'r' || n % 40 FROM generate_series(1000, 2999) AS n;
    INSERT INTO lane_month_totals (orig_code, dest_code, month, days, price_sums, price_counts)
    SELECT 'P' || o, 'P' || d, date '2016-01-01' + n * interval '1 month', '{1,15}', '{300,300}', '{3,3}'
    FROM generate_series(1000, 1039) AS o, generate_series(1000, 1049) AS d, generate_series(0, 23) AS n;
    INSERT INTO lane_month_deltas
    SELECT 1 + substr(orig_code, 2)::int % 50, 0, month, orig_code, dest_code, days, price_sums, price_counts
    FROM lane_month_totals WHERE month < '2017-01-01';
    -- What a batch that is still loading has written.
    INSERT INTO lane_month_deltas
    SELECT 99, chunk, month, orig_code, dest_code, '{1}', '{9}', '{9}'
    FROM lane_month_totals, generate_series(1, 20) AS chunk WHERE orig_code = 'P1009';
    INSERT INTO postings SELECT n FROM generate_series(1, 50) AS n WHERE n % 10 > 0;
    INSERT INTO prices SELECT 1, 0, '2021-01-01', n, 'P1000', 'P1001' FROM generate_series(1, 1000) AS n;
"""
NOTHING = {"words": [], "after": "", "limit": 101, "region": None, "parent": None}
NOWHERE = {"dest_code": None, "after_orig": None, "after_dest": None, "lanes_max": 21, "steps_max": 10_000}
# Of each question: how many pages it may touch, where reading all there is takes tens of thousands.
QUESTIONS = {
    "ports": (NOTHING, 1_000),
    "ports behind one": ({**NOTHING, "after": "P2000"}, 1_000),
    "ports below a region": ({**NOTHING, "region": "r1"}, 2_000),
    "ports found at once": ({**NOTHING, "words": ["port", "p"]}, 1_000),
    "regions": (NOTHING, 10_000),  # the ports below each are counted
    "lanes of a port": ({**NOWHERE, "orig_code": "P1007"}, 1_500),
    "lanes of a port that a batch is loading": ({**NOWHERE, "orig_code": "P1009"}, 800),
    "lanes of a region": (
        {**NOWHERE, "orig_code": "r0", "after_orig": "P1009", "after_dest": "P1040"},
        3_000,
    ),
    "lanes to a port": ({**NOWHERE, "orig_code": "P1007", "dest_code": "P1030"}, 300),
    "lanes to a region": ({**NOWHERE, "orig_code": "P1007", "dest_code": "r13"}, 1_000),
}


@pytest.fixture(scope="module")
def kept(filled: Database) -> Iterator[psycopg.Connection]:
    """A connection of the API with plans that were made before the tables were filled."""
    with filled.connect("rates_api") as connection:
        for setting in {**CONNECTION_SETTINGS, "plan_cache_mode": "force_generic_plan"}.items():
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        for name, (question, _) in QUESTIONS.items():
            statement, values = numbered(name.split()[0], question)
            connection.execute(f'PREPARE "{name}" AS '.encode() + statement)
            connection.execute(executed(connection, name, values))
        with filled.connect() as owner:
            owner.execute(MANY.encode())
        yield connection


def numbered(name: str, question: dict[str, Any]) -> tuple[bytes, list[Any]]:
    """A statement with the server's own placeholders, and their values."""
    names: list[str] = []

    def place(match: re.Match[bytes]) -> bytes:
        key = match[1].decode()
        if key not in names:
            names.append(key)
        return b"$%d" % (names.index(key) + 1)

    statement = re.sub(rb"%\((\w+)\)s", place, query("api", name)).replace(b"%%", b"%")
    return statement, [question[key] for key in names]


def executed(connection: psycopg.Connection, name: str, values: list[Any]) -> bytes:
    literals = [sql.Literal(value).as_bytes(connection) for value in values]
    return f'EXECUTE "{name}" ('.encode() + b", ".join(literals) + b")"


def nodes_of(plan: dict) -> list[dict]:
    return [plan, *(node for below in plan.get("Plans", []) for node in nodes_of(below))]


def assert_reads_little(plan: dict, pages_max: int) -> None:
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < pages_max
    nodes = nodes_of(plan)
    read = {node["Relation Name"] for node in nodes if "Relation Name" in node}
    assert "prices" not in read
    assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} <= {"data_version"}
    for node in nodes:
        if node.get("Relation Name", "").startswith("lane_month"):
            assert "(orig_code = " in node["Index Cond"], node
            assert "(dest_code " in node["Index Cond"] or node["Alias"] == "last", node


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_reads_little_by_a_plan_that_was_made_while_there_was_nothing(
    kept: psycopg.Connection, name: str
) -> None:
    question, pages_max = QUESTIONS[name]
    _, values = numbered(name.split(maxsplit=1)[0], question)
    explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + executed(kept, name, values)
    (row,) = kept.execute(explain).fetchall()
    assert_reads_little(row[0][0]["Plan"], pages_max)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_reads_little_by_a_plan_that_is_made_for_it(
    kept: psycopg.Connection, filled: Database, name: str
) -> None:
    question, pages_max = QUESTIONS[name]
    with filled.connect() as owner:
        owner.execute("ANALYZE")
    with filled.connect("rates_api") as connection:
        for setting in CONNECTION_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        explain = b"EXPLAIN (ANALYZE, FORMAT JSON) " + query("api", name.split(maxsplit=1)[0])
        (row,) = connection.execute(explain, question).fetchall()
    assert_reads_little(row[0][0]["Plan"], pages_max)
