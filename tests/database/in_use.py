"""A database in use that is migrated: first to where it was once, and from there to where it is now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import database.migrate
from database.migrate import MIGRATIONS, migrate
from tests.postgres import Database


def migrate_to(target: Database, revision: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one, to this revision; `folder` gets a copy of the migrations up to it."""
    before = folder / "migrations"
    later = [script.name for script in (MIGRATIONS / "versions").glob("*") if script.name[:4] > revision]
    shutil.copytree(MIGRATIONS, before, ignore=shutil.ignore_patterns("__pycache__", *later))
    with monkeypatch.context() as patch:
        patch.setattr(database.migrate, "MIGRATIONS", before)
        for name, value in target.environment().items():
            patch.setenv(name, value)
        assert migrate() == (None, revision)


def migrate_on(target: Database, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From this revision to the newest; the test's own process is the loader then."""
    with monkeypatch.context() as patch:
        for name, value in target.environment().items():
            patch.setenv(name, value)
        assert migrate()[0] == revision
    for name, value in target.environment("rates_loader").items():
        monkeypatch.setenv(name, value)
