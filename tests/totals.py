"""Totals as the API reads them, over any connection."""

from __future__ import annotations

from datetime import date

import psycopg

from api.totals import read_totals


def day_totals(
    connection: psycopg.Connection, pair: tuple[str, str], date_from: date, date_to: date
) -> list[tuple[date, int, int]]:
    """Day, sum and count of the days that have prices between two places, newest first."""
    return read_totals(connection, *pair, date_from, date_to).days(date_to)
