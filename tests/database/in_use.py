"""A database in use that is migrated: first to where it was once, and from there to where it is now."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

import database.migrate
from database.migrate import MIGRATIONS, migrate
from tests.postgres import Database


@contextmanager
def as_role(target: Database, role: str) -> Generator[pytest.MonkeyPatch]:
    """The test's own process is this role meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in target.environment(role).items():
            patch.setenv(name, value)
        yield patch


def migrate_to(target: Database, revision: str, folder: Path) -> None:
    """An empty one, to this revision; `folder` gets a copy of the migrations up to it."""
    before = folder / "migrations"
    later = [script.name for script in (MIGRATIONS / "versions").glob("*") if script.name[:4] > revision]
    shutil.copytree(MIGRATIONS, before, ignore=shutil.ignore_patterns("__pycache__", *later))
    with as_role(target, "postgres") as patch:
        patch.setattr(database.migrate, "MIGRATIONS", before)
        assert migrate() == (None, revision)


def migrate_on(target: Database, revision: str) -> None:
    """From this revision to the newest."""
    with as_role(target, "postgres"):
        assert migrate()[0] == revision
