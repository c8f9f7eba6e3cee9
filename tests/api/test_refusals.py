"""What is refused: always 4xx, always JSON of the same three keys, with a code that programs can rely on."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.ingestion import refused
from tests.api.service import Service
from tests.examples import examples

GOOD = {"date_from": "2021-01-01", "date_to": "2021-01-31", "orig_code": "CNGGZ", "dest_code": "EETLL"}
GOOD_QUERY = urlencode(GOOD)
# Python's `\\d` and `int` would take these digits for 2021-01-01.
ARABIC_DATE = "\u0662\u0660\u0662\u0661-\u0660\u0661-\u0660\u0661"
LONG = b"x" * 10_000
HEADERS_TOO_LARGE = "request_header_fields_too_large"
NAMES = [*GOOD, "strict", "fields", "widen", "date", "DATE_FROM", "", "a b", "%00"]


@pytest.fixture(scope="module")
def service(ingestion: Service) -> Service:
    """The one that all modules without prices share."""
    return ingestion


def with_(**changes: str) -> dict[str, str]:
    return GOOD | changes


# --- parameters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_a_parameter_that_is_missing_or_empty_is_named(service: Service, name: str) -> None:
    without = {other: value for other, value in GOOD.items() if other != name}
    for parameters in (without, with_(**{name: ""})):
        answer = service.get("/rates", **parameters)
        assert refused(answer, 400, "missing_parameter") == f"Missing or empty: {name}."


def test_all_that_is_missing_is_named_at_once(service: Service) -> None:
    told = refused(service.get("/rates"), 400, "missing_parameter")
    assert told == "Missing or empty: date_from, date_to, orig_code, dest_code."


@pytest.mark.parametrize("name", GOOD)
def test_a_parameter_given_twice_is_refused_even_with_the_same_value(service: Service, name: str) -> None:
    answer = service.get(f"/rates?{GOOD_QUERY}&{urlencode({name: GOOD[name]})}")
    assert refused(answer, 400, "repeated_parameter") == f"{name} is given 2 times; give it once."


@pytest.mark.parametrize("name", ["date", "Date_from", "orig_code[]", "callback", "x" * 500])
def test_a_parameter_that_there_is_not_is_named_with_those_there_are(service: Service, name: str) -> None:
    told = refused(service.get("/rates", **with_(**{name: "1"})), 400, "unknown_parameter")
    assert name[:50] in told
    assert "date_from, date_to, orig_code, dest_code" in told


@pytest.mark.parametrize("name", ["date_from", "date_to"])
@pytest.mark.parametrize(
    "value",
    [
        *("2021-02-29", "2021-02-30", "2021-04-31", "2021-13-01", "2021-00-01", "2021-01-00", "0000-01-01"),
        *("2021-1", "2021", "20210101", "2021/01/01", "01-01-2021", "2021-01-01T00:00:00", "2021-W01-1"),
        *(" 2021-01-01", "2021-01-01 ", "2021-01-01\n", "-2021-01-01", "+2021-01-01", "12021-01-01"),
        *(
            "21-01-01",
            "2021-001-01",
            "today",
            "null",
            "0",
            ARABIC_DATE,
            "2021-01-01\0",
            "2021-01-01,2021-01-02",
        ),
    ],
)
def test_a_date_that_is_none_is_shown(service: Service, name: str, value: str) -> None:
    told = refused(service.get("/rates", **with_(**{name: value})), 400, "invalid_date")
    assert told == f"{name} is {value!r}; expected a day as YYYY-MM-DD."


@pytest.mark.parametrize(("first", "last"), [("2020-01-01", "2021-01-01"), ("0001-01-01", "9999-12-31")])
def test_a_range_longer_than_a_leap_year_is_refused(service: Service, first: str, last: str) -> None:
    told = refused(service.get("/rates", **with_(date_from=first, date_to=last)), 400, "range_too_long")
    assert f"date_from={first} to date_to={last} is " in told
    assert "at most 366 are allowed" in told


@pytest.mark.parametrize("name", ["orig_code", "dest_code"])
@pytest.mark.parametrize("value", ["A\0B", "\0", "A\nB", "\x7f", "\u200b", "\ufffd", "x" * 101, "é" * 101])
def test_a_code_that_cannot_be_one_is_refused(service: Service, name: str, value: str) -> None:
    told = refused(service.get("/rates", **with_(**{name: value})), 400, "invalid_code")
    assert told.startswith(f"{name} is ")
    assert len(told) < 700


@pytest.mark.parametrize("value", ["%FF", "%C3", "%ED%A0%80", "%00", "A%80B"])
def test_bytes_that_are_not_utf_8_are_refused(service: Service, value: str) -> None:
    query = GOOD_QUERY.replace("CNGGZ", value)
    refused(service.get(f"/rates?{query}"), 400, "invalid_code")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("orig_code=%zz", "orig_code has '%zz'"),
        ("orig_code=%", "orig_code has '%'"),
        ("orig_code=%4", "orig_code has '%4'"),
        ("orig_code=%C3%A", "orig_code has '%A'"),
        ("orig_code=%%41", "orig_code has '%%4'"),
        ("orig_code=A&dest_code=%u2713", "dest_code has '%u2'"),
        ("%g1=A", "%g1 has '%g1'"),
    ],
)
@pytest.mark.parametrize("path", ["/rates", "/batches"])
def test_a_percent_that_begins_no_byte_is_refused(
    service: Service, path: str, query: str, found: str
) -> None:
    status, body = raw(service, f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), then_close=True)
    assert (status, body["code"]) == (400, "malformed_query")
    assert body["description"] == (
        f"{found} in it; expected a % followed by two hexadecimal digits, as %25 for itself."
    )


@pytest.mark.parametrize("bytes_", ["Ørsta".encode(), b"\xff", b"\xed\xa0\x80"], ids=repr)
def test_a_byte_beyond_ascii_is_refused_where_it_is_not_encoded(service: Service, bytes_: bytes) -> None:
    query = GOOD_QUERY.encode().replace(b"EETLL", bytes_)
    status, body = raw(service, b"GET /rates?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, body["code"]) == (400, "bad_request")


def test_a_code_of_100_characters_is_only_unknown(service: Service) -> None:
    assert service.get("/rates", **with_(orig_code="é" * 100)).status_code == 200


@pytest.mark.parametrize("name", ["strict", "widen"])
@pytest.mark.parametrize("value", ["", "1", "True", "yes", "true ", "true\0", "x" * 1_000])
def test_what_is_neither_true_nor_false_is_shown(service: Service, name: str, value: str) -> None:
    told = refused(service.get("/rates", **with_(**{name: value})), 400, f"invalid_{name}")
    assert told.startswith(f"{name} is {value[:100]!r}")
    assert told.endswith("; expected true or false.")
    assert len(told) < 200


@pytest.mark.parametrize("name", ["strict", "widen", "fields"])
def test_a_parameter_that_need_not_be_given_is_given_once_at_most(service: Service, name: str) -> None:
    value = "price" if name == "fields" else "true"
    told = refused(
        service.get(f"/rates?{GOOD_QUERY}&{name}={value}&{name}={value}"), 400, "repeated_parameter"
    )
    assert told == f"{name} is given 2 times; give it once."


@pytest.mark.parametrize("name", ["date_from", "orig_code", "fields", "strict", "y" * 3_000])
def test_of_what_was_found_only_the_beginning_is_shown(service: Service, name: str) -> None:
    answer = service.get("/rates", **with_(**{name: "x" * 600}))
    told = refused(answer, 400, answer.json()["code"])
    assert f"{name[:100]}" in told
    assert len(told) < 400


@pytest.mark.parametrize("path", ["/rates", "/batches", "/health/live", "/none"])
def test_a_query_that_is_too_long_for_anything_is_refused_everywhere(service: Service, path: str) -> None:
    for length in (4_097, 8_000):
        told = refused(service.get(f"{path}?{'x' * length}"), 400, "query_too_long")
        assert told == f"The query has {length:,} characters; at most 4,096 are allowed."
    assert service.get(f"{path}?{'x' * 4_096}").status_code != 414
    assert service.get(f"{path}?{'x' * 4_096}").json().get("code") != "query_too_long"


# --- conditions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["*", '"1"', 'W/"1-1-1-1", *'])
def test_what_has_no_answer_is_refused_whatever_the_client_has(service: Service, tag: str) -> None:
    answer = service.client.get("/rates?orig_code=A", headers={"if-none-match": tag})
    refused(answer, 400, "missing_parameter")


# --- addresses and methods ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/rate", "/Rates", "/rates/CNGGZ", "/health", "/favicon.ico", "//rates", "/%00", "/%FF"])  # fmt: skip  # noqa: E501
def test_an_address_that_there_is_not_is_404(service: Service, path: str) -> None:
    refused(service.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/rates", "/health/live", "/health/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_a_method_that_is_not_taken_is_405_and_says_which_are(
    service: Service, path: str, method: str
) -> None:
    answer = service.client.request(method, path, content=b"x" * 100_000 if method != "TRACE" else None)
    refused(answer, 405, "method_not_allowed")
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


def test_a_connection_with_an_unread_body_is_not_promised_to_the_next_request(service: Service) -> None:
    """gunicorn closes it, after it has said the opposite: the next request, anyone's, would get no answer."""
    for _ in range(20):
        answer = service.client.post("/rates", content=b"x" * 100_000)
        refused(answer, 405, "method_not_allowed")
        assert answer.headers["connection"] == "close"
        assert service.is_live()


@pytest.mark.parametrize("path", [f"/rates?{GOOD_QUERY}", "/health/live", "/health/ready", "/rates", "/none"])
def test_head_is_get_without_the_body(service: Service, path: str) -> None:
    get, head = service.client.get(path), service.client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


def test_options_says_what_is_taken(service: Service) -> None:
    answer = service.client.options("/rates")
    assert answer.status_code in (200, 204)
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


def test_whatever_a_client_accepts_errors_are_json(service: Service) -> None:
    for accepted in ("text/html", "application/xml", "image/png;q=0.5"):
        refused(service.client.get("/none", headers={"accept": accepted}), 404, "not_found")


# --- what gunicorn refuses before the app is asked ---------------------------------------------------------


def raw(service: Service, request: bytes, *, then_close: bool = False) -> tuple[int, dict]:
    """Status and body of the answer to bytes that no client would send."""
    head, _, body = service.raw(request, then_close=then_close).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower()
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /rates?orig_code=" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + LONG + b"\r\n\r\n", 431, HEADERS_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: x\r\n" * 200 + b"\r\n", 431, HEADERS_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400, "bad_request"),
        (b"\xff\xfe \xed\xa0\x80\r\n\r\n", 400, "bad_request"),
        (b"POST /rates HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", 417, "expectation_failed"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: tea\r\n\r\n", 501, "not_implemented"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_gunicorn_itself_refuses_is_json_too(
    service: Service, request_: bytes, status: int, code: str
) -> None:
    found, body = raw(service, request_)
    assert (found, body["code"]) == (status, code)
    assert body.keys() == {"title", "description", "code"}
    assert body["description"]


def test_an_address_too_long_for_gunicorn_is_told_how_long_it_may_be(service: Service) -> None:
    _, body = raw(service, b"GET /" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    told = "The request's first line, method and address, is longer than 8,190 bytes."
    assert (body["code"], body["description"]) == ("uri_too_long", told)


# --- anything at all ---------------------------------------------------------------------------------------

TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["true", "price", "min", "price,"]),
    st.sampled_from(["2021-01-01", "2021-01-31", "CNGGZ", "world", "1e9", "NaN", "''", "\0", "%", "\u017f"]),
    st.dates().map(str),
)
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=10), TEXT), max_size=8)


def any_answer(answer: httpx.Response) -> None:
    """An answer or a refusal, never a failure, and always in its shape."""
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code == 200:
        assert answer.json().keys() >= {"rates"}
    else:
        assert answer.status_code in (400, 414), answer.text
        assert answer.json().keys() == {"title", "description", "code"}


@settings(
    deadline=None, max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pairs=PAIRS, complete=st.booleans())
@example(pairs=[("dest_code", "\ud800")], complete=True)
def test_no_parameters_make_it_fail(service: Service, pairs: list[tuple[str, str]], complete: bool) -> None:
    parameters = (GOOD | dict(pairs)).items() if complete else pairs
    any_answer(service.get(f"/rates?{urlencode(list(parameters), errors='surrogatepass')}"))


@settings(
    deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(query=st.binary(max_size=60))
def test_no_bytes_make_it_fail(service: Service, query: bytes) -> None:
    """As they are where HTTP allows, as %XX where it does not."""
    target = "".join(chr(byte) if 33 <= byte < 127 else f"%{byte:02X}" for byte in query).replace("#", "%23")
    any_answer(service.get(f"/rates?{target}"))
