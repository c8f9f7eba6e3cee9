"""A free core for what is measured: what is said of it is said of a machine that has one.

PostgreSQL and all that this process starts keep to the other cores, and the last one is for whoever is told
to keep to it: a reader beside a load, with the server's process that answers it, or an HTTP server, which in
production shares its core with neither database nor clients. Linux only, and where this process may.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import psutil

from local.postgres import PostgresServer


@contextmanager
def free_core(server: PostgresServer) -> Generator[int | None]:
    """The number of the core that is kept free meanwhile; None where none can be."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield None
        return
    processes = [psutil.Process(), *server_processes(server)]
    try:
        yield cores[-1] if all(keep_to(process, cores[:-1]) for process in processes) else None
    finally:
        for process in processes:
            keep_to(process, cores)


def server_processes(server: PostgresServer) -> list[psutil.Process]:
    """The server's first process, whose children do as it does from then on, and those it has."""
    first = psutil.Process(int((server.data_dir / "postmaster.pid").read_text().split()[0]))
    return [first, *first.children()]


def keep_to(process: psutil.Process, cores: Sequence[int]) -> bool:
    """Whether the process does; one that has ended does."""
    with suppress(psutil.NoSuchProcess):
        try:
            process.cpu_affinity([*cores])
        except psutil.AccessDenied:
            return False
    return True
