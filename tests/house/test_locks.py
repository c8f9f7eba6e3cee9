"""The lock files: what pyproject.toml pins, with hashes, and no address to fetch it from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.house.files import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
PACKAGE = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[\w.]+)(?: ; .*)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,]+\])?==(?P<version>[\w.]+)(?: ; .*)?")
OWN_EXTRAS = re.compile(r"rates\[(?P<extras>[\w,]+)\]")


def read(lock: Path) -> dict[str, str]:
    """The versions of a lock file, each line of which is a package or a hash of the one above."""
    versions = {}
    for entry in lock.read_text().replace("\\\n", " ").splitlines():
        package, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        match = PACKAGE.fullmatch(package.strip())
        assert match, f"{lock.name}: {entry}"
        assert hashes, f"{lock.name}: {package} has no hash"
        assert all(HASH.fullmatch(one.strip()) for one in hashes), f"{lock.name}: {entry}"
        versions[match["name"]] = match["version"]
    return versions


def pins(extra: str) -> dict[str, str]:
    """What an extra asks for, itself and through the other extras it names."""
    found = {}
    for requirement in EXTRAS[extra]:
        if own := OWN_EXTRAS.fullmatch(requirement):
            for name in own["extras"].split(","):
                found |= pins(name)
            continue
        match = PIN.fullmatch(requirement)
        assert match, f"{extra}: {requirement} is not pinned to one version"
        found[re.sub(r"[._]", "-", match["name"].lower())] = match["version"]
    return found


def test_every_extra_that_is_installed_has_its_lock() -> None:
    assert {lock.stem for lock in LOCKS} == EXTRAS.keys() - {"database", "storage", "telemetry"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_versions_and_hashes_and_nothing_else(lock: Path) -> None:
    assert len(read(lock)) > 5


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_what_the_project_pins(lock: Path) -> None:
    """`make lock` after a change of pyproject.toml."""
    asked = pins(lock.stem)
    assert asked.items() <= read(lock).items(), asked.items() - read(lock).items()


def test_the_locks_agree_with_each_other() -> None:
    everything = read(ROOT / "requirements" / "dev.txt")
    for lock in LOCKS:
        assert read(lock).items() <= everything.items(), lock.name


def test_the_api_carries_swagger_uis_files_without_the_framework_they_are_packed_for() -> None:
    """`requirements/uv.toml` says so of one version."""
    told = tomllib.loads((ROOT / "requirements" / "uv.toml").read_text())["dependency-metadata"]
    assert {one["name"]: one["version"] for one in told}.items() <= pins("api").items()
    assert "flask" not in read(ROOT / "requirements" / "api.txt")


def test_the_build_uses_the_locked_setuptools() -> None:
    assert PROJECT["build-system"]["requires"] == [f"setuptools=={pins('local')['setuptools']}"]
