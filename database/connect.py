"""Connections to PostgreSQL, from the environment alone: libpq's `PG*` variables or `DATABASE_URL`.

Credentials are taken each time a connection is made, never kept: a secret that rotates, or an IAM token
that expires after 15 minutes, then breaks no running process.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Self

import psycopg
import psycopg.conninfo
import psycopg.errors
import psycopg_pool

from database.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing, StatementTooSlow

CONNECT_TIMEOUT_S = 10
POOL_WAIT_S = 5.0
# A server that vanishes in a failover refuses nothing. Linux would go on waiting for 15 minutes and more.
# One whose disk stalls reads no more of a chunk meanwhile, and looks the same to whoever sends it.
SILENCE_S = 10
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
REQUIRED = ("PGHOST", "PGUSER", "PGDATABASE")
AUTHS = ("password", "iam")


class PoolConnection(psycopg.Connection):
    """A pool goes on trying as long as somebody waits, and does not say how it goes: this does."""

    attempts_failed: ClassVar[int] = 0

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        try:
            return super().connect(conninfo, **parameters)
        except psycopg.Error:
            PoolConnection.attempts_failed += 1
            raise


def connect(
    application_name: str,
    *,
    autocommit: bool = False,
    settings: Mapping[str, str] = NO_SETTINGS,
    silence_s: int = SILENCE_S,
) -> psycopg.Connection:
    """One connection; `settings` are the server's, and hold for it. It breaks once the server has not taken
    what was sent for `silence_s`; where nothing is sent, half as long later. Nothing is prepared on it: a
    statement would fail from the migration on that gives a column another type, for as long as it lasts.

    Raises ConfigurationError when the environment does not name a server, DatabaseUnavailable when that
    server does not let us in.
    """
    with translated_errors():
        parameters = connection_parameters(application_name, settings=settings, silence_s=silence_s)
        return psycopg.connect(**parameters, autocommit=autocommit, prepare_threshold=None)


def make_pool(
    application_name: str,
    *,
    size_max: int,
    wait_s: float = POOL_WAIT_S,
    settings: Mapping[str, str] = NO_SETTINGS,
    silence_s: int = SILENCE_S,
) -> psycopg_pool.ConnectionPool:
    """A closed pool of at most `size_max` connections in autocommit; open it after a fork.

    `settings` and `silence_s` hold for each of the connections, as for `connect`. None is checked when it is
    handed out, which would be a round trip for each question: who meets a broken one asks again, after
    `pool.drain()`.

    Waiting for a free connection is bounded by `wait_s`, then `psycopg_pool.PoolTimeout` is raised.
    """
    connection_parameters(application_name)  # a bad environment is told now, not by the first request

    def parameters() -> dict[str, Any]:
        own = connection_parameters(application_name, settings=settings, silence_s=silence_s)
        return {**own, "autocommit": True}

    return psycopg_pool.ConnectionPool(
        kwargs=parameters,
        connection_class=PoolConnection,
        min_size=0,  # so that a database may pause while nobody asks
        max_size=size_max,
        timeout=wait_s,
        # Attempts go on as long as somebody waits for one. The pool's own 5 minutes let the pauses between
        # them double all the while, and a database that is back would not be noticed for minutes.
        reconnect_timeout=wait_s,
        name=application_name,
        open=False,
    )


def connection_parameters(
    application_name: str,
    environ: Mapping[str, str] = os.environ,
    settings: Mapping[str, str] = NO_SETTINGS,
    silence_s: int = SILENCE_S,
) -> dict[str, Any]:
    """What `psycopg.connect` needs now, with a fresh IAM token where `RATES_DB_AUTH=iam`.

    libpq reads `PG*` by itself. Raises ConfigurationError naming all that is missing or wrong at once, and
    DatabaseUnavailable where the credentials for a token cannot be had.
    """
    url = environ.get("DATABASE_URL", "")
    auth = environ.get("RATES_DB_AUTH") or "password"
    port = environ.get("PGPORT") or "5432"
    faults = [] if auth in AUTHS else [f"RATES_DB_AUTH is {auth!r}: {' or '.join(AUTHS)} is allowed"]
    if not port.isdecimal():
        faults.append(f"PGPORT is {port!r}: a number is expected")
    missing = [name for name in REQUIRED if not environ.get(name)]
    if missing and not url and "PGSERVICE" not in environ:
        faults.append(f"no database is named: set {', '.join(missing)} (or DATABASE_URL)")
    if faults:
        raise ConfigurationError("; ".join(faults))
    try:
        parameters: dict[str, Any] = dict(psycopg.conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(f"DATABASE_URL is not a PostgreSQL address: {first_line(error)}") from error
    parameters.setdefault("application_name", application_name)
    if environ.get("PGHOST") and "PGSERVICE" not in environ and "service" not in parameters:
        # libpq would find it by itself, but psycopg names the host in its errors only where it was given it.
        parameters.setdefault("host", environ["PGHOST"])
    if "PGCONNECT_TIMEOUT" not in environ:
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    for name, value in noticing(silence_s).items():
        parameters.setdefault(name, value)
    if settings:
        given = parameters.get("options") or environ.get("PGOPTIONS", "")
        parameters["options"] = " ".join([given, *(f"-c {name}={value}" for name, value in settings.items())])
    if auth == "iam":
        parameters["password"] = iam_token(
            host=parameters.get("host") or environ.get("PGHOST", ""),
            port=int(parameters.get("port") or port),
            user=parameters.get("user") or environ.get("PGUSER", ""),
        )
        parameters.setdefault("sslmode", environ.get("PGSSLMODE", "verify-full"))
    return parameters


def noticing(silence_s: int) -> dict[str, int]:
    """libpq's parameters: of what was sent and not taken, and of a connection over which nothing is sent."""
    return {
        "tcp_user_timeout": silence_s * 1000,  # milliseconds
        "keepalives_idle": silence_s,
        "keepalives_interval": max(1, silence_s // 2),
        "keepalives_count": 3,
    }


def iam_token(*, host: str, port: int, user: str) -> str:
    """A password good for 15 minutes, signed with the task's role; the server is not asked for it."""
    import boto3  # noqa: PLC0415  # 0.3 s and 30 MB that only IAM needs
    from botocore.exceptions import BotoCoreError, NoRegionError  # noqa: PLC0415  # likewise

    try:
        return boto3.client("rds").generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
    except NoRegionError as error:
        raise ConfigurationError("RATES_DB_AUTH is iam, which needs AWS_DEFAULT_REGION") from error
    except BotoCoreError as error:
        raise DatabaseUnavailable(f"no IAM token could be made: {first_line(error)}") from error


@contextmanager
def translated_errors() -> Generator[None]:
    """The boundary where the driver's errors become this package's; decided by class, never by text."""
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise SchemaMissing(f"the schema is not there ({first_line(error)}): run `loader migrate`") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(f"the database role lacks a right: {first_line(error)}") from error
    except psycopg.errors.ReadOnlySqlTransaction as error:  # a standby, as during a failover
        raise DatabaseUnavailable(f"the database only reads at the moment: {first_line(error)}") from error
    except psycopg.errors.QueryCanceled as error:
        raise StatementTooSlow(f"the database took too long: {first_line(error)}") from error
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable(f"the database is busy: {first_line(error)}") from error
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed) as error:
        raise DatabaseUnavailable(f"the database could not be reached: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The driver's message without its hints and context."""
    return str(error).strip().partition("\n")[0]
