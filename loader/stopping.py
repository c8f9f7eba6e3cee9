"""Being told to stop by a signal: what a load asks between two chunks, and the worker between two steps."""

from __future__ import annotations

import os
import select
import signal
from typing import Protocol


class Stop(Protocol):
    """What a worker asks, between two steps, and waits for instead of sleeping."""

    def is_set(self) -> bool: ...

    def wait(self, timeout_s: float, /) -> object: ...


class StopSignal:
    """Set by any of these signals from now on, instead of ending the process.

    No `threading.Event`: its lock would be taken twice where a signal meets the main thread inside `wait`.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._set = False
        self._reader, self._writer = os.pipe()  # so that a wait ends with the signal, however early it came
        for number in numbers:
            signal.signal(number, self._receive)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout_s: float) -> None:
        """Returns once it is set, or after so many seconds."""
        select.select([self._reader], [], [], timeout_s)

    def _receive(self, *_: object) -> None:
        if not self._set:
            self._set = True
            os.write(self._writer, b"\0")
