"""What the figures were measured on: this machine, and the versions of what ran."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil


def describe_machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count() or 1,
        "processor": processor(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
    }


def processor() -> str:
    """Its model where Linux tells it, else its kind."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def describe_versions(*packages: str, programs: Sequence[str] = ("pgloader",)) -> dict[str, str]:
    """Of Python, of what the loader is made of, of these packages, and of these programs where they are."""
    versions = {"python": platform.python_version()}
    versions |= {package: version(package) for package in ("psycopg", "polars", *packages)}
    for program in programs:
        if shutil.which(program):
            ended = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            versions[program] = ended.stdout.partition("\n")[0]
    return versions
