"""Totals as the API reads them, over any connection."""

from __future__ import annotations

from datetime import date

import psycopg

from api.totals import read_totals


def day_totals(
    connection: psycopg.Connection, pair: tuple[str, str], date_from: date, date_to: date
) -> list[tuple[date, int, int]]:
    """Day, sum and count of the days that have prices between two places, newest first."""
    orig_code, dest_code = pair
    totals = read_totals(
        connection, orig_code=orig_code, dest_code=dest_code, date_from=date_from, date_to=date_to
    )
    return totals.days(date_to)
