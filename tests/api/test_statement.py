"""How PostgreSQL reads the answer: by index from totals, however much is in the tables, and never a price."""

from __future__ import annotations

from datetime import date

import psycopg
import pytest

from api.store import CONNECTION_SETTINGS
from database.queries import query
from tests.postgres import Database

EXPLAIN = b"EXPLAIN (ANALYZE, FORMAT JSON) "
MANY = """
    INSERT INTO regions
    SELECT 'r' || n, '', CASE WHEN n > 0 THEN 'r' || (n - 1) / 3 END FROM generate_series(0, 39) AS n;
    INSERT INTO ports SELECT 'P' || n, '', 'r' || n % 40 FROM generate_series(0, 199) AS n;
    INSERT INTO lane_month_totals (orig_code, dest_code, month, days, price_sums, price_counts)
    SELECT 'P' || o, 'P' || d, date '2018-01-01' + n * interval '1 month', '{1,15}', '{300,300}', '{3,3}'
    FROM generate_series(0, 199) AS o, generate_series(0, 199, 20) AS d, generate_series(0, 59) AS n;
    INSERT INTO lane_month_deltas
    SELECT 1 + substr(orig_code, 2)::int % 50, 0, month, orig_code, dest_code, days, price_sums, price_counts
    FROM lane_month_totals;
    INSERT INTO postings SELECT n FROM generate_series(1, 50) AS n WHERE n % 10 > 0;
    INSERT INTO prices SELECT 1, 0, '2021-01-01', n, 'P0', 'P20' FROM generate_series(1, 1000) AS n;
"""


@pytest.fixture(scope="module")
def large(filled: Database) -> Database:
    """120,000 totals of each kind, over 2,000 lanes and five years."""
    with filled.connect() as connection:
        connection.execute(MANY.encode())
        connection.execute("ANALYZE")
    return filled


def connect_as_the_api(database: Database) -> psycopg.Connection:
    connection = database.connect("rates_api")
    for setting in CONNECTION_SETTINGS.items():
        connection.execute("SELECT set_config(%s, %s, false)", setting)
    return connection


def plan(database: Database, orig_code: str, dest_code: str, *, as_regions: bool = False) -> list[dict]:
    """Every node of the plan that PostgreSQL ran, as the API's role."""
    ports = orig_code.isupper() and dest_code.isupper()
    statement = query("api", "lane_totals" if ports else "region_totals")
    with connect_as_the_api(database) as connection, psycopg.RawCursor(connection) as cursor:
        question = [
            orig_code,
            dest_code,
            date(2021, 1, 1),
            date(2021, 1, 31),
            *([] if ports else [as_regions]),
        ]
        (row,) = cursor.execute(EXPLAIN + statement, question).fetchall()
    nodes, found = [row[0][0]["Plan"]], []
    while nodes:
        node = nodes.pop()
        found.append(node)
        nodes += node.get("Plans", [])
    return found


@pytest.mark.parametrize("as_regions", [False, True])
@pytest.mark.parametrize(
    ("orig_code", "dest_code"), [("P0", "P20"), ("P1", "P999"), ("r5", "P40"), ("r30", "r20")]
)
def test_totals_are_found_by_index(large: Database, orig_code: str, dest_code: str, as_regions: bool) -> None:
    nodes = plan(large, orig_code, dest_code, as_regions=as_regions)
    scans = {(node["Relation Name"], node["Node Type"]) for node in nodes if "Relation Name" in node}
    read = {relation for relation, _ in scans}
    assert {"lane_month_totals", "lane_month_deltas"} <= read
    assert "prices" not in read
    whole = {relation for relation, kind in scans if kind == "Seq Scan"}
    assert not whole & {"lane_month_totals", "lane_month_deltas", "region_ports"}


@pytest.mark.parametrize(("orig_code", "dest_code"), [("CNSGH", "DEHAM"), ("asia", "europe")])
def test_a_plan_that_is_made_while_there_is_nothing_reads_by_index_too(
    database: Database, orig_code: str, dest_code: str
) -> None:
    """A server keeps a prepared statement's plan, and a load may fill the deltas before it makes another."""
    with database.connect() as connection:
        connection.execute("VACUUM ANALYZE")
    nodes = plan(database, orig_code, dest_code)
    scans = {
        (node["Relation Name"], node["Node Type"], node.get("Index Name"))
        for node in nodes
        if node.get("Relation Name", "").startswith("lane_month")
    }
    assert scans == {
        ("lane_month_totals", "Index Scan", "lane_month_totals_pkey"),
        ("lane_month_deltas", "Index Scan", "lane_month_deltas_lane"),
    }
    for node in nodes:
        if node.get("Index Name", "").startswith("lane_month"):
            assert all(f"{column} =" in node["Index Cond"] for column in ("orig_code", "dest_code")), node


def test_one_lane_touches_a_handful_of_pages(large: Database) -> None:
    """Of the thousands that the tables have: what an answer costs does not grow with them."""
    (pages,) = large.rows("SELECT sum(relpages)::int FROM pg_class WHERE relname LIKE 'lane_month_%'")[0]
    root = plan(large, "P0", "P20")[0]
    touched = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    assert pages > 1_000
    assert touched < 100
