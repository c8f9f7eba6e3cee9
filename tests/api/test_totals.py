"""Rows of totals as PostgreSQL has them, laid out over the days that were asked for."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.totals import read_totals
from tests.examples import examples
from tests.postgres import Database

LANE = ("CNSGH", "EETLL")
FIRST, LAST = date(2020, 12, 1), date(2021, 3, 31)
# A month, and sum and count by day of it, in any order.
Row = tuple[date, dict[int, tuple[int, int]]]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    month = draw(st.sampled_from([date(2020, 12, 1), date(2021, 1, 1), date(2021, 2, 1), date(2021, 3, 1)]))
    days = range(1, monthrange(month.year, month.month)[1] + 1)
    # Whole months and parts of them are what loads make; any days at all are what a lane may have.
    first, last = sorted(draw(st.tuples(st.sampled_from(days), st.sampled_from(days))))
    in_a_row = st.just(list(range(first, last + 1)))
    chosen = draw(st.one_of(in_a_row, st.lists(st.sampled_from(days), min_size=1, unique=True)))
    totals = st.tuples(st.integers(0, 2**40), st.integers(1, 1_000))
    return month, {day: draw(totals) for day in chosen}


@pytest.fixture(scope="module")
def owner(filled: Database) -> Iterator[psycopg.Connection]:
    with filled.connect() as connection:
        connection.execute("INSERT INTO regions VALUES ('world', 'World', NULL)")
        for code in LANE:
            connection.execute("INSERT INTO ports VALUES (%s, %s, 'world')", [code, code])
        yield connection


@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    found=st.lists(rows(), max_size=4),
    span=st.tuples(st.dates(FIRST, LAST), st.integers(-1, 70)),
    as_regions=st.booleans(),
)
def test_each_day_of_the_range_has_the_sum_of_all_rows(
    owner: psycopg.Connection, found: list[Row], span: tuple[date, int], as_regions: bool
) -> None:
    write(owner, found)
    date_from, date_to = span[0], span[0] + timedelta(span[1])
    orig_code, dest_code = ("world", LANE[1]) if as_regions else LANE
    totals = read_totals(owner, orig_code, dest_code, date_from, date_to)
    expected: dict[date, list[int]] = {}
    for month, by_day in found:
        for day, (price_sum, count) in by_day.items():
            total = expected.setdefault(month + timedelta(day - 1), [0, 0])
            total[0] += price_sum
            total[1] += count
    days = [date_to - timedelta(back) for back in range(span[1] + 1)]
    asked = [expected.get(day, [0, 0]) for day in days]
    assert [list(pair) for pair in zip(totals.sums, totals.counts, strict=True)] == asked
    assert totals.days(date_to) == [(day, *total) for day, total in zip(days, asked, strict=True) if total[1]]


def write(owner: psycopg.Connection, found: list[Row]) -> None:
    """As published deltas, each of a batch of its own."""
    owner.execute("DELETE FROM lane_month_deltas")
    owner.execute("DELETE FROM postings")
    for number, (month, by_day) in enumerate(found, 1):
        columns = [list(by_day), *map(list, zip(*by_day.values(), strict=True))]
        owner.execute("INSERT INTO postings VALUES (%s)", [number])
        owner.execute(
            "INSERT INTO lane_month_deltas VALUES (%s, 0, %s, %s, %s, %s, %s, %s)",
            [number, month, *LANE, *columns],
        )
