"""The databases that tests use: a clone of a migrated template for each, and how to reach it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from database.migrate import migrate
from local.postgres import PostgresServer

PASSWORD = "test"
ROLES = ("rates_api", "rates_loader")
TEMPLATE = "rates_template"
NUMBERS = count(1)


@dataclass(frozen=True)
class Database:
    """A database of one test's own (or one module's), migrated and empty."""

    server: PostgresServer
    name: str
    # Of `rows`, from its first question on; another one where the server was stopped meanwhile.
    _kept: list[psycopg.Connection] = field(default_factory=list, init=False, compare=False, repr=False)

    def environment(self, role: str = "postgres") -> dict[str, str]:
        """libpq's variables for a role: the owner, rates_api or rates_loader."""
        return self.server.environment(user=role, database=self.name)

    def connect(self, role: str = "postgres") -> psycopg.Connection:
        return connect_to(self.environment(role))

    def rows(self, query: str, *parameters: object) -> list[tuple]:
        """What a query answers the owner, over one connection: to connect for each takes 5 ms of a processor,
        and tests ask again and again until something is so."""
        try:
            return self._connection().execute(query.encode(), parameters or None).fetchall()
        except psycopg.OperationalError:
            if not self._kept or not self._kept[0].broken:
                raise
            return self._connection().execute(query.encode(), parameters or None).fetchall()

    def _connection(self) -> psycopg.Connection:
        if not self._kept or self._kept[0].closed:
            self._kept[:] = [self.connect()]
            weakref.finalize(self, self._kept[0].close)
        return self._kept[0]

    def drop(self) -> None:
        """Drops it, also where sessions are still connected."""
        with connect_to(self.server.environment()) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))


def connect_to(environment: Mapping[str, str]) -> psycopg.Connection:
    """A connection, each statement a transaction of its own, to what libpq's variables name."""
    conninfo = make_conninfo(
        host=environment["PGHOST"],
        port=environment["PGPORT"],
        user=environment["PGUSER"],
        password=environment["PGPASSWORD"],
        dbname=environment["PGDATABASE"],
    )
    return psycopg.connect(conninfo, autocommit=True)


def make_template(server: PostgresServer) -> str:
    """The name of a migrated, empty database that nobody is connected to; its roles have PASSWORD."""
    with connect_to(server.environment()) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment(database=TEMPLATE).items():
                patch.setenv(name, value)
            migrate()
    for role in ROLES:
        set_password(server, role)
    return TEMPLATE


def set_password(server: PostgresServer, role: str) -> None:
    """Gives a role PASSWORD, hashed as the server's settings say."""
    with connect_to(server.environment()) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), PASSWORD))


def clone(server: PostgresServer, template: str = TEMPLATE) -> Database:
    """A new database like the template, or an empty one where that is `template0`."""
    database = Database(server, f"rates_test_{next(NUMBERS)}")
    names = sql.Identifier(database.name), sql.Identifier(template)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(*names)
    with connect_to(server.environment()) as connection:
        connection.execute(statement)
    return database
