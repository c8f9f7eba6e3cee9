"""GET /openapi.json: sound, whole, and what the code says. `conformance` holds every answer against it."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import falcon.inspect
import httpx
import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import api
from api import openapi
from api.app import create_app
from api.batches import Batches
from api.data_version import NewestVersion
from api.errors import BadParameter
from api.operations import EVERYWHERE, OPERATIONS, Operation
from api.parameters import NONE, Parameter
from api.settings import read_settings
from api.store import Store
from api.worker import ASKS_LIVE
from database.connect import make_pool
from tests.api.conformance import assert_conforms, document
from tests.api.ingestion import NOBODY, bearing
from tests.api.raised_codes import Reach, all_codes
from tests.api.service import AWAY, NOWHERE, Service

JSON = "application/json"
# What /docs is made of.
NOT_OPERATIONS = {("GET", "/docs/{name}")}
# Of addresses and methods that there are not.
OF_NO_OPERATION = {"not_found", "method_not_allowed"}
# Among these is what each parameter refuses.
TEXTS = [
    "",
    "x" * 3_000,
    "x/\0",
    "min",
    "2021-02-30",
    "0",
    "-1",
    "1.5",
    "maybe",
    "\0",
    "http://",
    "2021-01-01T00:00:00Z",
]


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def api_modules() -> Iterator[ModuleType]:
    """All but those that start a server when they are imported."""
    for found in pkgutil.iter_modules(api.__path__, "api."):
        if found.name not in ("api.server", "api.wsgi"):
            yield importlib.import_module(found.name)


def parameters() -> list[Parameter]:
    found = [each for operation in OPERATIONS for each in (operation.parameters or NONE).values()]
    return list({(each.name, id(each.read)): each for each in found}.values())


# --- as a document -----------------------------------------------------------------------------------------


def test_it_is_openapi_3_1_by_a_validator_of_others() -> None:
    assert document()["openapi"].startswith("3.1.")
    assert [str(fault) for fault in OpenAPIV31SpecValidator(document()).iter_errors()] == []


def test_the_validator_would_have_found_a_fault() -> None:
    broken = json.loads(openapi.encode_document(private_batches=False))
    del broken["paths"]["/rates"]["get"]["responses"]["200"]["description"]
    assert list(OpenAPIV31SpecValidator(broken).iter_errors())


def test_it_has_every_route_of_the_app_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in AWAY.items():
        monkeypatch.setenv(name, value)
    pool = make_pool("test", size_max=1, settings={})
    app = create_app(Store(pool), NewestVersion(lambda: pytest.fail("asked")), read_settings(NOWHERE))
    routed = {
        (method.method, route.path)
        for route in falcon.inspect.inspect_routes(app)
        for method in route.methods
        if not method.internal and method.method != "HEAD"
    }
    assert {(each.method, each.path) for each in OPERATIONS} == routed - NOT_OPERATIONS


def test_every_operation_is_described_and_has_a_name_of_its_own() -> None:
    described = [one for methods in document()["paths"].values() for one in methods.values()]
    assert all(len(one["description"]) > 10 and one["summary"] for one in described)
    described += document()["components"]["schemas"].values()
    assert not [one for one in described if "\n " in one.get("description", "")]
    names = [one["operationId"] for one in described if "operationId" in one]
    assert len(set(names)) == len(names) == len(OPERATIONS)


def test_every_schema_that_is_named_is_there_and_every_one_there_is_named() -> None:
    text = json.dumps(document())
    there = document()["components"]["schemas"].keys()
    assert {name for name in there if f'"#/components/schemas/{name}"' in text} == there
    assert text.count("#/components/schemas/") > len(there)


def test_examples_are_what_the_parameter_takes() -> None:
    examples = [(each, one) for each in parameters() for one in each.schema.get("examples", ())]
    assert len(examples) >= 5
    for parameter, example in examples:
        parameter.read(parameter.name, str(example))


# --- against the code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_the_codes_of_an_operation_are_those_that_its_code_raises(operation: Operation) -> None:
    reached = Reach(operation.respond)
    told = {
        (status, code)
        for status, codes in openapi.codes_of(operation, private_batches=True).items()
        for code in codes
    }
    for known in (openapi.BEFORE, openapi.FAILED, openapi.OVER_LIMIT, openapi.SHED):
        told -= {(status, code) for status, codes in known.items() for code in codes}
    if operation.parameters is not None:
        told -= {(400, code) for code in openapi.parameter_codes(operation.parameters)}
    assert reached.reads_parameters == (operation.parameters is not None)
    assert reached.codes == told


@pytest.mark.parametrize("parameter", parameters(), ids=lambda parameter: parameter.name)
def test_a_text_is_taken_as_its_schema_has_it(parameter: Parameter) -> None:
    """A format says less than there is to say, and a number is none until it is read."""
    if parameter.schema["type"] != "string" or "format" in parameter.schema:
        return
    schema = jsonschema_rs.Draft202012Validator(dict(parameter.schema))
    around = ["", *(str(one) for one in parameter.schema.get("examples", ()))]
    characters = [f"{one}{chr(number)}" for one in around for number in range(256)]
    for text in [*TEXTS, *characters, "%2F/%25", "%2f/%2", "A/B"]:
        try:
            parameter.read(parameter.name, text)
        except BadParameter:
            assert not schema.is_valid(text), text
        else:
            # An empty one is missing, or no place.
            assert schema.is_valid(text) or not text, text


@pytest.mark.parametrize("parameter", parameters(), ids=lambda parameter: parameter.name)
def test_the_codes_of_a_parameter_are_those_that_it_refuses_with(parameter: Parameter) -> None:
    raised = set()
    for text in TEXTS:
        try:
            parameter.read(parameter.name, text)
        except BadParameter as error:
            raised.add(error.error_code)
    assert raised == set(parameter.codes)


def test_every_code_that_is_written_anywhere_is_some_operations() -> None:
    told = {
        code
        for each in OPERATIONS
        for codes in openapi.codes_of(each, private_batches=True).values()
        for code in codes
    }
    written = all_codes(api_modules())
    assert len(written) > 15
    assert written - told == set()


def test_every_operation_says_what_may_be_away() -> None:
    """By its status; which of them it is, is not told to anybody."""
    assert {name_of(each) for each in OPERATIONS if not each.needs} == {
        *("GET /health/live", "GET /openapi.json", "GET /docs")
    }


def test_what_writes_and_only_that_needs_a_token() -> None:
    for operation in OPERATIONS:
        described = document()["paths"][operation.path][operation.method.lower()]
        assert ("security" in described) == (operation.method != "GET")
        assert ("401" in described["responses"]) == (operation.method != "GET")


# --- as it is served ---------------------------------------------------------------------------------------


def test_it_is_served_and_not_sent_again_to_whoever_has_it(ingestion: Service) -> None:
    answer = ingestion.get("/openapi.json")
    assert answer.headers["content-type"] == JSON
    assert answer.json() == document()
    assert answer.headers["content-encoding"] == "gzip"
    plain = ingestion.client.get("/openapi.json", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
    again = ingestion.client.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = ingestion.client.get("/openapi.json", headers={"if-none-match": 'W/"other"'})
    assert other.status_code == 200


def test_it_is_served_while_everything_else_is_away(alone: Service) -> None:
    assert alone.get("/openapi.json").json() == document()


def test_limits_other_origins_and_https_are_told_of() -> None:
    """What each answer has by the server's settings, and what it is when the limit is reached."""
    page = "https://app.example.com"
    asked = [each.path.format(batch=NOBODY) for each in OPERATIONS if each.method == "GET"]
    own = {"WEB_CONCURRENCY": "1", "RATES_CORS_ORIGINS": page, "RATES_LIMIT": f"{len(asked)}/hour"}
    with Service(AWAY | own) as service:
        answers = [
            service.client.get(path, headers={"Origin": page, "X-Forwarded-Proto": "https"})
            for path in [*asked, *asked]
        ]
    for answer in answers:
        health = answer.url.path.startswith("/health/")
        assert answer.headers["access-control-allow-origin"] == page
        assert answer.headers["strict-transport-security"]
        assert ("ratelimit" in answer.headers) == (not health)
    assert {answer.status_code for answer in answers[: len(asked)]} == {200, 400, 503}
    assert [answer.status_code for answer in answers if answer.url.path == "/docs"] == [200, 429]
    assert [answer.status_code for answer in answers if answer.url.path == "/health/live"] == [200, 200]


def test_only_what_is_answered_without_the_app_may_lack_an_id() -> None:
    answered = {f"{each.method} {each.path} ".encode() for each in OPERATIONS if not each.sheds}
    assert answered == {asked for asked in ASKS_LIVE if asked.startswith(b"GET")}


def test_an_address_that_only_looks_like_a_batch_is_answered_as_the_document_has_it(
    ingestion: Service,
) -> None:
    for name in ("x", "x%00", "%FF", f"{{{NOBODY}}}", "uploads%20"):
        for method in ("GET", "DELETE"):
            answer = ingestion.client.request(method, f"/batches/{name}", headers=bearing())
            assert answer.status_code == 404
            assert answer.json()["code"] == "batch_not_found"


# --- that `conformance` would find what it is for ----------------------------------------------------------

GOOD: dict[str, Any] = {"rates": [{"count": None, "day": "2021-01-01", "price": None}]}
HEADERS = {
    "x-request-id": "x",
    "etag": 'W/"x"',
    "data-version": "1",
    "content-type": JSON,
    **{name.lower(): "x" for name in EVERYWHERE},
}
OF_A_REFUSAL = {name: HEADERS[name] for name in ("content-type", *map(str.lower, EVERYWHERE))}
RATE = GOOD["rates"][0]


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, {"rates": [RATE | {"day": "tomorrow"}]}, HEADERS),
        (200, {"rates": [RATE | {"price": "1"}]}, HEADERS),
        (200, {"rates": [RATE | {"currency": "USD"}]}, HEADERS),
        (200, {"rates": [{"count": 3, "price": 1.0}]}, HEADERS),
        (200, GOOD | {"asked": None}, HEADERS),
        (200, GOOD, {name: value for name, value in HEADERS.items() if name != "etag"}),
        (200, GOOD, HEADERS | {"x-other": "x"}),
        (200, GOOD, HEADERS | {"content-type": "text/plain"}),
        (202, GOOD, HEADERS),
        (400, {"title": "x", "description": "x", "code": "batch_not_found"}, OF_A_REFUSAL),
        (400, {"title": "x", "code": "invalid_date"}, OF_A_REFUSAL),
    ],
    ids=[
        "format",
        "type",
        "key",
        "lacking",
        "null",
        "no header",
        "a header",
        "media type",
        "status",
        "code",
        "error",
    ],
)
def test_an_answer_that_is_not_as_told_is_found(status: int, body: Any, headers: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        assert_conforms("/rates", "get", "GET", httpx.Response(status, json=body, headers=headers))


def test_an_answer_that_is_as_told_passes() -> None:
    assert_conforms("/rates", "get", "GET", httpx.Response(200, json=GOOD, headers=HEADERS))
    refused = {"title": "x", "description": "x", "code": "invalid_date"}
    assert_conforms("/rates", "get", "GET", httpx.Response(400, json=refused, headers=OF_A_REFUSAL))


def test_a_code_that_is_raised_somewhere_below_is_found() -> None:
    """Through fields, functions, properties, context managers and what is made on the way."""
    codes = Reach(Batches.on_post).codes
    assert {(408, "body_stalled"), (503, "busy"), (409, "key_taken"), (401, "unauthorized")} <= codes
    assert (404, "batch_not_found") not in codes
