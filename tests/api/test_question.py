"""What a question may choose: to be strict, the fields of its answer, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import httpx
import pytest

from api.settings import read_settings
from database.errors import ConfigurationError
from tests.api.ingestion import refused
from tests.api.service import NOWHERE, Service
from tests.api.world import PLACES, PORTS, REGIONS, Price, load_prices
from tests.postgres import Database

LANE = {"orig_code": "CNGGZ", "dest_code": "EETLL"}
DAYS = {"date_from": "2021-03-04", "date_to": "2021-03-06"}
QUESTION = LANE | DAYS
PRICES: list[Price] = [
    *(("CNGGZ", "EETLL", "2021-03-06", usd) for usd in (1000, 1001)),
    *(("CNGGZ", "EETLL", "2021-03-05", usd) for usd in (1154, 1154, 1155)),
]
AS_JSON = (
    '{"rates":[{"count":2,"day":"2021-03-06","price":null},'
    '{"count":3,"day":"2021-03-05","price":1154.3333333333333},'
    '{"count":null,"day":"2021-03-04","price":null}]}'
)
AS_CSV = "day,count,price\r\n2021-03-06,2,\r\n2021-03-05,3,1154.3333333333333\r\n2021-03-04,,\r\n"  # RFC 4180
JSON, CSV = "application/json", "text/csv; charset=utf-8"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module", autouse=True)
def prices(filled: Database) -> None:
    assert load_prices(filled, PRICES).state == "published"


@pytest.fixture(scope="module")
def keeping(filled: Database) -> Iterator[Service]:
    """An API on the same database that keeps answers in memory."""
    with Service(filled.environment("rates_api") | {"WEB_CONCURRENCY": "1"}) as service:
        yield service


@pytest.fixture(scope="module")
def strict(filled: Database) -> Iterator[Service]:
    """Another, where questions that do not say are strict."""
    own = {"WEB_CONCURRENCY": "1", "RATES_STRICT": "1"}
    with Service(filled.environment("rates_api") | own) as service:
        yield service


def ask(service: Service, accept: str | None = None, **changes: str) -> httpx.Response:
    headers = {} if accept is None else {"Accept": accept}
    return service.client.get("/rates", params=QUESTION | changes, headers=headers)


# --- strict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LANE)
@pytest.mark.parametrize("code", ["XXXXX", "cnggz", "Asia", " EETLL"])
def test_a_strict_question_has_its_unknown_code_named(service: Service, name: str, code: str) -> None:
    told = refused(ask(service, strict="true", **{name: code}), 400, "unknown_code")
    assert told == (
        f"{name} is {code!r}; expected a port's code or a region's slug: GET /ports and GET /regions list the"
        " codes that there are."
    )


def test_two_unknown_codes_are_named_at_once(service: Service) -> None:
    answer = ask(service, strict="true", orig_code="A", dest_code="x" * 100)
    told = refused(answer, 400, "unknown_code")
    assert told.startswith(f"orig_code is 'A' and dest_code is {'x' * 100!r}; expected ")


@pytest.mark.parametrize("code", [*PORTS, *REGIONS])
def test_every_place_is_known_on_either_side(service: Service, code: str) -> None:
    for name in LANE:
        assert ask(service, strict="true", **{name: code}).status_code == 200


def test_a_strict_question_has_its_reversed_range_shown(service: Service) -> None:
    answer = ask(service, strict="true", date_from="2021-3-7")
    assert refused(answer, 400, "reversed_range") == (
        "date_from is 2021-03-07, which is after date_to, 2021-03-06;"
        " expected the same day or an earlier one."
    )
    assert ask(service, strict="true", date_from="2021-03-06").status_code == 200


def test_a_sound_question_is_answered_the_same_strict_or_not(service: Service) -> None:
    assert {ask(service, strict=strict).text for strict in ("true", "false")} == {AS_JSON}


def test_the_setting_holds_for_who_does_not_say(service: Service, strict: Service) -> None:
    for changes, code in (
        ({"orig_code": "XXXXX"}, "unknown_code"),
        ({"date_to": "2021-03-03"}, "reversed_range"),
    ):
        assert ask(service, **changes).status_code == 200
        refused(ask(strict, **changes), 400, code)
        assert ask(strict, strict="false", **changes).text == ask(service, **changes).text


def test_the_setting_is_0_or_1() -> None:
    with pytest.raises(ConfigurationError, match="RATES_STRICT is 'yes': a number from 0 to 1 is allowed"):
        read_settings(NOWHERE | {"RATES_STRICT": "yes"})
    assert read_settings(NOWHERE).strict is False


def test_an_answer_in_memory_takes_no_refusals_place_nor_a_refusal_its(keeping: Service) -> None:
    unknown = {"orig_code": "NEWPT"}
    for _ in range(2):
        lenient = ask(keeping, **unknown)
        assert lenient.status_code == 200
        refused(ask(keeping, strict="true", **unknown), 400, "unknown_code")
        refused(
            keeping.client.get(
                "/rates",
                params=QUESTION | unknown | {"strict": "true"},
                headers={"If-None-Match": lenient.headers["etag"]},
            ),
            400,
            "unknown_code",
        )


def test_a_code_that_becomes_known_is_no_longer_refused(filled: Database, keeping: Service) -> None:
    new = {"orig_code": "LATER", "strict": "true"}
    refused(ask(keeping, **new), 400, "unknown_code")
    with filled.connect() as owner:
        owner.execute("INSERT INTO ports VALUES ('LATER', 'Later', 'china')")
    try:
        assert ask(keeping, **new).status_code == 200
    finally:
        filled.rows("DELETE FROM ports WHERE code = 'LATER' RETURNING code")
    assert "LATER" not in {port.code for port in PLACES.ports}


def test_what_a_client_has_from_a_lenient_server_is_no_answer_of_a_strict_one(
    keeping: Service, strict: Service
) -> None:
    """The same data and the same question, after the setting was changed."""
    changes = {"orig_code": "XXXXX"}
    tag = {"If-None-Match": ask(keeping, **changes).headers["etag"]}
    assert keeping.client.get("/rates", params=QUESTION | changes, headers=tag).status_code == 304
    refused(strict.client.get("/rates", params=QUESTION | changes, headers=tag), 400, "unknown_code")


# --- fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ("price", '{"day":"2021-03-05","price":1154.3333333333333}'),
        ("count", '{"count":3,"day":"2021-03-05"}'),
        ("count,price", '{"count":3,"day":"2021-03-05","price":1154.3333333333333}'),
        ("price,count", '{"count":3,"day":"2021-03-05","price":1154.3333333333333}'),
        ("price,day,price", '{"day":"2021-03-05","price":1154.3333333333333}'),
        ("day", '{"day":"2021-03-05"}'),
    ],
)
def test_an_answer_has_the_fields_that_are_chosen(service: Service, fields: str, day: str) -> None:
    answer = ask(service, fields=fields, date_from="2021-03-05", date_to="2021-03-05")
    assert answer.text == f'{{"rates":[{day}]}}'


def test_a_field_that_is_null_is_there(service: Service) -> None:
    answer = ask(service, fields="price", date_from="2021-03-04", date_to="2021-03-04")
    assert answer.text == '{"rates":[{"day":"2021-03-04","price":null}]}'


def test_all_fields_are_the_answer_without_a_choice(service: Service) -> None:
    assert ask(service).text == AS_JSON
    assert ask(service, fields="count,price").text == AS_JSON


@pytest.mark.parametrize("field", ["min", "max", "median"])
def test_what_is_not_kept_is_refused_and_why(service: Service, field: str) -> None:
    for fields in (field, f"price,{field}"):
        told = refused(ask(service, fields=fields), 400, "field_not_kept")
        assert told == (
            f"fields has '{field}', which only a scan of prices could answer: of each day only sum and count"
            " are kept; expected names of day, count, price, with commas between."
        )


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("", "''"),
        (",", "''"),
        ("price,", "''"),
        ("Price", "'Price'"),
        ("price, count", "' count'"),
        ("price;count", "'price;count'"),
        ("mean", "'mean'"),
        ("*", "'*'"),
        ("min\0", r"'min\x00'"),
        ("x" * 101, f"{'x' * 100!r} and 1 more characters"),
    ],
)
def test_a_field_that_there_is_not_is_shown(service: Service, fields: str, found: str) -> None:
    told = refused(ask(service, fields=fields), 400, "invalid_fields")
    assert told == f"fields has {found}; expected names of day, count, price, with commas between."


# --- CSV ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", CSV),
        ("Text/CSV", CSV),
        ("text/csv;charset=utf-8", CSV),
        ("text/*", CSV),
        ("text/csv, application/json;q=0.9", CSV),
        ("text/csv;q=0.9, application/*;q=0.8, */*;q=0.1", CSV),
        ("application/json;q=0, */*", CSV),
        ("text/html, text/csv;q=0.2", CSV),
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("application/json, text/csv", JSON),
        ("text/csv;q=0.5, application/json;q=0.6", JSON),
        ("text/csv, */*", JSON),
        ("text/csv;q=0", JSON),
        ("text/csv;q=0, text/*;q=0.5, application/json;q=0.1", JSON),
        ("text/csv;q=2", JSON),
        ("text/csv;q=x", JSON),
        ("csv", JSON),
        (",", JSON),
        ("image/png", JSON),
        (BROWSER, JSON),
    ],
)
def test_csv_is_for_who_prefers_it_to_json(service: Service, accept: str | None, expected: str) -> None:
    service.client.headers.pop("accept", None)  # which httpx would add
    answer = ask(service, accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == expected
    assert answer.text == (AS_CSV if expected == CSV else AS_JSON)
    assert "Accept" in answer.headers["vary"].split(", ")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("price", "day,price\r\n2021-03-05,1154.3333333333333\r\n"),
        ("count", "day,count\r\n2021-03-05,3\r\n"),
        ("price,count", "day,count,price\r\n2021-03-05,3,1154.3333333333333\r\n"),
    ],
)
def test_csv_has_the_fields_that_are_chosen(service: Service, fields: str, expected: str) -> None:
    answer = ask(service, "text/csv", fields=fields, date_from="2021-03-05", date_to="2021-03-05")
    assert answer.text == expected


def test_a_range_without_days_is_a_header_alone(service: Service) -> None:
    assert ask(service, "text/csv", date_to="2021-03-03").text == "day,count,price\r\n"


def test_csv_says_in_each_line_what_was_used(service: Service) -> None:
    answer = ask(service, "text/csv", widen="true", orig_code="CNSGH", date_to="2021-03-05")
    assert answer.text == (
        "day,count,price,used_orig_code,used_dest_code,orig_level,dest_level\r\n"
        "2021-03-05,3,1154.3333333333333,china,europe,2,2\r\n"
        "2021-03-04,,,china,europe,2,2\r\n"
    )


def test_a_code_with_a_comma_or_a_quote_is_one_field(service: Service) -> None:
    code = 'a,"b'
    answer = ask(service, "text/csv", widen="true", fields="price", orig_code=code, dest_code=code)
    lines = [*csv.reader(io.StringIO(answer.text, newline=""))]
    assert lines[1] == ["2021-03-06", "", code, code, "0", "0"]


def test_an_error_is_json_whatever_is_preferred(service: Service) -> None:
    refused(ask(service, "text/csv", date_from="x"), 400, "invalid_date")
    refused(ask(service, "text/csv", strict="true", orig_code="XXXXX"), 400, "unknown_code")


def test_csv_and_json_are_kept_apart_and_known_apart(keeping: Service) -> None:
    tags = set()
    for _ in range(2):
        for accept, text in (("text/csv", AS_CSV), (JSON, AS_JSON)):
            answer = ask(keeping, accept)
            assert answer.text == text
            tags.add(answer.headers["etag"])
            known = {"Accept": accept, "If-None-Match": answer.headers["etag"]}
            assert keeping.client.get("/rates", params=QUESTION, headers=known).status_code == 304
    assert len(tags) == 2


def test_head_of_csv_is_its_get_without_the_body(service: Service) -> None:
    head = service.client.head("/rates", params=QUESTION, headers={"Accept": "text/csv"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == CSV
    assert head.headers["content-length"] == str(len(AS_CSV))
