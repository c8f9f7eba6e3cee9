"""Alembic's entry: hands its context to `database.migrate`."""

from alembic import context

from database.migrate import run_online

run_online(context.config)
