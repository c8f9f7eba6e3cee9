"""What answers are made of, read from PostgreSQL through a pool of connections."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import psycopg
import psycopg_pool

from database.connect import translated_errors
from database.queries import query

# How long a request waits for a connection, which a database that is there gives in milliseconds.
WAIT_S = 2.0
# For a moment after one has waited in vain: if each waited 2 s, all threads would, and health checks behind
# them, and sound tasks would be replaced because their database is away.
WAIT_AWAY_S = 0.05
AWAY_S = 1.0
# By lane and month from the index is the one plan that is right, however much there is. Left to its costs,
# the server would read all deltas by a plan that it made, and kept, while there were none
# (`test_a_plan_that_is_made_while_there_is_nothing_reads_by_index_too`).
PLAN_SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}


class DayTotal(NamedTuple):
    """All prices of one day: their sum in USD and how many they are, at least one."""

    day: date
    price_sum: int
    price_count: int


@dataclass
class Store:
    """Every method raises DatabaseUnavailable when the pool gives no connection in time, or it breaks.

    `ledger` reads of batches over the same connections.
    """

    pool: psycopg_pool.ConnectionPool
    away_until: float = field(default=0.0, init=False)

    def lane_totals(
        self, *, orig_code: str, dest_code: str, date_from: date, date_to: date
    ) -> list[DayTotal]:
        """The days with prices from `date_from` to `date_to`, newest first, between ports or regions."""
        question = {
            "orig_code": orig_code,
            "dest_code": dest_code,
            "date_from": date_from,
            "date_to": date_to,
        }
        with self.connection() as connection:
            rows = connection.execute(query("api", "lane_totals"), question).fetchall()
        return [DayTotal(*row) for row in rows]

    def check(self) -> None:
        """Returns if the database answers and has its schema."""
        with self.connection() as connection:
            connection.execute(query("api", "check"))

    @contextmanager
    def connection(self) -> Generator[psycopg.Connection]:
        """One of the pool's, for a moment."""
        away = time.monotonic() < self.away_until
        with translated_errors():
            try:
                with self.pool.connection(WAIT_AWAY_S if away else WAIT_S) as connection:
                    self.away_until = 0.0
                    yield connection
            except psycopg_pool.PoolTimeout:
                self.away_until = time.monotonic() + AWAY_S
                raise
