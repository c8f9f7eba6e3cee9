"""`python -m tests.faults [FILE…]`: seeds each fault, by itself, in a clone of the last commit, and runs what
`make test CHANGED=HEAD` would run for it. Ends with 1 where a fault is found by no test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.seeded import FAULTS, Fault
from tests.house.files import ROOT

JOBS = "2"
# These find that a file differs, not that it is wrong.
NOT_ASKED = ("tests/house", "tests/faults")
# As `tests.run.failures` tells of a test; a module that cannot be imported is none.
FAILED = re.compile(r"^FAILED (tests/\S+::\S+)", re.MULTILINE)


def main(*files: str) -> int:
    chosen = [fault for fault in FAULTS if not files or fault.file in files]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "rates"
        run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], Path(folder)).check_returncode()
        (clone / ".venv").symlink_to(ROOT / ".venv")
        missed = [fault for fault in chosen if not is_found(fault, clone)]
    sys.stdout.write(f"{len(chosen) - len(missed)} of {len(chosen)} seeded faults were found\n")
    return 1 if missed else 0


def is_found(fault: Fault, clone: Path) -> bool:
    path = clone / fault.file
    sound = path.read_text()
    path.write_text(seeded(fault, sound))
    began = time.monotonic()
    try:
        tests = tests_of_change(clone)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", JOBS]
        ended = run([*command, "--dist", "loadfile", "--no-loadscope-reorder", *tests], clone)
    finally:
        path.write_text(sound)
    by = FAILED.search(ended.stdout)
    told = f"found by {by[1]}" if by else f"NOT FOUND, pytest ended with {ended.returncode}"
    seconds = time.monotonic() - began
    sys.stdout.write(f"{fault.file}, where {fault.breaks}: {told} ({len(tests)} files, {seconds:.0f} s)\n")
    sys.stdout.flush()
    return by is not None


def seeded(fault: Fault, text: str) -> str:
    """Raises ValueError where it cannot be seeded any more: then the list needs another one for this file."""
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.old)} times {fault.old!r}; expected it once")
    return text.replace(fault.old, fault.new)


def tests_of_change(clone: Path) -> list[str]:
    found = run([sys.executable, "-m", "tests.run.changed", "HEAD"], clone)
    found.check_returncode()
    return [file for file in found.stdout.split() if not file.startswith(NOT_ASKED)]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # Before the environment's own path, which leads to where this runs.
    env = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
