"""Many clients at once, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def crowd(run: Callable[[int, threading.Event], None], count: int) -> Generator[None]:
    """So many, each with its number and the event that tells all to stop, which the end of the block sets."""
    stop = threading.Event()
    clients = [threading.Thread(target=run, args=(number, stop)) for number in range(count)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        stop.set()
        for client in clients:
            client.join()
