"""GET /rates: what it answers, from the original's rules to regions of every depth."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from itertools import product
from random import Random

import pytest

from tests.api.service import Service
from tests.api.world import PORTS, REGIONS, Price, fold_all, load_prices, ports_of
from tests.postgres import Database

FIRST, LAST = date(2021, 1, 1), date(2021, 1, 10)
# Every port and region, and one code that is neither.
PLACES = sorted({*PORTS, *REGIONS, "XXXXX"})
LANE = ("CNGGZ", "EETLL")
# Of LANE: two prices on the 3rd, three on the 5th whose mean has no end, and none on any other day from here.
THIN_AND_FULL: list[Price] = [
    (*LANE, "2021-03-03", 1000),
    (*LANE, "2021-03-03", 1001),
    (*LANE, "2021-03-05", 1154),
    (*LANE, "2021-03-05", 1154),
    (*LANE, "2021-03-05", 1155),
]


def many_prices() -> list[Price]:
    """A few prices on most days between most ports, the same ones each run."""
    random = Random(20210101)  # noqa: S311
    days = [FIRST + timedelta(days=back) for back in range((LAST - FIRST).days + 1)]
    return [
        (orig, dest, day.isoformat(), random.randint(1, 9_999))
        for orig, dest, day in product(PORTS, PORTS, days)
        if orig != dest
        for _ in range(random.choice([0, 0, 1, 2, 3, 4]))
    ]


PRICES = many_prices()


@pytest.fixture(scope="module", autouse=True)
def prices(filled: Database) -> None:
    """In two batches, the first of which is folded: most answers come from both kinds of totals."""
    half = len(PRICES) // 2
    assert load_prices(filled, PRICES[:half]).state == "published"
    assert fold_all(filled) > 0
    assert load_prices(filled, PRICES[half:] + THIN_AND_FULL).state == "published"


def expected(orig_code: str, dest_code: str) -> list[dict]:
    """The answer from FIRST to LAST by its definition, price by price."""
    origs, dests = ports_of(orig_code), ports_of(dest_code)
    answer = []
    for back in range((LAST - FIRST).days + 1):
        day = (LAST - timedelta(days=back)).isoformat()
        found = [usd for orig, dest, on, usd in PRICES if on == day and orig in origs and dest in dests]
        mean = float(Fraction(sum(found), len(found))) if len(found) >= 3 else None
        answer.append({"count": len(found) or None, "day": day, "price": mean})
    return answer


# --- the rules ---------------------------------------------------------------------------------------------


def test_every_day_is_answered_newest_first_with_mean_and_count(service: Service) -> None:
    assert service.rates(*LANE, "2021-03-02", "2021-03-06") == [
        {"count": None, "day": "2021-03-06", "price": None},
        {"count": 3, "day": "2021-03-05", "price": 1154.3333333333333},
        {"count": None, "day": "2021-03-04", "price": None},
        {"count": 2, "day": "2021-03-03", "price": None},
        {"count": None, "day": "2021-03-02", "price": None},
    ]


def test_the_bytes_are_the_originals_shape(service: Service) -> None:
    answer = service.get(
        "/rates", date_from="2021-03-05", date_to="2021-03-05", orig_code=LANE[0], dest_code=LANE[1]
    )
    assert answer.text == '{"rates":[{"count":3,"day":"2021-03-05","price":1154.3333333333333}]}'


@pytest.mark.parametrize("orig_code", PLACES)
def test_every_pair_of_places_is_answered_by_its_definition(service: Service, orig_code: str) -> None:
    for dest_code in PLACES:
        answer = service.rates(orig_code, dest_code, str(FIRST), str(LAST))
        assert answer == expected(orig_code, dest_code), dest_code


def test_the_definition_has_every_case() -> None:
    """What the test above relies on."""
    world = expected("world", "world")
    assert all(day["price"] for day in world)
    assert ports_of("world") == PORTS.keys()
    assert ports_of("asia") > ports_of("china") > ports_of("china_east") > set()
    assert ports_of("SGSIN") == {"SGSIN"}
    assert ports_of("empty_sea") == ports_of("XXXXX") == set()
    assert {day["count"] for day in expected("CNSGH", "DEHAM")} >= {None, 1, 3}
    assert expected("CNSGH", "DEHAM") != expected("DEHAM", "CNSGH")


def test_a_code_that_is_a_port_and_a_region_is_the_port(service: Service) -> None:
    assert service.rates("SGSIN", "DEHAM", str(FIRST), str(LAST)) != service.rates(
        "asia", "DEHAM", str(FIRST), str(LAST)
    )
    assert service.rates("SGSIN", "DEHAM", str(FIRST), str(LAST)) == expected("SGSIN", "DEHAM")


@pytest.mark.parametrize("code", ["cnggz", "CNGGZ ", " CNGGZ", "CNGG%", "CNGG_", "'; --", "ÅØ", "中国", "🚢"])
def test_a_code_is_met_exactly_or_not_at_all(service: Service, code: str) -> None:
    assert service.rates(code, LANE[1], "2021-03-05") == [{"count": None, "day": "2021-03-05", "price": None}]


# --- days --------------------------------------------------------------------------------------------------


def test_a_reversed_range_has_no_days(service: Service) -> None:
    assert service.rates(*LANE, "2021-03-06", "2021-03-05") == []
    assert service.rates(*LANE, "9999-12-31", "0001-01-01") == []


@pytest.mark.parametrize("day", ["2021-3-5", "2021-03-5", "2021-3-05", "2021-03-05"])
def test_a_month_or_day_of_one_digit_is_taken(service: Service, day: str) -> None:
    (answer,) = service.rates(*LANE, day)
    assert (answer["day"], answer["count"]) == ("2021-03-05", 3)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2020-02-28", "2020-03-01", ["2020-03-01", "2020-02-29", "2020-02-28"]),
        ("2021-02-28", "2021-03-01", ["2021-03-01", "2021-02-28"]),
        ("2020-12-31", "2021-01-01", ["2021-01-01", "2020-12-31"]),
        ("2021-04-30", "2021-05-01", ["2021-05-01", "2021-04-30"]),
        ("0001-01-01", "0001-01-02", ["0001-01-02", "0001-01-01"]),
        ("9999-12-30", "9999-12-31", ["9999-12-31", "9999-12-30"]),
    ],
)
def test_the_calendar_is_kept(service: Service, first: str, last: str, days: list[str]) -> None:
    assert [answer["day"] for answer in service.rates("XXXXX", "XXXXX", first, last)] == days


@pytest.mark.parametrize(("first", "last"), [("2020-01-01", "2020-12-31"), ("2021-01-01", "2022-01-01")])
def test_a_leap_year_is_the_longest_range(service: Service, first: str, last: str) -> None:
    answers = service.rates("world", "world", first, last)
    assert len(answers) == 366
    assert len({answer["day"] for answer in answers}) == 366


def test_prices_beyond_the_range_do_not_count(service: Service) -> None:
    assert [answer["count"] for answer in service.rates(*LANE, "2021-03-04", "2021-03-04")] == [None]
    assert [answer["count"] for answer in service.rates(*LANE, "2021-03-05", "2021-03-05")] == [3]
