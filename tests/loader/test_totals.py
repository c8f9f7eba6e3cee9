"""A chunk's totals are what adding up its rows one by one gives, spelled as PostgreSQL reads arrays."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loader.faults import DAY_MAX, DAY_MIN, PRICE_MAX
from loader.totals import TOTALS, totals_of
from tests.loader.batches import Row
from tests.postgres import Database

# Among them those that CSV and arrays give a meaning to, and an order that is not the alphabet's.
CODES = sorted(["CNSGH", "NLRTM", "a,b", '{"a"}', "NULL", "\\N", "Ørsta", "zz", " a", "中国"])
LEAP = [date(2020, 2, 28), date(2020, 2, 29), date(2020, 3, 1), date(2000, 2, 29), date(2021, 2, 28)]
DAYS = st.one_of(st.sampled_from([*LEAP, DAY_MIN, DAY_MAX]), st.dates(DAY_MIN, DAY_MAX))
PRICES = st.one_of(st.integers(1, PRICE_MAX), st.sampled_from([1, PRICE_MAX - 1, PRICE_MAX]))
# Few codes and days too, so that many rows fall on one of them.
ROWS = st.one_of(
    st.builds(Row, st.sampled_from(CODES), st.sampled_from(CODES), DAYS, PRICES),
    st.builds(Row, st.sampled_from(CODES[:2]), st.just(CODES[0]), st.sampled_from(LEAP), PRICES),
)
LANE = ("CNSGH", "NLRTM")


def frame(rows: list[Row], codes: list[str] = CODES) -> pl.DataFrame:
    """Rows as `check` gives them."""
    ports = pl.Enum(codes)
    schema = {"orig_code": ports, "dest_code": ports, "day": pl.Date, "price": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def added_up(rows: list[Row]) -> list[tuple]:
    """The same totals, row by row: in the order of the lanes and their months."""
    months: dict[tuple, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for orig, dest, day, price in rows:
        months[orig, dest, day.replace(day=1)][day.day].append(price)
    return [
        (month, orig, dest, sorted(days), [sum(days[day]) for day in sorted(days)],
         [len(days[day]) for day in sorted(days)])
        for (orig, dest, month), days in sorted(months.items())
    ]  # fmt: skip


def spelled(numbers: list[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


@given(st.lists(ROWS, max_size=60))
@example([])
@example([Row(*LANE, date(2021, 1, day), 1) for day in (31, 1, 15, 1)])
@example([Row(*LANE, DAY_MIN + timedelta(month * 31), PRICE_MAX) for month in range(1500)])
def test_totals_are_what_adding_up_row_by_row_gives(rows: list[Row]) -> None:
    totals = totals_of(frame(rows))
    assert tuple(totals.columns) == TOTALS
    expected = [(*row[:3], *map(spelled, row[3:])) for row in added_up(rows)]
    assert totals.rows() == expected


@pytest.mark.parametrize("count", [1, 3, 1_000_000])
def test_sums_far_beyond_32_bits_are_exact(count: int) -> None:
    """A million rows of the highest price on one day: 2e15, of the 9e18 that the column holds."""
    prices = frame([Row(*LANE, date(2021, 1, 1), PRICE_MAX)])
    ((_, _, _, days, sums, counts),) = totals_of(pl.concat([prices] * count)).rows()
    assert (days, sums, counts) == ("{1}", f"{{{count * PRICE_MAX}}}", f"{{{count}}}")


def test_thousands_of_ports_do_not_get_mixed_up() -> None:
    """The lanes are numbered by their ports; the last ones have the highest numbers."""
    codes = [f"P{number:05}" for number in range(30_000)]
    lanes = [(codes[one], codes[other]) for one in (0, 1, 29_998, 29_999) for other in (0, 1, 29_999)]
    rows = [Row(*lane, day, 5) for lane in lanes for day in (DAY_MIN, DAY_MAX)]
    totals = totals_of(frame(rows, codes))
    assert [row[:3] for row in totals.rows()] == [
        (day.replace(day=1), *lane) for lane in lanes for day in (DAY_MIN, DAY_MAX)
    ]


def test_postgresql_reads_the_arrays_as_they_were_meant(database: Database) -> None:
    rows = [Row(*LANE, date(2020, 2, day), PRICE_MAX) for day in (29, 1, 1)]
    rows += [Row("NLRTM", "zz", DAY_MAX, 1)]
    totals = totals_of(frame(rows))
    columns = ", ".join(TOTALS)
    with database.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY lane_month_totals ({columns}) FROM STDIN (FORMAT csv)".encode()) as sink:
            sink.write(totals.write_csv(include_header=False).encode())
        read = cursor.execute(f"SELECT {columns} FROM lane_month_totals".encode()).fetchall()
    assert read == added_up(rows)
