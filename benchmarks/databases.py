"""The server that everything is measured on, and a fresh database for each thing that is timed.

One server for all, with settings as durable as in production; `local.postgres` runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import BenchmarkError
from benchmarks.process import run_process
from local.environment import API_ROLE, LOADER_ROLE
from local.postgres import SUPERUSER, PostgresServer, free_port
from local.sample import PORTS, REGIONS
from local.state import new_secret

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "replica",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    # So that no checkpoint falls into what is timed; each is preceded by one instead.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    # WAL is written into files that are there, as on a server that has run for a while.
    "min_wal_size": "4GB",
}
ORIGINAL_SCHEMA = Path(__file__).with_name("original_schema.sql")
# The templates.
BARE, ORIGINAL, OURS = "bench_bare", "bench_original", "bench_ours"
NUMBERS = count(1)
MIGRATE_TIMEOUT_S = 60


@dataclass(frozen=True)
class Database:
    server: PostgresServer
    name: str

    def connect(self, role: str = SUPERUSER) -> psycopg.Connection:
        """One connection, each statement a transaction of its own."""
        environment = self.environment(role)
        return psycopg.connect(
            host=environment["PGHOST"],
            port=environment["PGPORT"],
            user=role,
            password=environment["PGPASSWORD"],
            dbname=self.name,
            autocommit=True,
        )

    def environment(self, role: str = SUPERUSER) -> dict[str, str]:
        """libpq's variables. On this server all roles have one password."""
        return self.server.environment(user=role, database=self.name)


@contextmanager
def scratch_server(folder: Path) -> Generator[PostgresServer]:
    """The server, running below `folder`, with the three templates."""
    with PostgresServer(folder / "postgres", free_port(), new_secret(), settings=SETTINGS) as server:
        make_bare(server)
        make_original(server)
        make_ours(server)
        yield server


@contextmanager
def fresh_database(server: PostgresServer, template: str) -> Generator[Database]:
    """A database like the template that goes afterwards."""
    database = Database(server, f"bench_{next(NUMBERS)}")
    create(server, database.name, template)
    try:
        yield database
    finally:
        with server.connect() as connection:
            name = sql.Identifier(database.name)
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def create(server: PostgresServer, name: str, template: str = "template0") -> None:
    names = sql.Identifier(name), sql.Identifier(template)
    with server.connect() as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*names)
        connection.execute(statement)


def make_bare(server: PostgresServer) -> None:
    create(server, BARE)
    with server.connect(BARE) as connection:
        connection.execute("CREATE TABLE prices (orig_code text, dest_code text, day date, price integer)")


def make_original(server: PostgresServer) -> None:
    create(server, ORIGINAL)
    with server.connect(ORIGINAL) as connection:
        connection.execute(ORIGINAL_SCHEMA.read_bytes())
        insert_ports(connection)


def make_ours(server: PostgresServer) -> None:
    """Migrated by the loader's own command; its two roles may log in."""
    create(server, OURS)
    migrated = run_process(
        [sys.executable, "-m", "loader", "migrate"],
        environment=Database(server, OURS).environment(),
        timeout_s=MIGRATE_TIMEOUT_S,
    )
    if migrated.exit_status != 0:
        raise BenchmarkError(f"loader migrate ended with {migrated.exit_status}: {migrated.stderr.strip()}")
    with server.connect(OURS) as connection:
        for role in (API_ROLE, LOADER_ROLE):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), server.password)
            connection.execute(statement)
        insert_ports(connection)


def insert_ports(connection: psycopg.Connection) -> None:
    """The sample's, with their regions."""
    with connection.transaction(), connection.cursor() as cursor:
        regions = [(region.slug, region.name, region.parent_slug) for region in REGIONS]
        cursor.executemany("INSERT INTO regions (slug, name, parent_slug) VALUES (%s, %s, %s)", regions)
        cursor.executemany("INSERT INTO ports (code, name, parent_slug) VALUES (%s, %s, %s)", PORTS)


def checkpoint(server: PostgresServer) -> None:
    with server.connect() as connection:
        connection.execute("CHECKPOINT")


def wal_position(server: PostgresServer) -> int:
    """How many bytes of write-ahead log the server has written in its life."""
    with server.connect() as connection:
        (position,) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchall()[0]
    return int(position)


def describe(server: PostgresServer) -> dict[str, str]:
    """The server's version, and the settings that matter as it has them."""
    with server.connect() as connection:
        return {
            name: connection.execute("SELECT current_setting(%s)", [name]).fetchall()[0][0]
            for name in ("server_version", *SETTINGS)
        }
