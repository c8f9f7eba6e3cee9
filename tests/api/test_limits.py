"""How often one client may ask: by token or address, told in headers, and never at the cost of others."""

from __future__ import annotations

from dataclasses import dataclass

import falcon
import falcon.testing
import pytest

from access.tokens import Tokens, entry_of
from api import limits
from api.bearers import Bearers
from api.errors import add_error_handlers
from api.limits import Counts, Limits, address_of
from tests.api.service import AWAY, Service

TOKENS = " ".join(entry_of(name, ["read"], f"token-of-{name}") for name in ("one", "other"))
PATH = "/anything"


class Anything:
    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.text = "{}"

    on_post = on_get


@dataclass
class Clock:
    """As `api.limits` reads it."""

    now_s: float = 1_000_000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It goes on only as a test has it go."""
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def client(limit: str, *, tokens: str = TOKENS, proxies: int = 1) -> falcon.testing.TestClient:
    app = falcon.App(middleware=[Limits(limit, Bearers(Tokens(tokens)), proxies)])
    add_error_handlers(app)
    app.add_route(PATH, Anything())
    app.add_route("/health/live", Anything())
    return falcon.testing.TestClient(app)


def asked(
    by: falcon.testing.TestClient, *, address: str = "192.0.2.1", token: str = ""
) -> falcon.testing.Result:
    headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {token}"} if token else {})
    return by.simulate_get(PATH, headers=headers)


def test_whoever_has_asked_enough_is_told_how_much_that_is_and_when_to_come_again() -> None:
    by = client("2/minute")
    first, second, third = (asked(by) for _ in range(3))
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert first.headers["ratelimit-policy"] == '"minute";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"minute";r=1;t=')
    assert third.headers["ratelimit"].startswith('"minute";r=0;t=')
    assert third.json["code"] == "too_many_requests"
    assert "This address may ask 2 per 1 minute" in third.json["description"]
    assert 1 <= int(third.headers["retry-after"]) <= 60
    assert f"t={third.headers['retry-after']}" in third.headers["ratelimit"]


def test_after_its_time_it_begins_anew(clock: Clock) -> None:
    by = client("1/second")
    assert [asked(by).status_code for _ in range(2)] == [200, 429]
    clock.now_s += 1.05
    assert asked(by).status_code == 200


def test_several_limits_hold_each(clock: Clock) -> None:
    by = client("2/second; 3/hour")
    assert [asked(by).status_code for _ in range(3)] == [200, 200, 429]
    clock.now_s += 1.05
    refused = asked(by)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 3500
    assert refused.headers["ratelimit-policy"] == '"second";q=2;w=1, "hour";q=3;w=3600'


def test_a_known_token_is_counted_wherever_it_comes_from_and_apart_from_others() -> None:
    by = client("1/minute")
    assert asked(by, token="token-of-one").status_code == 200
    refused = asked(by, token="token-of-one", address="192.0.2.2")
    assert refused.status_code == 429
    assert "This token may ask" in refused.json["description"]
    assert "token-of-one" not in refused.text
    assert asked(by, token="token-of-other").status_code == 200
    assert asked(by).status_code == 200


def test_tokens_that_nobody_knows_count_as_the_address_that_makes_them_up() -> None:
    by = client("2/minute")
    assert [asked(by, token=f"made-up-{n}").status_code for n in range(3)] == [200, 200, 429]


def test_while_tokens_cannot_be_read_addresses_count() -> None:
    by = client("1/minute", tokens="/nowhere/at/all")
    assert [asked(by, token="token-of-one").status_code for _ in range(2)] == [200, 429]


def test_health_checks_and_preflights_are_not_counted() -> None:
    by = client("1/minute")
    assert [by.simulate_get("/health/live").status_code for _ in range(5)] == [200] * 5
    assert [by.simulate_options(PATH).status_code for _ in range(5)] == [200] * 5
    assert asked(by).status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        ("192.0.2.9", 1, "192.0.2.9"),
        ("1.1.1.1, 2.2.2.2, 192.0.2.9", 1, "192.0.2.9"),
        ("1.1.1.1,192.0.2.9, 10.0.0.1", 2, "192.0.2.9"),
        ("192.0.2.9", 0, "127.0.0.1"),
        ("192.0.2.9", 2, "127.0.0.1"),
        (None, 1, "127.0.0.1"),
        ("anything", 1, "127.0.0.1"),
        ("", 1, "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", 1, "2001:db8:1:2::/64"),
    ],
    ids=str,
)
def test_what_a_client_writes_of_itself_is_not_believed(
    forwarded: str | None, proxies: int, address: str
) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = falcon.Request(falcon.testing.create_environ(headers=headers, remote_addr="127.0.0.1"))
    assert address_of(request, proxies) == address


def test_of_too_many_clients_those_are_forgotten_that_have_not_asked_for_long() -> None:
    counts = Counts(3)
    for key in ("a", "b", "c", "a", "d"):
        counts.incr(key, 60)
    assert [counts.get(key) for key in "abcd"] == [2, 0, 1, 1]
    assert counts.reset() == 3


def test_the_setting_is_all_it_takes_and_a_page_may_read_what_is_said() -> None:
    own = {"RATES_LIMIT": "2/hour", "RATES_CORS_ORIGINS": "https://app.example.com", "WEB_CONCURRENCY": "1"}
    with Service(AWAY | own) as service:
        page = {"Origin": "https://app.example.com"}
        answers = [service.client.get("/none", headers=page) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert "RateLimit" in answers[2].headers["access-control-expose-headers"]
        assert answers[2].headers["access-control-allow-origin"] == "https://app.example.com"
        assert service.get("/health/live").status_code == 200
