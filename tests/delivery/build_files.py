"""The build files as CodeBuild reads them, and their commands as it runs them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.house.files import our_files

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("check", "images", "deploy")


def build_file(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "delivery" / f"{name}.yml").read_text())


def commands(name: str, phase: str) -> list[str]:
    return build_file(name)["phases"][phase]["commands"]


def run_commands(
    all_of_them: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """In one shell, as version 0.2 does, and no further than the first that fails."""
    script = "\n".join(f"{{ {command}\n}} || exit" for command in all_of_them)
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def copy_of_the_repository(folder: Path) -> Path:
    """As the pipeline's artifact: the files alone, without what they may do and whose they are."""
    for path in our_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return folder
