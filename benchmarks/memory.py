"""What running processes take of memory: the most in their lives, or now with what they share divided."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PERIOD_S = 0.05


@contextmanager
def watched(pids: Mapping[str, int]) -> Generator[dict[str, int]]:
    """Bytes by the names of `pids`: of the process, or of one below it, that took most; filled at the end."""
    peaks: dict[str, int] = dict.fromkeys(pids, 0)
    over = threading.Event()

    def look() -> None:
        for name, pid in pids.items():
            peaks[name] = max(peaks[name], *(peak_bytes(process) for process in family(pid)), 0)

    def watch() -> None:
        while not over.wait(PERIOD_S):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
        look()
    finally:
        over.set()
        watcher.join()


def family(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def peak_bytes(process: psutil.Process) -> int:
    """In its life, where the system keeps that (Linux); else now. 0 of one that has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


def pss_bytes(process: psutil.Process) -> int:
    """Now, with its share of what it has in common with others, where the system tells that (Linux)."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return process.memory_info().rss
