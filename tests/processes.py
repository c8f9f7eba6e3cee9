"""What processes of others say of themselves: any of them may end while it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

import psutil

Said = TypeVar("Said")


def asked(
    ask: Callable[[psutil.Process], Said], processes: Iterable[psutil.Process]
) -> Iterator[tuple[psutil.Process, Said]]:
    """Each process with its answer, but for those that have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield process, ask(process)


def with_argument(argument: str, processes: Iterable[psutil.Process]) -> psutil.Process:
    """The first whose command line has it. Raises StopIteration where there is none."""
    return next(
        process for process, line in asked(psutil.Process.cmdline, processes) if argument in " ".join(line)
    )
