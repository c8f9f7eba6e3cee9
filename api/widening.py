"""A lane too thin to price, answered from the next wider regions that are not (`widen=true`).

Both sides go up the tree together, a step at a time: a port to its region, a region to its parent; a side at
its top stays. All of it is read in one snapshot, so that the steps are of one version of the data.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

import psycopg
from psycopg.pq import ExecStatus

from api.question import Question
from api.totals import PRICES_MIN, Totals, raise_failed, read_region_totals, read_totals
from database.queries import query

SNAPSHOT = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Used(NamedTuple):
    """What an answer is made of; a level is how many steps up a side went, 0 as asked."""

    orig_code: str
    dest_code: str
    orig_level: int
    dest_level: int


def read_widened(connection: psycopg.Connection, question: Question) -> tuple[Totals, Used]:
    """Of the first step up with a price, or of the last one; what is above a place is one too, so that
    `orig_found` and `dest_found` hold for what was asked. `connection` is in autocommit. Raises
    `psycopg.Error`."""
    asked = Used(question.orig_code, question.dest_code, 0, 0)
    totals = read_totals(connection, *lane_of(question, asked))
    if has_price(totals) or question.date_from > question.date_to:
        return totals, asked
    with one_snapshot(connection):
        return climb(connection, question, asked)


def climb(connection: psycopg.Connection, question: Question, asked: Used) -> tuple[Totals, Used]:
    """Begins with what was asked for again: by now it may have a price."""
    used, totals = asked, read_totals(connection, *lane_of(question, asked))
    for step in steps_up(connection, question):
        if has_price(totals):
            break
        # Both are regions, though a port may be called as one of them is: each port is in one, and a code
        # that is no place stays without ports.
        used, totals = step, read_region_totals(connection, *lane_of(question, step))
    return totals, used


def steps_up(connection: psycopg.Connection, question: Question) -> Iterator[Used]:
    origs, dests = (places_above(connection, code) for code in (question.orig_code, question.dest_code))
    for step in range(1, max(len(origs), len(dests))):
        orig_level, dest_level = min(step, len(origs) - 1), min(step, len(dests) - 1)
        yield Used(origs[orig_level], dests[dest_level], orig_level, dest_level)


def places_above(connection: psycopg.Connection, code: str) -> list[str]:
    """The code itself, then the slugs of the regions above it up to the top."""
    with psycopg.RawCursor(connection) as cursor:
        above = cursor.execute(query("api", "regions_above"), [code]).fetchall()
    return [code, *(slug for (slug,) in above)]


def lane_of(question: Question, used: Used) -> tuple[str, str, date, date]:
    """What totals are asked for by."""
    return used.orig_code, used.dest_code, question.date_from, question.date_to


def has_price(totals: Totals) -> bool:
    return max(totals.counts, default=0) >= PRICES_MIN


@contextmanager
def one_snapshot(connection: psycopg.Connection) -> Generator[None]:
    """By libpq itself: at a ROLLBACK of its own, psycopg deallocates what is prepared, by `totals` too."""
    server = connection.pgconn
    raise_failed(server, server.exec_(SNAPSHOT), ExecStatus.COMMAND_OK)
    try:
        yield
    finally:
        server.exec_(b"ROLLBACK")  # nothing was written
