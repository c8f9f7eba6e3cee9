"""GET /lanes: what a port or a region has prices to, whatever the prices are made of."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from random import Random

import falcon
import falcon.testing
import pytest

from api.answers import Answers
from api.data_version import NewestVersion
from api.lanes import Lanes
from api.store import Store
from database.connect import make_pool
from loader.withdraw import withdraw
from tests.api.ingestion import refused
from tests.api.service import Service
from tests.api.world import PORTS, REGIONS, Price, fold_all, load_prices, ports_of
from tests.postgres import Database

PLACES = sorted({*PORTS, *REGIONS})
MONTHS = ["2020-11", "2020-12", "2021-02", "2021-03"]
# Of a batch that is not published: they have a row in the index, and count nowhere.
UNSEEN = """
    INSERT INTO lane_month_deltas
    SELECT 99, 0, '2021-05-01', orig.code, dest.code, '{1}', '{9}', '{9}' FROM ports AS orig, ports AS dest
"""


def many_prices(seed: int) -> list[Price]:
    """Some prices of some months of some lanes, the same ones each run."""
    random = Random(seed)  # noqa: S311
    return [
        (orig, dest, f"{month}-{random.randint(1, 28):02}", random.randint(1, 9_999))
        for orig, dest, month in product(PORTS, PORTS, MONTHS)
        if orig != dest and random.random() < 0.15
        for _ in range(random.randint(1, 3))
    ]


FOLDED, POSTED, UNPOSTED, REVERSED = (many_prices(seed) for seed in range(4))


@pytest.fixture(scope="module", autouse=True)
def prices(filled: Database) -> None:
    """One batch is in the base, one is not folded yet; one was taken back before it was folded, and another
    after, by a reversal that is not folded: until it is, the base has lanes without a price."""
    assert load_prices(filled, FOLDED).state == "published"
    back = load_prices(filled, REVERSED)
    assert fold_all(filled) > 0
    assert load_prices(filled, POSTED).state == "published"
    with filled.connect("rates_loader") as connection:
        withdraw(connection, str(back.batch))
        withdraw(connection, str(load_prices(filled, UNPOSTED).batch))
    with filled.connect() as owner:
        owner.execute(UNSEEN)


def expected(orig_code: str, dest_code: str | None = None) -> list[dict]:
    """The lanes by their definition, price by price."""
    days = defaultdict(list)
    for orig, dest, day, _ in FOLDED + POSTED:
        if orig in ports_of(orig_code) and (dest_code is None or dest in ports_of(dest_code)):
            days[orig, dest].append(day[:7])
    return [
        {
            "orig_code": orig,
            "dest_code": dest,
            "first_month": min(months),
            "last_month": max(months),
            "months": len({*months}),
            "prices": len(months),
        }
        for (orig, dest), months in sorted(days.items())
    ]


def lanes(service: Service, **parameters: str) -> list[dict]:
    """All of them, of one page."""
    answer = service.get("/lanes", **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"lanes", "next"}
    assert answer.json()["next"] is None
    return answer.json()["lanes"]


def pages(get: Callable[[str], dict], address: str) -> Iterator[list[dict]]:
    """Each page, from one to the next by the address that is given for it."""
    while address:
        body = get(address)
        yield body["lanes"]
        address = body["next"]


def got_from(service: Service) -> Callable[[str], dict]:
    return lambda address: service.get(address).json()


@pytest.mark.parametrize("orig_code", PLACES)
def test_the_lanes_of_a_place_are_those_with_prices_to_anywhere_and_to_each_place(
    service: Service, orig_code: str
) -> None:
    assert lanes(service, orig_code=orig_code) == expected(orig_code)
    for dest_code in PLACES:
        assert lanes(service, orig_code=orig_code, dest_code=dest_code) == expected(orig_code, dest_code)


def test_the_definition_has_every_case() -> None:
    """What the test above relies on."""
    counted = {(lane["orig_code"], lane["dest_code"]) for lane in expected("world")}
    for back in (REVERSED, UNPOSTED):
        assert {price[:2] for price in back} - counted
        assert {price[:2] for price in back} & counted
    assert {price[:2] for price in FOLDED} & {price[:2] for price in POSTED}
    assert {lane["months"] for lane in expected("world")} >= {1, 2}
    assert expected("empty_sea") == []
    assert len(PORTS) ** 2 - len(PORTS) > len(counted) > len(expected("asia", "europe")) > 2


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize(
    "question", ["orig_code=world", "orig_code=world&dest_code=europe", "orig_code=CNSGH"]
)
def test_pages_add_up_to_all_whatever_is_withdrawn_among_them(
    service: Service, question: str, limit: int
) -> None:
    found = list(pages(got_from(service), f"/lanes?{question}&limit={limit}"))
    assert max(map(len, found)) <= limit
    assert [lane for each in found for lane in each] == expected(
        *[part.partition("=")[2] for part in question.split("&")]
    )


@pytest.mark.parametrize("limit", ["2", "1000"])
def test_csv_has_the_same_lanes_and_a_header_says_where_the_next_page_is(
    service: Service, limit: str
) -> None:
    address, found = f"/lanes?orig_code=world&dest_code=europe&limit={limit}", []
    while address:
        page = service.client.get(address, headers={"Accept": "text/csv"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/csv; charset=utf-8")
        first, *lines = csv.reader(io.StringIO(page.text, newline=""))
        found += [dict(zip(first, line, strict=True)) for line in lines]
        in_json = service.get(address)
        address = page.links["next"]["url"] if page.links else None
        assert (in_json.links, in_json.json()["next"]) == (page.links, address)
    lanes_of_europe = expected("world", "europe")
    assert len(lanes_of_europe) > 4
    assert found == [{name: str(value) for name, value in lane.items()} for lane in lanes_of_europe]


def test_csv_of_no_lanes_is_the_names_of_the_fields(service: Service) -> None:
    answer = service.client.get("/lanes?orig_code=empty_sea", headers={"Accept": "text/csv"})
    assert answer.text == "orig_code,dest_code,first_month,last_month,months,prices\r\n"
    assert "link" not in answer.headers


def test_a_page_begins_behind_a_lane_that_there_need_not_be(service: Service) -> None:
    world = expected("world")
    for orig, dest in product([*PORTS, "", "D", "ZZ"], ["", "DEHAM", "ZZ"]):
        behind = [lane for lane in world if (lane["orig_code"], lane["dest_code"]) > (orig, dest)]
        assert lanes(service, orig_code="world", after=f"{orig}/{dest}") == behind, (orig, dest)
    assert lanes(service, orig_code="DEHAM", after="CNSGH/ZZ") == expected("DEHAM")
    assert lanes(service, orig_code="DEHAM", after="EETLL/") == []


@pytest.mark.parametrize("steps_max", [1, 3])
def test_a_search_that_finds_little_is_cut_and_goes_on_where_it_was(filled: Database, steps_max: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in filled.environment("rates_api").items():
            patch.setenv(name, value)
        with make_pool("test", size_max=1) as pool:
            store = Store(pool)
            app = falcon.App()
            answers = Answers(store, NewestVersion(pool.getconn), bytes_max=0)
            app.add_route("/lanes", Lanes(store, answers, steps_max))
            client = falcon.testing.TestClient(app)
            found = list(
                pages(
                    lambda address: client.simulate_get(address).json,
                    "/lanes?orig_code=world&dest_code=baltic",
                )
            )
    assert [] in found
    assert [lane for each in found for lane in each] == expected("world", "baltic")


def test_codes_of_any_characters_are_turned_over(database: Database) -> None:
    with database.connect() as owner:
        owner.execute("INSERT INTO regions VALUES ('all', 'All', NULL)")
        owner.execute(
            "INSERT INTO ports SELECT code, '', 'all' FROM unnest('{a/b,a b,%2F,é&c=d}'::text[]) AS code"
        )
        owner.execute(UNSEEN)
        owner.execute("INSERT INTO postings VALUES (99)")
    with Service(database.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        address = "/lanes?orig_code=all&limit=1"
        found = [lane for each in pages(got_from(service), address) for lane in each]
        for _ in range(len(found) - 1):
            linked = service.client.get(address, headers={"Accept": "text/csv"}).links["next"]["url"]
            assert linked == service.get(address).json()["next"]
            address = linked
    codes = sorted(["a/b", "a b", "%2F", "é&c=d"])
    assert [(lane["orig_code"], lane["dest_code"]) for lane in found] == list(product(codes, codes))


def test_a_place_that_there_is_not_is_named(service: Service) -> None:
    told = refused(service.get("/lanes", orig_code="cnsgh"), 400, "unknown_code")
    assert told == "orig_code is 'cnsgh'; there is no port of this code and no region of this slug."
    told = refused(service.get("/lanes", orig_code="CNSGH", dest_code="XX"), 400, "unknown_code")
    assert told.startswith("dest_code is 'XX'; ")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "missing_parameter"),
        ("orig_code=", "missing_parameter"),
        ("orig_code=CNSGH&dest_code=", "unknown_code"),
        ("orig_code=%00", "invalid_code"),
        ("orig_code=CNSGH&limit=0", "invalid_limit"),
        ("orig_code=CNSGH&after=DEHAM", "invalid_after"),
        ("orig_code=CNSGH&after=a/b/c", "invalid_after"),
        ("orig_code=CNSGH&after=CNSGH/%2500", "invalid_after"),
        ("orig_code=CNSGH&after=CNSGH/%00", "invalid_after"),
        ("orig_code=CNSGH&date_from=2021-01-01", "unknown_parameter"),
    ],
)
def test_what_cannot_be_asked_is_refused(service: Service, query: str, code: str) -> None:
    refused(service.get(f"/lanes?{query}"), 400, code)
