"""What answers are made of, read from PostgreSQL through a pool of connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar, TypeVarTuple

import psycopg
import psycopg_pool
from psycopg.pq import ConnStatus, TransactionStatus

from api.totals import DataVersion, read_version
from database.connect import PoolConnection, translated_errors

Result = TypeVar("Result")
Asked = TypeVarTuple("Asked")
# How long a request waits for a connection, which a database that is there gives in milliseconds. It waits
# as long only where nothing is heard of the database: one that refuses is known to be away in STEP_S.
WAIT_S = 1.0
STEP_S = 0.02
# For a moment after one has waited in vain: if each waited, all threads would, and health checks behind them,
# and sound tasks would be replaced because their database is away. Enough for the pool to begin to connect.
WAIT_AWAY_S = 0.001
AWAY_S = 1.0
# How long connections stay with us, for whoever asks next: to pass one through the pool takes 15 us of a
# processor, a twentieth of an answer.
KEPT_S = 1.0
# The pool gives up so soon, and begins anew when somebody asks: its own pauses become longer and longer, and
# would keep a database that is back waiting for seconds.
CONNECT_AGAIN_S = 0.25
# A server that vanishes without a word holds up the threads that have asked it something for so long.
# Questions are short: one that is there takes them at once.
SILENCE_S = 3
# By lane and month from the index is the one plan that is right, however much there is. Left to its costs,
# the server would read all deltas by a plan that it made, and kept, while there were none
# (`test_a_plan_that_is_made_while_there_is_nothing_reads_by_index_too`).
CONNECTION_SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # Nor compiled: up to PostgreSQL 17 what goes against the two counts as dear enough for that, each time
    # anew, for half a second (`test_no_question_is_compiled_before_it_is_answered`).
    "jit": "off",
    # What takes longer is given up: it would take its thread from those that ask for little.
    "statement_timeout": "5s",
}


@dataclass
class Store:
    """Every method raises DatabaseUnavailable when the pool gives no connection in time, or it breaks.

    `ledger` reads of batches over the same connections.
    """

    pool: psycopg_pool.ConnectionPool
    away_until: float = field(default=0.0, init=False)
    given_at: float = field(default=0.0, init=False)
    _kept: list[psycopg.Connection] = field(default_factory=list, init=False)
    _is_timed: bool = field(default=False, init=False)

    def version(self) -> DataVersion:
        return self.read(read_version)

    def read(self, ask: Callable[[psycopg.Connection, *Asked], Result], *asked: *Asked) -> Result:
        """What `ask` makes of a connection in autocommit, and of `asked`; it is called again where the
        connection has broken, or what is prepared on it: a failover or a migration breaks every one, and who
        comes first must not pay for it."""
        asked_before = False
        try:
            while True:
                connection = self._take()
                try:
                    return ask(connection, *asked)
                except psycopg.OperationalError:
                    if asked_before or connection.pgconn.status == ConnStatus.OK:
                        raise
                except psycopg.errors.FeatureNotSupported:
                    # A column has got another type, and what is prepared fails for as long as it is.
                    if asked_before:
                        raise
                    connection.close()
                finally:
                    self._keep(connection)
                asked_before = True
                # Where one is broken, others are, and each may take SILENCE_S to say so where its server has
                # vanished (`test_who_meets_a_broken_connection_waits_for_no_other_one`).
                self.give_back()
                self.pool.drain()
        except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed):
            with translated_errors():  # only here, since it costs what asks without a fault, too
                raise

    def close(self) -> None:
        self.pool.close()
        self.give_back()

    def _take(self) -> psycopg.Connection:
        try:
            return self._kept.pop()
        except IndexError:
            return self._connection()

    def _keep(self, connection: psycopg.Connection) -> None:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:  # or it is broken
            self.pool.putconn(connection)
            return
        self._kept.append(connection)
        if not self._is_timed:
            self._is_timed = True
            timer = threading.Timer(KEPT_S, self.give_back)
            timer.daemon = True
            timer.start()

    def give_back(self) -> None:
        """To the pool, which sees to how old a connection grows, and closes what is not needed."""
        self._is_timed = False
        with suppress(IndexError):
            while True:
                self.pool.putconn(self._kept.pop())

    def _connection(self) -> psycopg.Connection:
        """Raises PoolTimeout once the database is known to be away, or nothing was heard of it in time."""
        began, failed = time.monotonic(), PoolConnection.attempts_failed
        away = began < self.away_until
        while True:
            try:
                connection = self.pool.getconn(WAIT_AWAY_S if away else STEP_S)
            except psycopg_pool.PoolTimeout:
                now = time.monotonic()
                if not away and PoolConnection.attempts_failed == failed and now - began < WAIT_S:
                    continue
                if self.given_at < began:  # where another got one meanwhile, the pool is only growing
                    self.away_until = now + AWAY_S
                raise
            self.given_at, self.away_until = time.monotonic(), 0.0
            return connection
