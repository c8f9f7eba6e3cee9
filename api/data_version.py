"""Which version of the data is the newest, known without asking for each request.

A thread listens for the commit that changes answers (`LISTEN`), and asks as well, since a listener is never
told that its channel is cut. What it learned holds for LEASE_S from before it asked: who finds nothing that
young asks the database itself. So no answer out of memory is older, whatever happens to the thread
(docs/decisions/0013-answers-in-memory.md).
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field

import psycopg
from psycopg import pq

from api.totals import BINARY, DataVersion, raise_failed, version_of
from database.errors import DatabaseError
from database.queries import query
from telemetry.log import get_logger

# Below the second that an answer may be old, and long enough that one slow question does not end it.
LEASE_S = 0.9
POLL_S = 0.3
# A channel that swallows questions breaks by itself after 3 s, or never where something between us keeps it.
ANSWER_S = 2.0
# Between attempts while the database is away; it doubles three times.
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
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _failures: int = field(default=0, init=False)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="newest-version", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
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
        """Goes on whatever happens: nobody would start it again."""
        while self._wanted.wait() and not self._stopped.is_set():
            try:
                with closing(self.connect()) as connection:
                    self._follow(connection)
            except Exception as error:
                self._known = None
                if not self._failures:
                    say_lost(error)
                self._stopped.wait(PAUSE_S * 2 ** min(self._failures, 3))
                self._failures += 1
            self._known = None
            if self._is_idle():
                self._wanted.clear()

    def _follow(self, connection: psycopg.Connection) -> None:
        """Until nobody asks any more, or the connection breaks."""
        listens = False
        while not (self._stopped.is_set() or self._is_idle()):
            if not listens and connection.pgconn.parameter_status(b"in_hot_standby") != b"on":
                # A standby has no listeners, and is only asked until it is promoted.
                with suppress(psycopg.errors.ReadOnlySqlTransaction):
                    execute(connection, b"LISTEN data_version")
                listens = True
            began = time.monotonic()
            version = version_of(execute(connection, query("api", "data_version")))
            self._known, self._failures = (version, began + LEASE_S), 0
            # A notification says that there is something new, not what. It may have come with the answer.
            told = any(iter(connection.pgconn.notifies, None))
            if told or list(connection.notifies(timeout=POLL_S, stop_after=1)):
                self._known = None  # until it is known what: nobody gets the old one meanwhile

    def _is_idle(self) -> bool:
        return time.monotonic() - self._asked_at > IDLE_S


def say_lost(error: Exception) -> None:
    """Once, not at each attempt: requests that it fails say in the log why the database is away."""
    if isinstance(error, DatabaseError | psycopg.Error):
        log.warning("the newest version is not known, answers are read from the database", reason=str(error))
    else:
        log.error("the newest version cannot be followed", exc_info=error)


def execute(connection: psycopg.Connection, statement: bytes) -> pq.abc.PGresult:
    """Its rows, in binary. Raises `psycopg.Error`, OperationalError after ANSWER_S without an answer: libpq's
    own way would wait for ever."""
    server = connection.pgconn
    server.send_query_params(statement, [], result_format=BINARY)
    server.flush()
    readable = select.poll()
    readable.register(server.socket, select.POLLIN)
    deadline = time.monotonic() + ANSWER_S
    results: list[pq.abc.PGresult] = []
    while True:
        while server.is_busy():
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise psycopg.OperationalError(f"no answer within {ANSWER_S:g} s")
            server.consume_input()
        result = server.get_result()
        if result is None:
            break
        results.append(result)
    for result in results:
        raise_failed(server, result, pq.ExecStatus.TUPLES_OK if result.nfields else pq.ExecStatus.COMMAND_OK)
    return results[-1]
