"""A run of pytest over one file of tests, under this project's rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("-p", "tests.run.failures", "-p", "tests.run.needs", "-p", "no:cacheprovider")
# What a run of these tests itself may have been told.
NOT_PASSED_ON = ("RATES_TESTS_COMPLETE", "RATES_TESTS_ABSENT", "REFERENCE_DUMP")


def run_pytest(folder: Path, tests: str, *options: str, **variables: str) -> tuple[int, str]:
    """Exit status and output."""
    file = folder / "test_sample.py"
    file.write_text(tests)
    command = [sys.executable, "-m", "pytest", f"--config-file={ROOT / 'pyproject.toml'}"]
    command += [f"--rootdir={folder}", *PLUGINS, *options, str(file)]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    done = subprocess.run(
        command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr
