"""PostgreSQL 15, the oldest supported here, takes the migrations, a load and the queries of the API."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.pages import read_page
from api.store import CONNECTION_SETTINGS, Store
from api.totals import read_totals
from database.connect import make_pool
from database.queries import query
from loader.compact import fold_all
from loader.load import Options, load
from loader.places import Places, Port, Region
from loader.sources import Files
from local.postgres import PostgresServer
from tests.postgres import PASSWORD, ROLES, Database

pytestmark = pytest.mark.needs("postgresql-15")
EXPLAIN = b"EXPLAIN (ANALYZE, FORMAT JSON) "
PLACES = Places(
    [Region("world", "World", None), Region("china", "China", "world"), Region("europe", "Europe", "world")],
    [
        Port("CNSGH", "Shanghai", "china"),
        Port("CNNGB", "Ningbo", "china"),
        Port("DEHAM", "Hamburg", "europe"),
    ],
)
PRICES = """orig_code,dest_code,day,price
CNSGH,DEHAM,2021-01-01,100
CNSGH,DEHAM,2021-01-01,300
CNNGB,DEHAM,2021-01-01,500
DEHAM,CNSGH,2021-01-01,1
"""


@pytest.fixture(scope="module")
def old_databases(old_server: PostgresServer) -> list[Database]:
    """Two that were migrated at the same moment, on a server that had no roles."""
    databases = [Database(old_server, name) for name in ("first", "second")]
    with old_server.connect() as connection:
        for database in databases:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database.name)))
    processes = [
        subprocess.Popen([sys.executable, "-m", "loader", "migrate"], env=os.environ | database.environment())
        for database in databases
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    with old_server.connect() as connection:
        for role in ROLES:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), PASSWORD))
    return databases


def test_two_databases_of_a_new_server_are_migrated_at_once(old_databases: list[Database]) -> None:
    versions = {database.rows("SELECT version_num FROM schema_version")[0] for database in old_databases}
    assert len(versions) == 1


def test_a_load_is_answered_before_and_after_it_is_folded(
    old_databases: list[Database], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database = old_databases[0]
    (tmp_path / "prices.csv").write_text(PRICES)
    for name, value in database.environment("rates_loader").items():
        monkeypatch.setenv(name, value)

    result = load(Files([tmp_path / "prices.csv"]), Options(chunk_rows=2), places=PLACES)
    assert (result.state, result.rows) == ("published", 4)
    before = totals(database, monkeypatch)
    with database.connect("rates_loader") as connection:
        assert fold_all(connection) == 3
    assert before == totals(database, monkeypatch) == [(date(2021, 1, 1), 900, 3)]


def test_places_and_lanes_are_found(old_databases: list[Database], monkeypatch: pytest.MonkeyPatch) -> None:
    database = old_databases[1]
    with database.connect() as owner:
        owner.execute("INSERT INTO regions VALUES ('world', 'World', NULL), ('china', 'China', 'world')")
        owner.execute(
            "INSERT INTO ports VALUES ('CNSGH', 'Shànghǎi', 'china'), ('DEHAM', 'Hamburg', 'world')"
        )
        owner.execute(
            "INSERT INTO lane_month_totals VALUES ('2021-01-01', 'CNSGH', 'DEHAM', '{1}', '{900}', '{3}')"
        )
    for name, value in database.environment("rates_api").items():
        monkeypatch.setenv(name, value)
    search = {"words": ["SHANG"], "region": "world", "after": "", "limit": 2}
    lanes = {"orig_code": "china", "dest_code": "world", "after_orig": None, "after_dest": None}
    with make_pool("rates-test", size_max=1) as pool:
        store = Store(pool)  # one, since each keeps its connection for a while
        _, ports = read_page(store, "ports", search)
        _, regions = read_page(store, "regions", {**search, "words": [], "parent": "world"})
        _, found = read_page(store, "lanes", {**lanes, "lanes_max": 2, "steps_max": 9})
    assert ports == [(True, "CNSGH", "Shànghǎi", "china", ["china", "world"])]
    assert regions == [(True, "china", "China", "world", 1)]
    assert found == [(True, True, None, None, "CNSGH", "DEHAM", "2021-01", "2021-01", 1, 3)]


@pytest.mark.parametrize("statement", ["lane_totals", "region_totals"])
def test_no_question_is_compiled_before_it_is_answered(old_databases: list[Database], statement: str) -> None:
    """Up to 17, PostgreSQL calls a plan that reads a whole table against `enable_seqscan` so dear that it
    would compile it, for each question anew: half a second."""
    question = ["CNSGH", "DEHAM", date(2021, 1, 1), date(2021, 1, 31)]
    with old_databases[0].connect("rates_api") as connection, psycopg.RawCursor(connection) as cursor:
        for setting in CONNECTION_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        more = [False] if statement == "region_totals" else []
        (row,) = cursor.execute(EXPLAIN + query("api", statement), question + more).fetchall()
    assert row[0][0]["Plan"]["Total Cost"] > 100_000  # or it would not have been compiled anyway
    assert "JIT" not in row[0][0]


def totals(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[tuple[date, int, int]]:
    """What the API would say of China to Europe, asked as its role."""
    monkeypatch.setenv("PGUSER", "rates_api")
    with make_pool("rates-test", size_max=1) as pool:
        span = date(2020, 12, 31), date(2021, 1, 2)
        return Store(pool).read(read_totals, "china", "europe", *span).days(span[1])
