"""Which pages may ask from a browser, what they may send, and what they may read."""

from __future__ import annotations

from collections.abc import Mapping

import falcon
import falcon.testing
import pytest

from api.cors import Cors
from tests.api.service import Service

PAGE = "https://app.example.com"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
}


@pytest.fixture(scope="module")
def service(ingestion: Service) -> Service:
    """The one that all modules without prices share."""
    return ingestion


class Batches:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.set_header("Vary", "Accept")
        response.text = "{}"

    on_post = on_get


def asked(method: str, headers: Mapping[str, str], *origins: str) -> falcon.testing.Result:
    app = falcon.App(middleware=[Cors(origins)])
    app.add_route("/batches", Batches())
    return falcon.testing.simulate_request(app, method, "/batches", headers=headers)


def allowed(answer: falcon.testing.Result) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("origins", [("*",), (PAGE, "https://other.example.com")], ids=["any", "listed"])
def test_a_page_may_read_an_answer_and_what_its_head_says(origins: tuple[str, ...]) -> None:
    answer = asked("GET", {"Origin": PAGE}, *origins)
    assert answer.headers["access-control-allow-origin"] == ("*" if origins == ("*",) else PAGE)
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Data-Version", "Location", "X-Request-ID", "Retry-After", "Link"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == ("Accept" if origins == ("*",) else "Accept, Origin")


@pytest.mark.parametrize("origins", [("*",), (PAGE,)], ids=["any", "listed"])
def test_a_page_may_send_a_batch_with_its_token(origins: tuple[str, ...]) -> None:
    answer = asked("OPTIONS", PREFLIGHT, *origins)
    assert answer.status_code in (200, 204)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert answer.headers["access-control-allow-origin"] == origins[0]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", f"{PAGE}.evil.com", "http://app.example.com", "null"]
)
def test_any_other_page_may_not_and_caches_know_that_it_depends(origin: str) -> None:
    for method, headers in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        answer = asked(method, {**headers, "Origin": origin}, PAGE)
        assert allowed(answer) == {}
        assert "Origin" in answer.headers["vary"]


def test_without_the_setting_no_page_may(service: Service) -> None:
    for method in ("GET", "OPTIONS"):
        answer = service.client.request(method, "/rates", headers=PREFLIGHT)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
