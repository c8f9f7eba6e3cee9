"""What of a batch counts in the answers: all once it is published, none before, the same when folded."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from loader.errors import Stopped
from loader.withdraw import withdraw
from tests.api.service import Service
from tests.api.world import PLACES, PORTS, Price, fold_all, load_prices
from tests.postgres import Database

NO_PRICES = {"count": None, "price": None}


@pytest.fixture(scope="module", autouse=True)
def places(filled: Database) -> None:
    load_prices(filled, [("DEHAM", "LVRIX", "1999-01-01", 1)], places=PLACES)


def told(service: Service, lane: tuple[str, str], day: str) -> dict:
    (answer,) = service.rates(*lane, day)
    assert answer.pop("day") == day
    return answer


def priced(lane: tuple[str, str], day: str, *prices_usd: int) -> list[Price]:
    return [(*lane, day, usd) for usd in prices_usd]


def test_batches_add_up_and_a_day_that_is_too_thin_in_each_may_have_a_mean(
    filled: Database, service: Service
) -> None:
    lane, day = ("CNSGH", "DEHAM"), "2021-01-01"
    load_prices(filled, priced(lane, day, 100))
    assert told(service, lane, day) == {"count": 1, "price": None}
    load_prices(filled, priced(lane, day, 200))
    assert told(service, lane, day) == {"count": 2, "price": None}
    load_prices(filled, priced(lane, day, 600))
    assert told(service, lane, day) == {"count": 3, "price": 300.0}


def test_a_thin_lane_counts_in_the_region_above_it(filled: Database, service: Service) -> None:
    day = "2021-01-02"
    for orig in ("CNSGH", "CNNGB", "CNGGZ"):
        load_prices(filled, priced((orig, "EETLL"), day, 900))
    assert told(service, ("CNSGH", "EETLL"), day) == {"count": 1, "price": None}
    assert told(service, ("china_east", "EETLL"), day) == {"count": 2, "price": None}
    assert told(service, ("china", "baltic"), day) == {"count": 3, "price": 900.0}


def test_folding_changes_no_byte_of_any_answer(filled: Database, service: Service) -> None:
    first = date(2021, 2, 1)
    for batch in range(3):
        load_prices(
            filled,
            [
                (orig, dest, str(first + timedelta(days=back)), 100 + 7 * batch + back)
                for orig, dest in zip(PORTS, reversed(PORTS), strict=True)
                if orig != dest
                for back in range(28)
            ],
        )
    codes = [*PORTS, "world", "asia", "china", "europe"]
    days = {"date_from": "2021-01-01", "date_to": "2021-03-01"}

    def answers() -> list[bytes]:
        questions = [(orig, dest) for orig in codes for dest in codes]
        return [
            service.get("/rates", orig_code=orig, dest_code=dest, **days).content for orig, dest in questions
        ]

    before = answers()
    assert fold_all(filled) > 30
    assert answers() == before
    assert filled.rows("SELECT count(*) FROM lane_month_deltas") == [(0,)]


def test_a_batch_that_is_still_loading_is_not_seen(filled: Database, service: Service) -> None:
    lane, day = ("DEHAM", "CNSGH"), "2021-03-01"
    with pytest.raises(Stopped):
        load_prices(filled, priced(lane, day, *range(1, 400)), stop=iter([False, False, True]).__next__)
    assert filled.rows("SELECT count(*) FROM prices WHERE day = %s", day) == [(200,)]

    assert told(service, lane, day) == NO_PRICES
    fold_all(filled)
    assert told(service, lane, day) == NO_PRICES, "nor is it folded"


@pytest.mark.parametrize("folded", [False, True])
def test_a_batch_that_is_withdrawn_is_not_seen_any_more(
    filled: Database, service: Service, folded: bool
) -> None:
    lane, day, other_day = ("DEHAM", "CNGGZ"), "2021-03-05", "2021-03-06"
    load_prices(filled, [*priced(lane, day, 10, 20, 30), *priced(lane, other_day, 5)])
    batch = load_prices(filled, [*priced(lane, day, 1000), *priced(lane, other_day, 5, 5)]).batch
    assert told(service, lane, day) == {"count": 4, "price": 265.0}
    if folded:
        fold_all(filled)

    with filled.connect("rates_loader") as connection:
        withdraw(connection, str(batch))

    assert told(service, lane, day) == {"count": 3, "price": 20.0}
    assert told(service, lane, other_day) == {"count": 1, "price": None}
    fold_all(filled)
    assert told(service, lane, day) == {"count": 3, "price": 20.0}
    filled.rows("DELETE FROM lane_month_totals WHERE orig_code = 'DEHAM' RETURNING month")


def test_a_batch_with_one_bad_row_leaves_nothing_in_the_answers(filled: Database, service: Service) -> None:
    lane, day = ("DEHAM", "CNNGB"), "2021-03-02"
    result = load_prices(filled, [*priced(lane, day, *range(1, 300)), (*lane, "2021-02-30", 1)])
    assert result.state == "rejected"
    assert told(service, lane, day) == NO_PRICES


def test_a_region_that_moves_takes_its_prices_along(filled: Database, service: Service) -> None:
    lane, day = ("LVRIX", "SGJUR"), "2021-03-03"
    load_prices(filled, priced(lane, day, 10, 20, 60))
    assert told(service, ("europe", "asia"), day) == {"count": 3, "price": 30.0}
    filled.rows("UPDATE regions SET parent_slug = 'china' WHERE slug = 'baltic' RETURNING slug")
    try:
        assert told(service, ("europe", "asia"), day) == NO_PRICES
        assert told(service, ("china", "asia"), day) == {"count": 3, "price": 30.0}
    finally:
        filled.rows("UPDATE regions SET parent_slug = 'europe' WHERE slug = 'baltic' RETURNING slug")


def test_sums_past_32_bits_are_exact(filled: Database, service: Service) -> None:
    lane, day = ("SGJUR", "DEHAM"), "2021-03-04"
    most = 2**31 - 1
    load_prices(filled, priced(lane, day, most, most, most, most - 3))
    assert told(service, lane, day) == {"count": 4, "price": most - 0.75}
    fold_all(filled)
    assert told(service, lane, day) == {"count": 4, "price": most - 0.75}
