"""GET /ports and /regions: what a picker of places asks for."""

from __future__ import annotations

import httpx
import pytest

from loader.places import Places, Port, Region
from tests.api.ingestion import refused
from tests.api.service import Service
from tests.api.world import load_prices
from tests.postgres import Database
from tests.waiting import wait_until

REGIONS = [
    Region("world", "World", None),
    Region("europe", "Europe", "world"),
    Region("northern_europe", "Northern Europe", "europe"),
    Region("north_sea", "German Bight", "northern_europe"),
    Region("guinea", "Golfe de Guinée", "world"),
    Region("lost", "Atlantis", None),
]
PORTS = [
    Port("DEHAM", "Hamburg", "north_sea"),
    Port("DEGRO", "Großefehn", "north_sea"),
    Port("DKARO", "Ærøskøbing", "northern_europe"),
    Port("FOTOR", "Tórshavn", "northern_europe"),
    Port("FRNZE", "Saint-Nazaire", "europe"),
    Port("GRPIR", "Πειραιάς", "europe"),
    Port("HRDUR", "Đurđevac", "europe"),
    Port("ISTHO", "Þorlákshöfn", "northern_europe"),
    Port("PLLOD", "Łódź", "europe"),
    Port("RUVVO", "Владивосток", "world"),
    Port("STTMS", "São Tomé", "guinea"),
    Port("TRIST", "İstanbul", "europe"),
    Port("TRIGD", "I\u011fd\u0131r 100%", "europe"),
    Port("VNSGN", "Hồ Chí Minh", "world"),
    Port("WFLEA", "L'Œil_de Mer", "world"),
]
PRICES = [("DEHAM", "STTMS", "2021-01-01", 100)]
ALL = sorted(port.code for port in PORTS)
SEARCHES = {
    "hamburg": ["DEHAM"],
    "HAMBURG": ["DEHAM"],
    "lodz": ["PLLOD"],
    "ŁÓDŹ": ["PLLOD"],
    "Ło\u0301dz\u0301": ["PLLOD"],  # decomposed already
    "grossefehn": ["DEGRO"],
    "GROẞEFEHN": ["DEGRO"],
    "aeroskobing": ["DKARO"],
    "ærøskøbing": ["DKARO"],
    "torshavn": ["FOTOR"],
    "thorlaks": ["ISTHO"],
    "þorláks": ["ISTHO"],
    "durdevac": ["HRDUR"],
    "istanbul": ["TRIST"],
    "igdir": ["TRIGD"],
    "ISTANBUL": ["TRIST"],
    "sao tome": ["STTMS"],
    "tomé são": ["STTMS"],
    "sao hamburg": [],
    "ho chi minh": ["VNSGN"],
    "\uff28\uff21\uff2d": ["DEHAM"],  # as wide as Chinese ones
    "ВЛАДИ": ["RUVVO"],
    "πειραιας": ["GRPIR"],
    "saint nazaire": ["FRNZE"],
    "saint-nazaire": ["FRNZE"],
    "SaintNazaire": ["FRNZE"],
    "saint\u2019nazaire": ["FRNZE"],
    "  saint \t nazaire  ": ["FRNZE"],
    "l'oeil_de": ["WFLEA"],
    "nazaire": ["FRNZE"],
    "dk": ["DKARO"],
    "TRI": ["TRIGD", "TRIST"],
    "wfl mer": ["WFLEA"],
    "eham": [],  # within the code, not at its beginning
    "100%": ["TRIGD"],
    "1%0": ["TRIGD"],  # and not whatever has a 1 somewhere before a 0
    "_": ALL,
    "": ALL,
    "nowhere": [],
    "hamburg dehamx": [],
}


@pytest.fixture(scope="module", autouse=True)
def places(filled: Database) -> None:
    assert load_prices(filled, PRICES, places=Places(REGIONS, PORTS)).state == "published"


def page(service: Service, path: str, **parameters: str) -> list[dict]:
    """The whole list, which is one page."""
    answer = service.get(path, **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {path[1:], "next"}
    assert answer.json()["next"] is None
    return answer.json()[path[1:]]


def ports(service: Service, **parameters: str) -> list[str]:
    return [port["code"] for port in page(service, "/ports", **parameters)]


def regions(service: Service, **parameters: str) -> list[str]:
    return [region["slug"] for region in page(service, "/regions", **parameters)]


def pages(service: Service, path: str, **parameters: str) -> list[list[str]]:
    """The codes of each page, from one to the next by the address that is given for it."""
    found, answer = [], service.get(path, **parameters)
    while True:
        body = answer.json()
        found.append([place.get("code") or place["slug"] for place in body[path[1:]]])
        if body["next"] is None:
            return found
        answer = service.client.get(body["next"])


# --- what is told ------------------------------------------------------------------------------------------


def test_a_port_is_told_with_the_regions_above_it_up_to_the_top(service: Service) -> None:
    assert page(service, "/ports", name="hamburg") == [
        {
            "code": "DEHAM",
            "name": "Hamburg",
            "region": "north_sea",
            "regions": ["north_sea", "northern_europe", "europe", "world"],
        }
    ]
    assert page(service, "/ports", name="Владивосток") == [
        {"code": "RUVVO", "name": "Владивосток", "region": "world", "regions": ["world"]}
    ]


def test_a_region_is_told_with_its_parent_and_how_many_ports_are_below(service: Service) -> None:
    told = {region.pop("slug"): region for region in page(service, "/regions")}
    assert told == {
        "world": {"name": "World", "parent": None, "ports": 15},
        "europe": {"name": "Europe", "parent": "world", "ports": 11},
        "northern_europe": {"name": "Northern Europe", "parent": "europe", "ports": 5},
        "north_sea": {"name": "German Bight", "parent": "northern_europe", "ports": 2},
        "guinea": {"name": "Golfe de Guinée", "parent": "world", "ports": 1},
        "lost": {"name": "Atlantis", "parent": None, "ports": 0},
    }


# --- searching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "codes"), SEARCHES.items(), ids=map(ascii, SEARCHES))
def test_a_port_is_found_by_words_of_its_name_or_the_beginning_of_its_code(
    service: Service, name: str, codes: list[str]
) -> None:
    assert ports(service, name=name) == codes


def test_ports_are_those_of_a_region_at_whatever_depth(service: Service) -> None:
    assert ports(service) == ports(service, region="world") == ALL
    assert ports(service, region="northern_europe") == ["DEGRO", "DEHAM", "DKARO", "FOTOR", "ISTHO"]
    assert ports(service, region="north_sea") == ["DEGRO", "DEHAM"]
    assert ports(service, region="lost") == []
    assert ports(service, region="northern_europe", name="ha") == ["DEHAM", "FOTOR"]


def test_regions_are_found_by_name_slug_and_parent(service: Service) -> None:
    assert regions(service, name="guinee") == regions(service, name="GOLFE") == ["guinea"]
    assert (
        regions(service, name="northern_europe") == regions(service, name="northern") == ["northern_europe"]
    )
    assert regions(service, name="north") == ["north_sea", "northern_europe"]
    assert regions(service, name="sea") == []
    assert regions(service, parent="world") == ["europe", "guinea"]
    assert regions(service, parent="world", name="eur") == ["europe"]
    assert regions(service, parent="") == ["lost", "world"]
    assert regions(service, parent="north_sea") == []


# --- pages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 4, 5, 14, 15, 16])
def test_pages_add_up_to_all_and_the_last_one_has_no_next(service: Service, limit: int) -> None:
    found = pages(service, "/ports", limit=str(limit))
    assert [code for each in found for code in each] == ALL
    assert {len(each) for each in found[:-1]} <= {limit}
    assert len(found) == -(-len(ALL) // limit)


def test_the_next_page_answers_the_same_question(service: Service) -> None:
    question = {"region": "europe", "name": "r e", "limit": "2"}
    expected = ports(service, region="europe", name="r e")
    assert len(expected) == 4
    assert [code for each in pages(service, "/ports", **question) for code in each] == expected
    assert pages(service, "/regions", parent="world", limit="1") == [["europe"], ["guinea"]]
    assert service.get("/ports", limit="1").json()["next"] == "/ports?limit=1&after=DEGRO"


def test_a_page_begins_behind_a_code_that_there_need_not_be(service: Service) -> None:
    assert ports(service, after="TRIH") == ["TRIST", "VNSGN", "WFLEA"]
    assert ports(service, after="WFLEA") == []
    assert ports(service, after="P", region="europe") == ["PLLOD", "TRIGD", "TRIST"]


# --- CSV ---------------------------------------------------------------------------------------------------


def in_csv(service: Service, address: str) -> httpx.Response:
    answer = service.client.get(address, headers={"Accept": "text/csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    return answer


def test_csv_has_a_line_for_each_place_and_a_header_says_where_the_next_page_is(service: Service) -> None:
    answer = in_csv(service, "/ports?name=h&limit=2")
    assert answer.text == (
        "code,name,region,regions\r\n"
        "DEGRO,Großefehn,north_sea,north_sea northern_europe europe world\r\n"
        "DEHAM,Hamburg,north_sea,north_sea northern_europe europe world\r\n"
    )
    assert answer.headers["link"] == '</ports?name=h&limit=2&after=DEHAM>; rel="next"'
    answer = in_csv(service, answer.links["next"]["url"])
    assert [line.partition(",")[0] for line in answer.text.splitlines()] == ["code", "FOTOR", "HRDUR"]
    answer = in_csv(service, "/regions?name=w")
    assert answer.text == "slug,name,parent,ports\r\nworld,World,,15\r\n"
    assert "link" not in answer.headers


@pytest.mark.parametrize("path", ["/ports", "/regions"])
def test_the_header_says_of_the_next_page_what_json_says(service: Service, path: str) -> None:
    answer = service.get(path, name="é e", limit="1")
    assert answer.links["next"]["url"] == answer.json()["next"] is not None
    assert "link" not in service.get(path).headers


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_region_that_there_is_not_is_named(service: Service) -> None:
    told = refused(service.get("/ports", region="atlantis"), 400, "unknown_code")
    assert told == "region is 'atlantis'; there is no region of this slug."
    assert "DEHAM" in refused(service.get("/ports", region="DEHAM"), 400, "unknown_code")
    told = refused(service.get("/regions", parent="atlantis"), 400, "unknown_code")
    assert told == "parent is 'atlantis'; there is no region of this slug."


@pytest.mark.parametrize("path", ["/ports", "/regions"])
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_limit"),
        ("limit=1001", "invalid_limit"),
        ("limit=", "invalid_limit"),
        ("name=%00", "invalid_name"),
        ("name=%ff", "invalid_name"),
        ("name=" + "x" * 101, "invalid_name"),
        ("after=%00", "invalid_code"),
        ("names=x", "unknown_parameter"),
        ("name=a&name=b", "repeated_parameter"),
    ],
)
def test_what_cannot_be_asked_is_refused(service: Service, path: str, query: str, code: str) -> None:
    refused(service.get(f"{path}?{query}"), 400, code)


# --- versions ----------------------------------------------------------------------------------------------


def test_a_port_that_an_import_renames_or_moves_is_answered_anew(database: Database) -> None:
    """By an API that keeps its answers."""
    load_prices(database, PRICES, places=Places(REGIONS, PORTS))
    with Service(database.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:

        def ask(tag: str = "") -> httpx.Response:
            headers = {"If-None-Match": tag} if tag else {}
            return service.client.get("/ports?name=Vladivostok", headers=headers)

        before = ask()
        tag = before.headers["etag"]
        assert before.json()["ports"] == []
        assert regions(service, name="atlantis") == ["lost"]
        assert ask(tag).status_code == 304
        renamed = Places([], [Port("RUVVO", "Vladivostok", "lost")])
        assert load_prices(database, PRICES, places=renamed).state == "published"
        wait_until(lambda: ask(tag).status_code == 200)
        after = ask()
        assert after.json()["ports"] == [
            {"code": "RUVVO", "name": "Vladivostok", "region": "lost", "regions": ["lost"]}
        ]
        assert int(after.headers["data-version"]) == int(before.headers["data-version"]) + 1
        (lost,) = page(service, "/regions", name="atlantis")
        assert lost["ports"] == 1
