"""What the figures were measured on: this machine, and the versions of what ran."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
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


def describe_versions() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "psycopg": version("psycopg"),
        "polars": version("polars"),
    }
    if shutil.which("pgloader"):
        said = subprocess.run(["pgloader", "--version"], capture_output=True, text=True, check=False).stdout
        versions["pgloader"] = said.partition("\n")[0]
    return versions
