"""`GET /rates?widen=true`: a lane too thin to price is answered from the next wider regions that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import product
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from api.question import ALL_FIELDS, Question
from api.store import CONNECTION_SETTINGS
from api.totals import PRICES_MIN, Totals
from api.widening import Used, read_widened
from local.postgres import PostgresServer
from tests.api.service import Service
from tests.api.world import PORTS, Price, load_prices
from tests.examples import examples
from tests.postgres import Database, clone
from tests.waiting import TIMEOUT_S, wait_until

DAY, THIN_DAY, EMPTY_DAY = "2021-05-05", "2021-05-06", "2021-05-07"
# On DAY: three prices from Ningbo to Riga, two from Shanghai to Hamburg, and three from Jurong to Hamburg. On
# THIN_DAY: two from Ningbo to Riga, and no other in the world.
PRICES: list[Price] = [
    *(("CNNGB", "LVRIX", DAY, usd) for usd in (100, 200, 300)),
    *(("CNSGH", "DEHAM", DAY, usd) for usd in (1000, 2000)),
    *(("SGJUR", "DEHAM", DAY, usd) for usd in (10, 20, 30)),
    *(("CNNGB", "LVRIX", THIN_DAY, usd) for usd in (100, 200)),
]


@pytest.fixture(scope="module", autouse=True)
def prices(filled: Database) -> None:
    assert load_prices(filled, PRICES).state == "published"


def widened(service: Service, orig_code: str, dest_code: str, first: str, last: str = "") -> dict[str, Any]:
    """The answer, whose rates are those of a plain question about the places used, where it can be asked."""
    days = {"date_from": first, "date_to": last or first}
    answer = service.get("/rates", orig_code=orig_code, dest_code=dest_code, widen="true", **days)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["rates", "asked", "used", "orig_level", "dest_level"]
    assert body["asked"] == {"orig_code": orig_code, "dest_code": dest_code}
    if not PORTS.keys() & body["used"].values() or (body["orig_level"], body["dest_level"]) == (0, 0):
        assert body["rates"] == service.get("/rates", **body["used"], **days).json()["rates"]
    return body


def used(answer: dict[str, Any]) -> tuple[str, int, str, int]:
    return (
        *(answer["used"]["orig_code"], answer["orig_level"]),
        *(answer["used"]["dest_code"], answer["dest_level"]),
    )


@pytest.mark.parametrize(
    ("asked", "day", "expected"),
    [
        # It has a price already, and says so all the same.
        (("CNNGB", "LVRIX"), DAY, ("CNNGB", 0, "LVRIX", 0)),
        (("china_east", "baltic"), DAY, ("china_east", 0, "baltic", 0)),
        # One step up on both sides, a port to its region, is enough.
        (("CNSGH", "EETLL"), DAY, ("china_east", 1, "baltic", 1)),
        # Two prices are none: china_east to europe has five.
        (("CNSGH", "DEHAM"), DAY, ("china_east", 1, "europe", 1)),
        (("CNGGZ", "EETLL"), DAY, ("china", 1, "baltic", 1)),
        # A region goes to its parent.
        (("china", "empty_sea"), DAY, ("asia", 1, "world", 1)),
        # A side at its top waits for the other.
        (("world", "EETLL"), DAY, ("world", 0, "baltic", 1)),
        (("EETLL", "CNSGH"), DAY, ("world", 3, "world", 4)),
        # Nothing up to the top: both are there, whatever they lack.
        (("CNSGH", "EETLL"), THIN_DAY, ("world", 4, "world", 3)),
        (("CNSGH", "EETLL"), EMPTY_DAY, ("world", 4, "world", 3)),
        (("world", "world"), EMPTY_DAY, ("world", 0, "world", 0)),
        # What is no place has nothing above it.
        (("XXXXX", "EETLL"), DAY, ("XXXXX", 0, "world", 3)),
        (("XXXXX", "YYYYY"), DAY, ("XXXXX", 0, "YYYYY", 0)),
    ],
    ids=str,
)
def test_both_sides_go_up_together_until_there_is_a_price(
    service: Service, asked: tuple[str, str], day: str, expected: tuple[str, int, str, int]
) -> None:
    assert used(widened(service, *asked, day)) == expected


def test_one_day_with_a_price_is_enough_for_the_lane_as_it_was_asked(service: Service) -> None:
    answer = widened(service, "CNNGB", "LVRIX", DAY, EMPTY_DAY)
    assert used(answer) == ("CNNGB", 0, "LVRIX", 0)
    assert [(rate["count"], rate["price"]) for rate in answer["rates"]] == [
        *((None, None), (2, None)),
        (3, 200.0),
    ]


def test_a_price_beyond_the_range_is_none(service: Service) -> None:
    assert used(widened(service, "CNNGB", "LVRIX", THIN_DAY)) == ("world", 4, "world", 3)


def test_a_range_without_days_is_answered_as_it_was_asked(service: Service) -> None:
    answer = widened(service, "CNSGH", "EETLL", THIN_DAY, DAY)
    assert (answer["rates"], used(answer)) == ([], ("CNSGH", 0, "EETLL", 0))


def test_a_port_whose_region_is_called_as_a_port_is_answered_from_the_region(service: Service) -> None:
    """SGSIN is a port when it is asked for; the region of that name is the one above it, and above SGJUR."""
    of_jurong = [{"count": 3, "day": DAY, "price": 20.0}]
    assert service.rates("SGSIN", "DEHAM", DAY)[0]["count"] is None
    answer = widened(service, "SGSIN", "DEHAM", DAY)
    assert (used(answer), answer["rates"]) == (("SGSIN", 1, "europe", 1), of_jurong)
    answer = widened(service, "SGJUR", "baltic", DAY)
    assert (used(answer), answer["rates"]) == (("SGSIN", 1, "europe", 1), of_jurong)
    assert used(widened(service, "SGSIN", "EETLL", DAY)) == ("asia", 2, "europe", 2)


def test_not_to_widen_is_the_answer_without_the_parameter(service: Service) -> None:
    question = {"orig_code": "CNSGH", "dest_code": "EETLL", "date_from": DAY, "date_to": DAY}
    assert service.get("/rates", **question, widen="false").text == service.get("/rates", **question).text


def test_statements_that_are_prepared_stay_so(filled: Database) -> None:
    """psycopg prepares what is asked often by itself, and at a ROLLBACK would forget that and all others."""
    own = {"WEB_CONCURRENCY": "1", "API_THREADS": "1", "RATES_ANSWERS_BYTES_MAX": "0"}
    with Service(filled.environment("rates_api") | own) as service:
        for _ in range(10):
            assert service.get("/ports").status_code == 200
        widened(service, "CNSGH", "EETLL", DAY)
        assert service.rates("CNSGH", "EETLL", DAY)


def test_a_strict_question_knows_the_codes_that_were_asked_for(service: Service) -> None:
    question = {"date_from": DAY, "date_to": DAY, "widen": "true", "strict": "true"}
    assert service.get("/rates", orig_code="CNSGH", dest_code="EETLL", **question).status_code == 200
    answer = service.get("/rates", orig_code="CNSGH", dest_code="XXXXX", **question)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_code")


# --- by its definition, in any tree ------------------------------------------------------------------------

DAYS = [date(2021, 5, 5), date(2021, 5, 6)]


@dataclass(frozen=True)
class Tree:
    """Regions with their parents, ports with their regions, and how many prices lanes have on days."""

    regions: dict[str, str | None]
    ports: dict[str, str]
    counts: dict[tuple[str, str, date], int]

    def way_up(self, code: str) -> list[tuple[str, bool]]:
        """The place and those above it, each once: its name, and whether it is a region."""
        way = [(code, code not in self.ports)]
        above = self.ports.get(code) or self.regions.get(code)
        while above and (above, True) not in way:
            way.append((above, True))
            above = self.regions[above]
        return way

    def ports_of(self, place: tuple[str, bool]) -> set[str]:
        return {port for port in self.ports if place in self.way_up(port)}

    def answer(self, orig: str, dest: str, days: list[date]) -> tuple[Used, dict[date, int]]:
        """By the definition: the first pair on the way up with a price on any of the days, or the last."""
        ways = self.way_up(orig), self.way_up(dest)
        for step in range(max(map(len, ways))):
            levels = [min(step, len(way) - 1) for way in ways]
            places = [way[level] for way, level in zip(ways, levels, strict=True)]
            lanes = set(product(*map(self.ports_of, places)))
            found = Counter()
            for (lane_orig, lane_dest, day), count in self.counts.items():
                if (lane_orig, lane_dest) in lanes and day in days:
                    found[day] += count
            if any(count >= PRICES_MIN for count in found.values()):
                break
        return Used(places[0][0], places[1][0], *levels), dict(found)

    def write(self, connection: psycopg.Connection) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE lane_month_totals")
            cursor.execute("DELETE FROM ports")
            cursor.execute("DELETE FROM regions")
            cursor.executemany("INSERT INTO regions VALUES (%s, '', %s)", [*self.regions.items()])
            cursor.executemany("INSERT INTO ports VALUES (%s, '', %s)", [*self.ports.items()])
            for (orig, dest, day), count in self.counts.items():
                cursor.execute(
                    "INSERT INTO lane_month_totals VALUES (%s, %s, %s, %s, %s, %s)"
                    " ON CONFLICT (orig_code, dest_code, month) DO UPDATE SET"
                    " days = lane_month_totals.days || excluded.days,"
                    " price_sums = lane_month_totals.price_sums || excluded.price_sums,"
                    " price_counts = lane_month_totals.price_counts || excluded.price_counts",
                    [day.replace(day=1), orig, dest, [day.day], [100 * count], [count]],
                )


@st.composite
def trees(draw: Callable) -> Tree:
    """A few levels deep; some regions are above themselves, and some ports are called as a region is."""
    slugs = [f"r{number}" for number in range(draw(st.integers(1, 5)))]
    parents = st.sampled_from([None, *slugs])
    regions = {slug: draw(parents) for slug in slugs}
    codes = draw(st.lists(st.sampled_from(["A", "B", "C", "D", *slugs]), min_size=1, max_size=5, unique=True))
    ports = {code: draw(st.sampled_from(slugs)) for code in codes}
    lanes = st.tuples(st.sampled_from(codes), st.sampled_from(codes), st.sampled_from(DAYS))
    return Tree(regions, ports, draw(st.dictionaries(lanes, st.integers(1, 4), max_size=6)))


@pytest.fixture(scope="module")
def world(server: PostgresServer, template: str) -> Iterator[Database]:
    """A database of its own for other trees than the module's."""
    database = clone(server, template)
    yield database
    database.drop()


@pytest.fixture
def api(world: Database) -> Iterator[psycopg.Connection]:
    """A connection as the API has them."""
    with world.connect("rates_api") as connection:
        for setting in CONNECTION_SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", setting)
        yield connection


def question(orig: str, dest: str, days: list[date]) -> Question:
    return Question(days[0], days[-1], orig, dest, strict=False, fields=ALL_FIELDS, widen=True)


def counts(totals: Totals, days: list[date]) -> dict[date, int]:
    return {day: count for day, _, count in totals.days(days[-1])}


@settings(
    deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=trees(), random=st.randoms(use_true_random=False))
def test_every_question_in_any_tree_is_answered_by_the_definition(
    world: Database, api: psycopg.Connection, tree: Tree, random: Random
) -> None:
    with world.connect() as owner:
        tree.write(owner)
    places = sorted({*tree.regions, *tree.ports, "nowhere"})
    pairs = [*product(places, places)]
    for orig, dest in random.sample(pairs, k=min(len(pairs), 12)):
        days = random.choice([DAYS, DAYS[:1]])
        totals, used = read_widened(api, question(orig, dest, days))
        assert (used, counts(totals, days)) == tree.answer(orig, dest, days), (orig, dest, days)
        assert totals.orig_found == (orig != "nowhere")
        assert totals.dest_found == (dest != "nowhere")
    assert api.info.transaction_status == TransactionStatus.IDLE


# --- one version of the data -------------------------------------------------------------------------------

TREE = Tree({"top": None, "low": "top"}, {"A": "low", "B": "low"}, {("A", "B", DAYS[0]): 2})


def waits(world: Database) -> bool:
    return bool(world.rows("SELECT FROM pg_locks WHERE NOT granted AND relation = 'regions'::regclass"))


def test_what_is_published_between_two_steps_is_in_none_of_them(
    world: Database, api: psycopg.Connection
) -> None:
    """Else the lane as asked would be of one version, and the regions of the next, with its prices."""
    with world.connect() as owner, ThreadPoolExecutor(1) as reader:
        TREE.write(owner)
        read_widened(api, question("A", "B", DAYS[:1]))  # by now its statements are prepared
        ((before,),) = world.rows("SELECT version FROM data_version")
        with owner.transaction():
            owner.execute("LOCK TABLE regions IN ACCESS EXCLUSIVE MODE")
            answer = reader.submit(read_widened, api, question("A", "B", DAYS[:1]))
            wait_until(lambda: waits(world))
            owner.execute("UPDATE lane_month_totals SET price_counts = '{3}', price_sums = '{300}'")
            owner.execute("UPDATE data_version SET version = version + 1")
        totals, used = answer.result(TIMEOUT_S)
    assert (used, counts(totals, DAYS[:1])) == (Used("top", "top", 2, 2), {DAYS[0]: 2})
    assert totals.version.number == before
    totals, used = read_widened(api, question("A", "B", DAYS[:1]))
    assert (used, counts(totals, DAYS[:1])) == (Used("A", "B", 0, 0), {DAYS[0]: 3})
    assert totals.version.number == before + 1


def test_a_step_that_fails_leaves_a_connection_that_answers(world: Database, api: psycopg.Connection) -> None:
    api.execute("SET statement_timeout = '100ms'")
    with world.connect() as owner:
        TREE.write(owner)
        read_widened(api, question("A", "B", DAYS[:1]))  # by now its statements are prepared
        with owner.transaction():
            owner.execute("LOCK TABLE regions IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(psycopg.errors.QueryCanceled):
                read_widened(api, question("A", "B", DAYS[:1]))
    assert api.info.transaction_status == TransactionStatus.IDLE
    assert read_widened(api, question("A", "B", DAYS[:1]))[1] == Used("top", "top", 2, 2)
