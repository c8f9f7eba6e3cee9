"""gunicorn's gthread worker, which goes on serving for a while after it was told to stop.

A load balancer learns a few seconds after the task that the task is to go, and until then sends requests.
"""

import math
import signal
import time

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):
    """`drain_s` is how long it goes on; then it takes no connection more and ends what it has in hand."""

    drain_s = 0
    stop_at = math.inf

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002
        """Only notes the time: a signal's handler may take no lock, as starting a timer would."""
        self.stop_at = min(self.stop_at, time.monotonic() + self.drain_s)
        self.method_queue.defer(lambda: None)  # wakes the loop, which calls `notify` at least once a second

    def notify(self) -> None:
        super().notify()
        if time.monotonic() >= self.stop_at:
            super().handle_exit(signal.SIGTERM, None)
