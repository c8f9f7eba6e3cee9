"""One load by wrk: so many connections, each of which asks its next question once the last is answered."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError
from local.postgres import HOST

SCRIPT = Path(__file__).with_name("questions.lua")
MISSING = (
    "wrk, which asks the questions, is not installed: `apt-get install wrk` (Debian's package has its name)"
)
# Slower than this is not slow but stuck.
ANSWER_TIMEOUT_S = 30


@dataclass(frozen=True)
class Load:
    """What came of it: times from a question to the end of its answer, and what the server's processes took
    of the processors meanwhile, where that is known."""

    requests: int
    seconds: float
    p50_s: float
    p99_s: float
    p999_s: float
    max_s: float
    cpu_s: float | None = None

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Of a processor, a request."""
        return (self.cpu_s or 0.0) / self.requests * 1e6


def is_there() -> bool:
    return shutil.which("wrk") is not None


def write_questions(file: Path, questions: Iterable[tuple[str, str]]) -> Path:
    """Of paths, each with the ETag that is known or nothing."""
    file.write_text("".join(f"{path}\t{tag}\n" for path, tag in questions))
    return file


def ask(
    port: int, questions: Path, connections: int, seconds: int, *, wanted: int = 200, seed: int = 0
) -> Load:
    """Raises BenchmarkError where one answer has another status than `wanted`, or there is none."""
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
    command += [f"--timeout={ANSWER_TIMEOUT_S}s", f"--script={SCRIPT}", f"http://{HOST}:{port}"]
    command += ["--", str(questions), str(wanted), str(seed)]
    timeout_s = seconds + ANSWER_TIMEOUT_S
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"wrk had not ended after {timeout_s} s") from error
    return read_load(ended.stdout, ended.stderr, wanted)


def read_load(output: str, complaints: str, wanted: int) -> Load:
    """Raises BenchmarkError."""
    last = output.rstrip("\n").rpartition("\n")[2]
    if not last.startswith("{"):
        raise BenchmarkError(f"wrk did not get to its end: {output.strip()} {complaints.strip()}")
    said = json.loads(last)
    if said["others"] or said["broken"] or not said["good"]:
        raise BenchmarkError(
            f"{said['good']:,} answers were {wanted}, but {said['broken']:,} never came,"
            f" and of other statuses there were {said['others'] or 'none'}"
        )
    times = (said[name] / 1e6 for name in ("p50_us", "p99_us", "p999_us", "max_us"))
    return Load(said["good"], said["seconds"], *times)
