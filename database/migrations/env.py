"""Alembic's entry: hands over to `database.migrate`."""

from database.migrate import run_online

run_online()
