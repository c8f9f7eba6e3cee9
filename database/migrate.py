"""Brings a database to the newest schema: Alembic runs the numbered SQL files of `migrations/`, one
transaction each, under a lock so that many starting tasks do it once."""

from __future__ import annotations

from pathlib import Path

import alembic.command
import alembic.config
import alembic.script
import psycopg
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from database.connect import connect, translated_errors

MIGRATIONS = Path(__file__).with_name("migrations")
VERSION_TABLE = "schema_version"
# Any constant does, as long as every release keeps it.
LOCK_KEY = 7_283_371
# For what Alembic itself asks of the version table; each migration sets its own.
LOCK_TIMEOUT = "5s"


def migrate() -> tuple[str | None, str]:
    """Applies what is missing and returns (version before, version now).

    Raises DatabaseUnavailable, among others when a migration waits longer for a lock than it may.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with translated_errors(), connect("rates-migrate", autocommit=True) as locked:
        # However long: whoever has it is running migrations, which may not wait for ever themselves.
        locked.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        bound_waiting(locked)
        before = current_version(locked)
        try:
            alembic.command.upgrade(config, "head")
        except DBAPIError as error:  # of Alembic's own statements; ours come as they are
            raise error.orig or error from error
        now = current_version(locked)
    if now is None:
        raise AssertionError("alembic recorded no version")
    return before, now


def connect_for_alembic() -> psycopg.Connection:
    """A connection that waits for no lock longer than LOCK_TIMEOUT, where a migration says nothing else."""
    connection = connect("rates-migrate", autocommit=True)
    bound_waiting(connection)
    connection.autocommit = False
    return connection


def bound_waiting(connection: psycopg.Connection) -> None:
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])


def current_version(connection: psycopg.Connection) -> str | None:
    """The newest migration in this database; None where none has run."""
    if connection.execute("SELECT to_regclass(%s)", [VERSION_TABLE]).fetchone() == (None,):
        return None
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
    return row[0] if row else None


def run_online() -> None:
    """What `migrations/env.py` calls: Alembic's context on a connection of ours."""
    from alembic import context  # noqa: PLC0415  # a proxy that exists only while Alembic runs env.py

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=connect_for_alembic, poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            version_table=VERSION_TABLE,
            transaction_per_migration=True,
            target_metadata=None,
        )
        with context.begin_transaction():
            context.run_migrations()


def run_sql_beside(revision_file: str) -> None:
    """Runs the `.sql` file of the same name as a revision's `.py`, in the revision's transaction."""
    from alembic import op  # noqa: PLC0415  # likewise

    context: MigrationContext = op.get_context()
    if context.connection is None:
        raise AssertionError("migrations run on a live database only")
    driver = context.connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise AssertionError(f"expected psycopg, got {type(driver)}")
    # Straight to the driver: no parameters, so a file may hold many statements, colons and percent signs.
    driver.execute(Path(revision_file).with_suffix(".sql").read_bytes())
