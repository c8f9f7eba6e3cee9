"""Which version of the data is the newest, known without asking for each request.

A thread listens for the commit that changes answers (`LISTEN`), and asks as well, since a listener is never
told that its channel is cut. What it learned holds for LEASE_S from before it asked: who finds nothing that
young asks the database itself. So no answer out of memory is older, whatever happens to the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from api.totals import DataVersion, read_version
from database.errors import DatabaseError
from telemetry.log import get_logger

# Below the second that an answer may be old, and long enough that one slow question does not end it.
LEASE_S = 0.9
POLL_S = 0.3
# Between attempts while the database is away.
PAUSE_S = 0.25
# Nobody has asked for so long: the connection goes, so that a database may pause.
IDLE_S = 60.0
log = get_logger("rates.api")


@dataclass
class NewestVersion:
    """`connect` makes a connection in autocommit. Start it after the fork."""

    connect: Callable[[], psycopg.Connection]
    _known: tuple[DataVersion, float] | None = field(default=None, init=False)
    _asked_at: float = field(default=0.0, init=False)
    _wanted: threading.Event = field(default_factory=threading.Event, init=False)
    _stopped: bool = field(default=False, init=False)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="newest-version", daemon=True).start()

    def stop(self) -> None:
        self._stopped = True
        self._wanted.set()

    def get(self) -> DataVersion | None:
        """None where it is not known for certain."""
        now = time.monotonic()
        self._asked_at = now
        known = self._known
        if known and now < known[1]:
            return known[0]
        if not self._wanted.is_set():
            self._wanted.set()
        return None

    def _watch(self) -> None:
        while not self._stopped:
            self._wanted.wait()
            with suppress(DatabaseError, psycopg.Error), self.connect() as connection:
                self._follow(connection)
            self._known = None
            if not self._stopped and self._wanted.is_set():
                time.sleep(PAUSE_S)

    def _follow(self, connection: psycopg.Connection) -> None:
        """Until nobody asks any more, or the connection breaks."""
        with suppress(psycopg.errors.ReadOnlySqlTransaction):  # a standby has no listeners: it is only asked
            connection.execute("LISTEN data_version")
        while not self._stopped:
            began = time.monotonic()
            if began - self._asked_at > IDLE_S:
                self._wanted.clear()
                return
            self._known = (read_version(connection), began + LEASE_S)
            # A notification says that there is something new, not what. It may have come with the answer.
            if not any(iter(connection.pgconn.notifies, None)):
                list(connection.notifies(timeout=POLL_S, stop_after=1))
