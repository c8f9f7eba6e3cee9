"""The two roles have the rights that their work needs and no other; the server itself says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from local.postgres import PostgresServer
from tests.postgres import ROLES, Database, clone

READ = {"SELECT"}
WRITE_ONCE = {"SELECT", "INSERT", "DELETE"}
KEEP = {"SELECT", "INSERT", "UPDATE"}
ALL_ROWS = WRITE_ONCE | {"UPDATE"}
RIGHTS = {
    "rates_api": {
        "schema_version": READ,
        "regions": READ,
        "ports": READ,
        "region_ports": READ,
        "batches": READ,
        "chunks": READ,
        "batch_errors": READ,
        "fault_kinds": READ,
        "data_version": READ,
        "batch_events": READ,
        "lane_month_totals": READ,
        "lane_month_deltas": READ,
        "postings": READ,
        "lane_day_totals": READ,
        "lane_day_deltas": READ,
        "batch_status": READ,
        "callbacks": READ,
    },
    "rates_loader": {
        "schema_version": READ,
        "region_tree_ports": READ,
        "regions": KEEP,
        "ports": KEEP,
        "batches": KEEP,
        "data_version": {"SELECT", "UPDATE"},
        "region_ports": WRITE_ONCE,
        "chunks": ALL_ROWS,
        "batch_errors": WRITE_ONCE,
        "fault_kinds": WRITE_ONCE,
        "prices": WRITE_ONCE,
        "batch_events": KEEP,
        "lane_month_totals": ALL_ROWS,
        "lane_month_deltas": ALL_ROWS,
        "postings": ALL_ROWS,
        "discards": ALL_ROWS,
        "batch_status": READ,
        "plans": ALL_ROWS,
        "planned_chunks": ALL_ROWS,
        "callbacks": KEEP,
    },
}
VIEWS = {"lane_day_totals", "lane_day_deltas", "batch_status"}  # no trigger lets anyone write to them
TABLES = sorted((RIGHTS["rates_api"].keys() | {"prices", "discards", "plans", "planned_chunks"}) - VIEWS)
RIGHTS_HELD = """
    SELECT relname, privilege FROM pg_class, unnest(%s::text[]) AS privilege
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f') AND CASE
        WHEN privilege = ANY (%s::text[]) THEN has_any_column_privilege(%s, oid, privilege)
        ELSE has_table_privilege(%s, oid, privilege)
    END
"""
COLUMN_PRIVILEGES = ["SELECT", "INSERT", "UPDATE", "REFERENCES"]
PRIVILEGES = [*COLUMN_PRIVILEGES, "DELETE", "TRUNCATE", "TRIGGER", "MAINTAIN"]
FIRST_COLUMN = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1"
WRITES: list[LiteralString] = [
    "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE {table} SET {column} = DEFAULT WHERE false",
    "DELETE FROM {table} WHERE false",
    "TRUNCATE {table}",
    "ALTER TABLE {table} ADD COLUMN extra text",
    "DROP TABLE {table}",
]
OF_THE_OWNER: list[LiteralString] = [
    "CREATE TABLE extra (name text)",
    "CREATE SCHEMA extra",
    "CREATE FUNCTION extra() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE ROLE extra",
    "CREATE DATABASE extra",
    "DROP INDEX lane_month_deltas_lane",
    "ALTER TABLE ports DISABLE TRIGGER refresh_region_ports",
    "SET session_replication_role = replica",  # would skip the closure's triggers
    "CREATE OR REPLACE FUNCTION refresh_region_ports() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/passwd')",
]
NOT_FOR_THE_LOADER: list[LiteralString] = [
    "DELETE FROM batches",
    "DELETE FROM ports",
    "DELETE FROM regions",
    "TRUNCATE prices",
    "TRUNCATE batches CASCADE",
    "UPDATE prices SET price = 1",
    "UPDATE chunks SET error_count = 0",
    "UPDATE chunks SET content_hash = ''",
    "DELETE FROM batch_events",
    "INSERT INTO data_version (version) VALUES (1)",
    "DELETE FROM data_version",
    "UPDATE schema_version SET version_num = '0001'",
]


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    """One for all of these tests, since all that they try is refused."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_exactly_the_rights_of_its_work(database: Database, role: str) -> None:
    held: dict[str, set[str]] = {}
    for relation, privilege in database.rows(RIGHTS_HELD, PRIVILEGES, COLUMN_PRIVILEGES, role, role):
        held.setdefault(relation, set()).add(privilege)
    assert held == RIGHTS[role]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_an_ordinary_one_that_owns_nothing(database: Database, role: str) -> None:
    powers = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
    assert database.rows(f"SELECT {powers} FROM pg_roles WHERE rolname = %s", role) == [
        (False,) * 5 + (True,)
    ]
    assert database.rows("SELECT roleid FROM pg_auth_members WHERE member = %s::regrole", role) == []
    assert database.rows("SELECT relname FROM pg_class WHERE relowner = %s::regrole", role) == []


@pytest.mark.parametrize("table", TABLES)
def test_the_api_writes_to_no_table(database: Database, table: str) -> None:
    names = {"table": sql.Identifier(table)}
    names["column"] = sql.Identifier(database.rows(FIRST_COLUMN, table)[0][0])
    with database.connect("rates_api") as connection:
        for write in WRITES:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(sql.SQL(write).format(**names))


def test_the_api_reads_no_price(database: Database) -> None:
    with database.connect("rates_api") as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT FROM prices")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", OF_THE_OWNER)
def test_what_only_the_owner_may_is_refused(database: Database, role: str, statement: LiteralString) -> None:
    with database.connect(role) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("statement", NOT_FOR_THE_LOADER)
def test_the_loader_cannot_take_back_what_is_the_ledgers(
    database: Database, statement: LiteralString
) -> None:
    with database.connect("rates_loader") as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(statement)


def test_a_table_of_a_later_migration_is_closed_until_it_says_otherwise(database: Database) -> None:
    with database.connect() as owner:
        owner.execute("CREATE TABLE carriers (name text)")
    try:
        for role in ROLES:
            with database.connect(role) as connection, pytest.raises(InsufficientPrivilege):
                connection.execute("SELECT FROM carriers")
    finally:
        with database.connect() as owner:
            owner.execute("DROP TABLE carriers")
