"""Ports that later imports move to other regions: each answer, kept or not, is what prices add up to now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from loader.dump import Dump
from loader.load import Options, load
from loader.withdraw import withdraw
from tests.api import world
from tests.api.service import Service
from tests.loader.dumps import dump_text, write_dump
from tests.postgres import Database
from tests.waiting import wait_until

# A dump has no region of a port's code.
REGIONS = {slug: parent for slug, parent in world.REGIONS.items() if slug != "SGSIN"} | {"straits": "asia"}
PORTS = {code: "straits" if slug == "SGSIN" else slug for code, slug in world.PORTS.items()}
DAYS = ("2021-01-31", "2021-02-01")  # in two months
PRICED = """
SELECT orig_code, dest_code, day::text, price
FROM prices JOIN batches USING (batch_no) WHERE state = 'published'
"""
PARENTS = "SELECT slug, parent_slug FROM regions"
PLACED = "SELECT code, parent_slug FROM ports"
# Which ports, and which regions with all that is in them, an import moves where: up, down, across, to where
# no port was and away again, and back.
MOVES: list[dict[str, str]] = [
    {},
    {"CNSGH": "baltic", "DEHAM": "china_east"},
    {"CNGGZ": "empty_sea", "LVRIX": "world", "china_east": "europe"},
    {"CNSGH": "china_east", "DEHAM": "europe", "EETLL": "straits", "straits": "empty_sea"},
    {"CNGGZ": "china", "LVRIX": "baltic", "EETLL": "baltic", "china_east": "china", "straits": "asia"},
]


@pytest.fixture
def service(as_loader: Database) -> Iterator[Service]:
    """It keeps answers, and each is asked of the same worker."""
    with Service(as_loader.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        yield service


def import_moved(path: Path, moved: dict[str, str], seed: int) -> UUID:
    """Places as they are moved by then, and a few prices of most lanes."""
    chance = Random(seed)  # noqa: S311
    regions = [(slug, slug.title(), moved.get(slug, parent)) for slug, parent in REGIONS.items()]
    ports = [(code, code.title(), moved.get(code, slug)) for code, slug in PORTS.items()]
    prices = [
        (orig, dest, day, chance.randrange(1, 5_000))
        for orig, dest, day in product(PORTS, PORTS, DAYS)
        for _ in range(chance.randrange(3))
    ]
    source = Dump(write_dump(path / f"{seed}.sql", dump_text(regions, ports, prices)))
    result = load(source, Options(key=str(seed), add=True), places=source.places)
    assert result.state == "published"
    assert result.batch
    return result.batch


class Recount:
    """From the prices and the tree alone: a port counts for each region that it is anywhere below."""

    def __init__(self, database: Database) -> None:
        parents = dict(database.rows(PARENTS))
        self.below: dict[str, set[str]] = {slug: set() for slug in parents}
        placed = dict(database.rows(PLACED))
        for code, slug in placed.items():
            region = slug
            while region is not None:
                self.below[region].add(code)
                region = parents[region]
        for code in placed:
            self.below[code] = {code}
        self.priced: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for orig, dest, day, price in database.rows(PRICED):
            self.priced[orig, dest, day].append(price)

    def answer(self, orig_code: str, dest_code: str) -> list[dict]:
        return [self.rate(orig_code, dest_code, day) for day in sorted(DAYS, reverse=True)]

    def rate(self, orig_code: str, dest_code: str, day: str) -> dict:
        lanes = product(self.below[orig_code], self.below[dest_code])
        found = [price for orig, dest in lanes for price in self.priced[orig, dest, day]]
        mean = float(Fraction(sum(found), len(found))) if len(found) >= 3 else None
        return {"count": len(found) or None, "day": day, "price": mean}


def test_every_region_is_recounted_after_each_import_that_moves_ports(
    service: Service, as_loader: Database, tmp_path: Path
) -> None:
    tags: dict[tuple[str, str], str] = {}
    moved: dict[str, str] = {}
    batches: list[UUID] = []

    def check() -> dict[tuple[str, str], list[dict]]:
        """Some twice, the second time out of memory; and no answer is a 304."""
        recount = Recount(as_loader)
        ((version,),) = as_loader.rows("SELECT version FROM data_version")
        wait_until(lambda: service.get(path_of("world", "world")).headers["data-version"] == str(version))
        answered = {}
        for number, lane in enumerate(product([*REGIONS, "CNSGH"], REGIONS)):
            first = service.client.get(path_of(*lane), headers={"If-None-Match": tags.get(lane, "")})
            assert first.status_code == 200, lane
            assert first.json()["rates"] == recount.answer(*lane), lane
            if number % 4 == 0:
                assert service.get(path_of(*lane)).content == first.content
            tags[lane] = first.headers["etag"]
            answered[lane] = first.json()["rates"]
        return answered

    seen = []
    for number, moves in enumerate(MOVES):
        moved |= moves
        batches.append(import_moved(tmp_path, moved, number))
        seen.append(check())
        if number == 2:
            world.fold_all(as_loader)
    with as_loader.connect("rates_loader") as connection:
        for batch in (batches[1], batches[4]):  # folded, and not
            withdraw(connection, str(batch))
            seen.append(check())
    for before, after in pairwise(seen):
        assert sum(before[lane] != after[lane] for lane in before) > 25, "there was something to see"
    assert {slug for slug in REGIONS if Recount(as_loader).below[slug]} == REGIONS.keys() - {"empty_sea"}


def path_of(orig_code: str, dest_code: str) -> str:
    return f"/rates?date_from={DAYS[0]}&date_to={DAYS[1]}&orig_code={orig_code}&dest_code={dest_code}"
