"""Connections to PostgreSQL, from the environment alone: libpq's `PG*` variables or `DATABASE_URL`.

Credentials are taken each time a connection is made, never kept: a secret that rotates, or an IAM token
that expires after 15 minutes, then breaks no running process.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import psycopg.conninfo
import psycopg.errors
import psycopg_pool

from database.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing

CONNECT_TIMEOUT_S = 10
POOL_WAIT_S = 5.0
REQUIRED = ("PGHOST", "PGUSER", "PGDATABASE")


def connect(application_name: str, *, autocommit: bool = False) -> psycopg.Connection:
    """One connection.

    Raises ConfigurationError when the environment does not name a server, DatabaseUnavailable when that
    server does not let us in.
    """
    with translated_errors():
        return psycopg.connect(**connection_parameters(application_name), autocommit=autocommit)


def make_pool(application_name: str, *, size_max: int, size_min: int = 0) -> psycopg_pool.ConnectionPool:
    """A closed pool of at most `size_max` connections, checked when handed out; open it after a fork.

    Waiting for a free connection is bounded by POOL_WAIT_S, then `psycopg_pool.PoolTimeout` is raised.
    """
    connection_parameters(application_name)  # a bad environment is told now, not by the first request
    return psycopg_pool.ConnectionPool(
        kwargs=partial(connection_parameters, application_name),
        min_size=size_min,
        max_size=size_max,
        timeout=POOL_WAIT_S,
        check=psycopg_pool.ConnectionPool.check_connection,
        name=application_name,
        open=False,
    )


def connection_parameters(application_name: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What `psycopg.connect` needs now, with a fresh IAM token where `RATES_DB_AUTH=iam`.

    libpq reads `PG*` by itself. Raises ConfigurationError naming every missing variable at once.
    """
    auth = environ.get("RATES_DB_AUTH", "password")
    if auth not in ("password", "iam"):
        raise ConfigurationError(f"RATES_DB_AUTH is {auth!r}; allowed: password, iam")
    url = environ.get("DATABASE_URL", "")
    missing = [name for name in REQUIRED if not environ.get(name)]
    if missing and not url and "PGSERVICE" not in environ:
        raise ConfigurationError(f"no database is named: set {', '.join(missing)} (or DATABASE_URL)")
    try:
        parameters: dict[str, Any] = dict(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"DATABASE_URL is not a PostgreSQL address: {first_line(error)}") from error
    parameters.setdefault("application_name", application_name)
    if "PGCONNECT_TIMEOUT" not in environ:
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    if auth == "iam":
        parameters["password"] = iam_token(
            host=parameters.get("host") or environ.get("PGHOST", ""),
            port=int(parameters.get("port") or environ.get("PGPORT") or 5432),
            user=parameters.get("user") or environ.get("PGUSER", ""),
        )
        parameters.setdefault("sslmode", environ.get("PGSSLMODE", "verify-full"))
    return parameters


def iam_token(*, host: str, port: int, user: str) -> str:
    """A password good for 15 minutes, signed with the task's role; nothing is asked over the network."""
    import boto3  # noqa: PLC0415  # 0.3 s and 30 MB that only IAM needs

    return boto3.client("rds").generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)


@contextmanager
def translated_errors() -> Generator[None]:
    """The boundary where the driver's errors become this package's; decided by class, never by text."""
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise SchemaMissing(f"the schema is not there ({first_line(error)}): run `loader migrate`") from error
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed) as error:
        raise DatabaseUnavailable(f"the database could not be reached: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The driver's message without its hints and context."""
    return str(error).strip().partition("\n")[0]
