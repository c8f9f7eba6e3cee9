"""Places corrected by hand, in SQL: an API that keeps answers gives the new ones once it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.service import ONLY_TOLD, Service
from tests.api.world import load_prices
from tests.postgres import Database
from tests.waiting import wait_until

DAY = "2021-01-01"
PRICES = [("CNSGH", "DEHAM", DAY, price) for price in (5, 6, 8)]
QUESTIONS = [
    f"/rates?date_from={DAY}&date_to={DAY}&orig_code=china&dest_code=europe",
    f"/rates?date_from={DAY}&date_to={DAY}&orig_code=CNSGH&dest_code=north",
    "/lanes?orig_code=asia",
    "/ports",
    "/regions",
]
# What is done, and how many of the answers it changes.
CORRECTIONS = {
    "INSERT INTO regions VALUES ('north', 'North', 'europe')": 1,
    "UPDATE ports SET parent_slug = 'north' WHERE code = 'DEHAM'": 3,
    "UPDATE ports SET name = 'Hamburg (Elbe)' WHERE code = 'DEHAM'": 1,
    "UPDATE regions SET parent_slug = 'asia' WHERE slug = 'north'": 3,
    "INSERT INTO ports VALUES ('SEGOT', 'Göteborg', 'north')": 2,
    "DELETE FROM ports WHERE code = 'SEGOT'": 2,
    "DELETE FROM regions WHERE slug = 'empty_sea'": 1,
    "TRUNCATE ports CASCADE": 4,
}


@pytest.fixture
def keeping(filled: Database) -> Iterator[Service]:
    own = {"WEB_CONCURRENCY": "1"}
    with Service(filled.environment("rates_api") | own, changed=ONLY_TOLD) as service:
        yield service


def test_every_answer_is_new_as_soon_as_the_api_is_told_of_a_correction(
    filled: Database, service: Service, keeping: Service
) -> None:
    """As one says that keeps nothing."""
    load_prices(filled, PRICES)
    for correction, changed in CORRECTIONS.items():
        before = [keeping.get(question) for question in QUESTIONS]
        again = [
            keeping.client.get(question, headers={"If-None-Match": answer.headers["etag"]})
            for question, answer in zip(QUESTIONS, before, strict=True)
        ]
        assert {answer.status_code for answer in again} == {304}
        with filled.connect() as owner:
            owner.execute(correction.encode())
        right = [service.get(question).json() for question in QUESTIONS]
        assert sum(answer.json() != it for answer, it in zip(before, right, strict=True)) == changed, (
            correction
        )
        wait_until(lambda right=right: [keeping.get(one).json() for one in QUESTIONS] == right)
