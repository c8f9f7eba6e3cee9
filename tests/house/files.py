"""The project's own files, as the house checks read them: no environment, no state, nothing of a tool's."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "access",
    "api",
    "benchmarks",
    "database",
    "delivery",
    "infra",
    "loader",
    "local",
    "stacks",
    "storage",
    "telemetry",
)
NOT_OURS = {"__pycache__", "node_modules"}
# Folders of tools and of state start with a dot; of those only this one is written by hand.
DOT_FOLDERS = {".ci"}


def our_files(folder: Path = ROOT, pattern: str = "*") -> list[Path]:
    """Every file below `folder` that somebody wrote, sorted."""
    return sorted(path for path in walk(folder) if path.match(pattern))


def walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.name in DOT_FOLDERS or not (
            path.name.startswith(".") or path.name in NOT_OURS or path.suffix == ".egg-info"
        ):
            yield from walk(path)


def modules(*folders: str) -> dict[Path, ast.Module]:
    """The parsed modules of some packages, of all of them and the tests by default; by path from the root."""
    names = folders or (*PACKAGES, "tests")
    paths = [path for name in names if (ROOT / name).is_dir() for path in our_files(ROOT / name, "*.py")]
    return {path.relative_to(ROOT): parsed(path) for path in paths}


@cache
def parsed(path: Path) -> ast.Module:
    """Once for all who look at a module: that takes longer than looking."""
    return ast.parse(path.read_text())


@cache
def strings_of(package: str) -> frozenset[str]:
    """Every string that stands in a package's modules, also of bytes."""
    return frozenset(
        node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        for tree in modules(package).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )
