"""RATES_PRIVATE_BATCHES: what is told of batches takes a token, all else is open as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.api.ingestion import (
    ADMINISTRATOR,
    CSV,
    NOBODY,
    OTHER,
    READER,
    TOKENS,
    WRITER,
    accepted,
    bearing,
    post,
    refused,
    told,
)
from tests.api.service import AWAY, Service
from tests.batch_storage import BatchStorage
from tests.postgres import Database

PAGE = "https://app.example.com"
# Those below a batch's address, and that of the list.
OF_ONE = ("", "/errors", "/errors.csv")
OPEN = (
    *("/rates?orig_code=CNSGH&dest_code=EETLL&date_from=2021-03-01&date_to=2021-03-01", "/lanes", "/ports"),
    *("/regions", "/openapi.json", "/docs", "/health/live", "/health/ready"),
)


@pytest.fixture(scope="module")
def service(ledger: Database, batch_storage: BatchStorage) -> Iterator[Service]:
    own = {"WEB_CONCURRENCY": "1", "RATES_PRIVATE_BATCHES": "1", "RATES_CORS_ORIGINS": PAGE}
    with Service(ledger.environment("rates_api") | batch_storage.environment() | TOKENS | own) as service:
        yield service


@pytest.fixture(scope="module")
def batch(service: Service) -> str:
    return accepted(post(service, CSV, Idempotency_Key="private"))["batch"]


def addresses(batch: str) -> list[str]:
    return ["/batches", *(f"/batches/{batch}{end}" for end in OF_ONE)]


def test_without_a_token_nothing_is_told_of_batches_not_even_which_there_are(
    service: Service, batch: str
) -> None:
    for path in [*addresses(batch), *addresses(NOBODY), *addresses("none")]:
        for accept in ("*/*", "text/csv"):
            answer = service.client.get(path, headers={"Accept": accept, "Prefer": "wait=20"})
            reason = refused(answer, 401, "unauthorized")
            assert reason == "Authorization is missing; send `Authorization: Bearer TOKEN`."
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["cache-control"] == "no-store"
        assert service.client.head(path).status_code == 401


def test_a_token_that_is_not_known_is_refused_as_elsewhere(service: Service, batch: str) -> None:
    for path in addresses(batch):
        answer = service.client.get(path, headers=bearing("wrong"))
        refused(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("token", [READER, WRITER, OTHER, ADMINISTRATOR])
def test_every_token_that_is_known_reads_them_since_each_scope_includes_reading(
    service: Service, batch: str, token: str
) -> None:
    for path in addresses(batch):
        for accept in ("*/*", "text/csv"):
            answer = service.client.get(path, headers=bearing(token, Accept=accept))
            assert answer.status_code == 200, answer.text
            assert answer.headers["cache-control"] == "no-store", "for no cache to tell others"
        assert service.client.head(path, headers=bearing(token)).status_code == 200
    assert told(service.client.get(f"/batches/{batch}", headers=bearing(token)))["batch"] == batch
    answer = service.client.get(f"/batches/{NOBODY}", headers=bearing(token))
    refused(answer, 404, "batch_not_found")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", OPEN)
def test_all_else_is_read_without_a_token(service: Service, path: str) -> None:
    assert service.client.get(path).status_code != 401


def test_a_page_asks_whether_it_may_before_it_sends_a_token_and_reads_that_it_needs_one(
    service: Service, batch: str
) -> None:
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    for path in addresses(batch):
        answer = service.client.options(path, headers=asks)
        assert answer.status_code in (200, 204)
        assert answer.headers["access-control-allow-headers"] == "authorization"
        answer = service.client.get(path, headers={"Origin": PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PAGE)


def test_the_document_says_which_reads_take_a_token_and_only_where_they_do(
    service: Service, ingestion: Service
) -> None:
    found = {
        private: {
            path
            for path, methods in json.loads(each.get("/openapi.json").text)["paths"].items()
            if "get" in methods and methods["get"].get("security") == [{"bearer": []}]
        }
        for private, each in ((True, service), (False, ingestion))
    }
    assert found[True] == {"/batches", *(f"/batches/{{batch}}{end}" for end in OF_ONE)}
    assert found[False] == set()


def test_where_they_are_open_no_cache_keeps_them_either(ingestion: Service) -> None:
    for path in addresses(NOBODY):
        assert ingestion.client.get(path).headers["cache-control"] == "no-store"


def test_without_any_tokens_nobody_reads_them() -> None:
    own = {"WEB_CONCURRENCY": "1", "RATES_PRIVATE_BATCHES": "1"}
    with Service(AWAY | own) as service:
        refused(service.client.get("/batches", headers=bearing()), 401, "unauthorized")
