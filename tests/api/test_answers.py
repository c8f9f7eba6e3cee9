"""Answers out of memory, and answers that a client has already: only while they hold, and truly labelled."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import falcon
import pytest
from falcon.testing import Result, TestClient

from api.answers import Answers, Made
from api.compression import MIN_BYTES
from api.errors import BadParameter
from api.totals import DataVersion
from tests.api.service import Service
from tests.api.world import load_prices
from tests.postgres import Database

PATH = "/thing"
FIRST, SECOND = DataVersion(7, 1_000), DataVersion(8, 2_000)
LONG = "x" * 3 * MIN_BYTES


@dataclass
class World:
    """The database as far as `Answers` can see it: the version that is read with an answer, and the one that
    the thread knows of, which may be unknown or another's."""

    data: DataVersion = FIRST
    known: DataVersion | None = FIRST
    text: str = "short"
    link: str | None = None
    made: int = 0
    versions_asked: int = 0

    def version(self) -> DataVersion:
        self.versions_asked += 1
        return self.data

    def get(self) -> DataVersion | None:
        return self.known

    def move_to(self, version: DataVersion) -> None:
        self.data = self.known = version


@dataclass
class Thing:
    """A resource whose answers say which version they were made of."""

    world: World
    answers: Answers
    media_type: str = falcon.MEDIA_JSON
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        def make() -> Made:
            if request.params.get("bad"):
                raise BadParameter("bad is bad.", code="bad")
            with self.lock:
                self.world.made += 1
            data = self.world.data
            return Made(data, f"{data.number} {self.world.text}".encode(), self.world.link)

        wanted = falcon.MEDIA_TEXT if request.accept == falcon.MEDIA_TEXT else falcon.MEDIA_JSON
        self.answers.respond(request, response, make, wanted)

    on_head = on_get


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World) -> TestClient:
    return client_of(world, 2**20)


def client_of(world: World, bytes_max: int) -> TestClient:
    app = falcon.App()
    answers = Answers(world, world, bytes_max)  # ty: ignore[invalid-argument-type]  # in their place
    app.add_route(PATH, Thing(world, answers))
    return TestClient(app)


def get(client: TestClient, query: str = "a=1", **headers: str) -> Result:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.simulate_get(PATH, query_string=query, headers=named)


# --- kept, while they hold ---------------------------------------------------------------------------------


def test_an_answer_is_made_once_while_its_version_is_the_newest(client: TestClient, world: World) -> None:
    answers = [get(client) for _ in range(3)]
    assert {(answer.text, answer.headers["etag"], answer.headers["data-version"]) for answer in answers} == {
        ("7 short", answers[0].headers["etag"], "7")
    }
    assert (world.made, world.versions_asked) == (1, 0)


@pytest.mark.parametrize(
    "other",
    [SECOND, DataVersion(6, 500), DataVersion(7, 999), DataVersion(7, -5)],
    ids=["newer", "older", "same number of another database", "changed before 2000"],
)
def test_it_is_made_anew_for_any_other_version(client: TestClient, world: World, other: DataVersion) -> None:
    before = get(client)
    world.move_to(other)
    after = get(client, If_None_Match=before.headers["etag"])
    assert (after.status_code, after.text) == (200, f"{other.number} short")
    assert after.headers["etag"] != before.headers["etag"]
    assert world.made == 2


def test_nothing_kept_is_used_while_the_newest_version_is_unknown(client: TestClient, world: World) -> None:
    get(client)
    world.known = None
    world.data = SECOND
    assert get(client).headers["data-version"] == "8"
    assert get(client).headers["data-version"] == "8"
    assert world.made == 3


@pytest.mark.parametrize(("known", "data"), [(SECOND, FIRST), (FIRST, SECOND)])
def test_an_answer_is_labelled_by_what_it_was_read_with_whatever_is_known(
    client: TestClient, world: World, known: DataVersion, data: DataVersion
) -> None:
    """The thread asks the primary, and the pool has connections to a replica that lags behind; or the other
    way round."""
    world.known, world.data = known, data
    for _ in range(2):
        answer = get(client)
        assert answer.headers["data-version"] == str(data.number) == answer.text[0]
        assert answer.headers["etag"].startswith(f'W/"{data.number}-')
    assert world.made == 2, "and is not taken for the newest"


def test_an_error_is_not_kept_and_has_no_label(client: TestClient, world: World) -> None:
    answer = get(client, "bad=1")
    assert answer.status_code == 400
    assert not {"etag", "data-version"} & answer.headers.keys()
    assert get(client).status_code == 200


def test_questions_and_media_types_have_answers_and_tags_of_their_own(client: TestClient) -> None:
    answers = [get(client, "a=1"), get(client, "a=2"), get(client, "a=1", Accept=falcon.MEDIA_TEXT)]
    assert len({answer.headers["etag"] for answer in answers}) == 3
    assert answers[2].headers["content-type"].startswith(falcon.MEDIA_TEXT)
    assert get(client, "a=1").headers["content-type"] == falcon.MEDIA_JSON


def test_head_has_the_headers_of_get_and_shares_its_answer(client: TestClient, world: World) -> None:
    got = get(client)
    head = client.simulate_head(PATH, query_string="a=1")
    assert (dict(head.headers), head.content) == (dict(got.headers), b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert world.made == 1


def test_what_a_header_says_of_the_next_page_is_kept_with_the_answer(
    client: TestClient, world: World
) -> None:
    world.link = '</thing?after=7>; rel="next"'
    assert [get(client).headers["link"] for _ in range(2)] == [world.link] * 2
    assert world.made == 1
    world.link = None
    world.move_to(SECOND)
    assert "link" not in get(client).headers


# --- 304 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["{0}", "{1}", '"other", {0}', '{1} , W/"other"', '{0},"a,b"', "*"],
    ids=["weak", "strong", "last of a list", "first of a list", "beside a comma", "any"],
)
def test_who_has_the_answer_is_told_so(client: TestClient, header: str) -> None:
    """Compared weakly (RFC 9110, 13.1.2)."""
    got = get(client)
    tag = got.headers["etag"]
    assert tag.startswith('W/"')
    answer = get(client, If_None_Match=header.format(tag, tag.removeprefix("W/")))
    assert (answer.status_code, answer.content) == (304, b"")
    for name in ("etag", "data-version"):
        assert answer.headers[name] == got.headers[name]
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    "header",
    ['W/"other"', '"', "W/", "{2}", "{3}", ",", '"*"', ""],
    ids=["other", "a quote", "no tag", "unquoted", "without an end", "a comma", "a quoted star", "empty"],
)
def test_who_has_another_answer_gets_this_one(client: TestClient, header: str) -> None:
    tag = get(client).headers["etag"]
    bare = tag.removeprefix("W/").strip('"')
    answer = get(client, If_None_Match=header.format(tag, "", bare[:-1], f'W/"{bare}x"'))
    assert (answer.status_code, answer.text) == (200, "7 short")


def test_a_tag_of_another_question_or_media_type_is_not_this_ones(client: TestClient) -> None:
    for other in (get(client, "a=2"), get(client, "a=1", Accept=falcon.MEDIA_TEXT)):
        assert get(client, "a=1", If_None_Match=other.headers["etag"]).status_code == 200


def test_who_has_the_answer_costs_nothing_but_the_version_where_that_is_unknown(world: World) -> None:
    tag = get(client_of(world, 0)).headers["etag"]
    client = client_of(world, 0)
    assert get(client, If_None_Match=tag).status_code == 304
    assert (world.made, world.versions_asked) == (1, 0)
    world.known = None
    assert get(client, If_None_Match=tag).status_code == 304
    assert (world.made, world.versions_asked) == (1, 1)


def test_any_answer_is_had_only_where_there_is_one(client: TestClient) -> None:
    """A condition counts only where the answer without it would be good (RFC 9110, 13.2.1)."""
    assert get(client, "bad=1", If_None_Match="*").status_code == 400


# --- packed ------------------------------------------------------------------------------------------------


def test_packed_or_not_it_is_the_same_answer_with_the_same_tag(client: TestClient, world: World) -> None:
    world.text = LONG
    plain = get(client)
    packed = get(client, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.content) < len(plain.content)
    assert gzip.decompress(packed.content) == plain.content
    assert packed.headers["etag"] == plain.headers["etag"]
    assert get(client, Accept_Encoding="gzip", If_None_Match=plain.headers["etag"]).status_code == 304
    assert "content-encoding" not in get(client).headers
    assert world.made == 1


def test_many_at_once_get_whole_answers_of_the_version_that_they_say(world: World) -> None:
    """While the data changes, some of them packed, more than are kept."""
    world.text = LONG
    client = client_of(world, 40_000)

    def ask(number: int) -> None:
        if number % 50 == 0:
            world.move_to(DataVersion(number, number))
        encoding = "gzip" if number % 2 else "identity"
        question = Random(number).randrange(7)  # noqa: S311
        answer = get(client, f"a={question}", Accept_Encoding=encoding)
        body = gzip.decompress(answer.content) if number % 2 else answer.content
        assert answer.status_code == 200
        assert body.decode() == f"{answer.headers['data-version']} {LONG}"
        assert answer.headers["etag"].startswith(f'W/"{answer.headers["data-version"]}-')

    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(ask, range(2_000)))
    assert 7 * 40 < world.made < 1_900


# --- bounded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "link"), [(10, 60, 0), (4_000, 60, 0), (100, 3_000, 0), (10, 60, 900)]
)
def test_what_is_kept_takes_no_more_memory_than_is_allowed(
    world: World, key: int, text: int, link: int
) -> None:
    """Whatever it is that is asked for: addresses count as well, also those of next pages, and bodies kept
    both ways."""
    bytes_max = 200_000
    client = client_of(world, bytes_max)
    random = Random(1)  # noqa: S311
    world.text = random.randbytes(text // 2).hex()  # so that packing saves little
    for number in range(10):
        get(client, f"a={number:0{key}}", Accept_Encoding="gzip")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(bytes_max // (600 + key + text + link) + 100):
            world.text = random.randbytes(text // 2).hex()
            world.link = random.randbytes(link // 2).hex() or None
            get(client, f"a={number + 100:0{key}}", Accept_Encoding="gzip")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1.1 * bytes_max
    assert after - before > 0.3 * bytes_max, "and nearly as much is used"


def test_an_answer_larger_than_all_that_may_be_kept_is_given_all_the_same(world: World) -> None:
    world.text = LONG
    client = client_of(world, 1_000)
    assert [get(client).status_code for _ in range(2)] == [200, 200]
    assert world.made == 2


# --- as it is served ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keeping(filled: Database) -> Iterator[Service]:
    """The module's API, which keeps answers."""
    load_prices(filled, [("CNSGH", "DEHAM", "2021-01-01", 5)] * 3)
    with Service(filled.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        yield service


QUESTION = "/rates?date_from=2021-01-01&date_to=2021-12-31&orig_code=CNSGH&dest_code=DEHAM"


@pytest.mark.parametrize("media_type", ["application/json", "text/csv"])
def test_rates_are_sent_as_gzip_to_whoever_takes_it_and_to_nobody_else(
    keeping: Service, media_type: str
) -> None:
    encodings = {"gzip": "gzip", "*": "gzip", "gzip;q=0": None, "gzip;q=0.0": None, "notgzip": None}
    for accepted, encoding in encodings.items():
        headers = {"Accept": media_type, "Accept-Encoding": accepted}
        answer = keeping.client.get(QUESTION, headers=headers)
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers.get("content-encoding") == encoding, accepted


def test_a_client_that_asks_again_is_sent_nothing(keeping: Service) -> None:
    first = keeping.get(QUESTION)
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["vary"] == "Accept, Accept-Encoding"
    assert first.headers["content-encoding"] == "gzip"
    again = keeping.client.get(QUESTION, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "data-version", "vary", "cache-control"):
        assert again.headers[name] == first.headers[name]
    assert keeping.client.get(QUESTION, headers={"If-None-Match": "*"}).status_code == 304


def test_a_bad_question_is_bad_whatever_the_client_says_it_has(keeping: Service) -> None:
    answer = keeping.client.get(QUESTION + "&more=1", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_parameter")


def test_a_question_spelled_otherwise_has_the_same_answer(keeping: Service) -> None:
    spellings = [
        QUESTION,
        QUESTION.replace("CNSGH", "%43NSGH"),
        QUESTION.replace("-01", "-1", 1),
        "/rates?" + "&".join(reversed(QUESTION.partition("?")[2].split("&"))),
        QUESTION.replace("/rates?", "/rates/?"),
    ]
    assert len({keeping.get(spelling).content for spelling in spellings}) == 1


def test_head_is_answered_like_get_without_a_body(keeping: Service) -> None:
    got, head = keeping.get(QUESTION), keeping.client.head(QUESTION)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "data-version", "content-type", "content-length", "vary", "cache-control"):
        assert head.headers[name] == got.headers[name]
