"""What answers are made of, read from PostgreSQL through a pool of connections."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import psycopg_pool

from database.connect import translated_errors
from database.queries import query


class DayTotal(NamedTuple):
    """All prices of one day: their sum in USD and how many they are, at least one."""

    day: date
    price_sum: int
    price_count: int


@dataclass(frozen=True)
class Store:
    """Every method raises DatabaseUnavailable when the pool gives no connection in time, or it breaks."""

    pool: psycopg_pool.ConnectionPool

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
        with translated_errors(), self.pool.connection() as connection:
            rows = connection.execute(query("api", "lane_totals"), question).fetchall()
        return [DayTotal(*row) for row in rows]

    def check(self) -> None:
        """Returns if the database answers and has its schema."""
        with translated_errors(), self.pool.connection() as connection:
            connection.execute(query("api", "check"))
