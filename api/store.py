"""What answers are made of, read from PostgreSQL through a pool of connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeVar

import psycopg
import psycopg_pool
from psycopg.pq import ConnStatus

from api.totals import DataVersion, Totals, read_totals, read_version
from database.connect import translated_errors

Result = TypeVar("Result")
# How long a request waits for a connection, which a database that is there gives in milliseconds.
WAIT_S = 2.0
# For a moment after one has waited in vain: if each waited 2 s, all threads would, and health checks behind
# them, and sound tasks would be replaced because their database is away.
WAIT_AWAY_S = 0.05
AWAY_S = 1.0
# By lane and month from the index is the one plan that is right, however much there is. Left to its costs,
# the server would read all deltas by a plan that it made, and kept, while there were none
# (`test_a_plan_that_is_made_while_there_is_nothing_reads_by_index_too`).
CONNECTION_SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
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

    def totals(self, *, orig_code: str, dest_code: str, date_from: date, date_to: date) -> Totals:
        """As `api.totals.read_totals` has them."""
        question = {
            "orig_code": orig_code,
            "dest_code": dest_code,
            "date_from": date_from,
            "date_to": date_to,
        }
        return self.read(partial(read_totals, **question))

    def version(self) -> DataVersion:
        return self.read(read_version)

    def read(self, ask: Callable[[psycopg.Connection], Result]) -> Result:
        """What `ask` makes of a connection in autocommit; it is called again where the connection has broken:
        a failover breaks every one of the pool, and whoever comes first must not pay for it."""
        with translated_errors():
            try:
                return self._read(ask)
            except Broken:
                # Where one is broken, others are: they would be met one by one.
                self.pool.check()
                return self._read(ask)

    def _read(self, ask: Callable[[psycopg.Connection], Result]) -> Result:
        away = time.monotonic() < self.away_until
        try:
            connection = self.pool.getconn(WAIT_AWAY_S if away else WAIT_S)
        except psycopg_pool.PoolTimeout:
            self.away_until = time.monotonic() + AWAY_S
            raise
        self.away_until = 0.0
        try:
            return ask(connection)
        except psycopg.OperationalError as error:
            if connection.pgconn.status == ConnStatus.OK:
                raise
            raise Broken(str(error)) from error
        finally:
            self.pool.putconn(connection)


class Broken(psycopg.OperationalError):
    """The connection that was asked over is no more."""
