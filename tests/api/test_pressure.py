"""More requests than can be answered: what is accepted is answered in time, all others are told at once."""

from __future__ import annotations

import asyncio
import json
import re
import select
import socket
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import cast

import httpx
import psutil
import pytest

from api import line as line_module
from api.cors import told_to_pages
from api.line import LENGTH_MAX, STANDING_WAIT_S, WAIT_S, Connection, Line
from api.store import CONNECTION_SETTINGS
from api.worker import ALIVE
from local.postgres import HOST
from tests.api.conformance import assert_conforms
from tests.api.conftest import KEEP_NOTHING
from tests.api.service import Service
from tests.api.world import load_prices
from tests.examples import nightly
from tests.postgres import Database
from tests.waiting import TIMEOUT_S, wait_until

QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-31&orig_code=CNSGH&dest_code=DEHAM"
GET = f"GET {QUESTION} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
PAGE = "https://app.example.com"
CROWD = 500
CROWDS = 3 if nightly else 1
THREADS = 8
# Longer than any test: what holds a thread up ends with the test's own lock, and with nothing else.
HELD_UP = {"api.store.CONNECTION_SETTINGS": CONNECTION_SETTINGS | {"statement_timeout": "10min"}}
# Of a process: 75 at rest, and 8 KiB for each of the thousand connections that it may have.
MEMORY_MIB = 100


@pytest.fixture(scope="module")
def pressed(filled: Database) -> Iterator[Service]:
    """Two processes of four threads, which keep no answers: each question is put to the database."""
    load_prices(filled, [("CNSGH", "DEHAM", f"2021-01-{day:02}", 5) for day in range(1, 32)] * 3)
    own = {"WEB_CONCURRENCY": "2", "RATES_CORS_ORIGINS": PAGE, **KEEP_NOTHING}
    with Service(filled.environment("rates_api") | own, changed=HELD_UP) as service:
        wait_until(lambda: len(processes(service)) == 2)
        yield service
    assert "Traceback" not in "\n".join(service.lines)


def processes(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children()


async def ask_once(port: int, request: bytes) -> bytes:
    """The whole answer. Raises where the connection is reset."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", head.lower())
    body = await reader.readexactly(int(length))
    writer.close()
    return head + body


async def ask_at_once(port: int, count: int) -> list[bytes]:
    return await asyncio.gather(*(ask_once(port, GET) for _ in range(count)))


def status_of(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def code_of(answer: bytes) -> str:
    """Of an error."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


def answer_of(text: bytes) -> httpx.Response:
    """As a client has it."""
    head, _, body = text.partition(b"\r\n\r\n")
    lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return httpx.Response(status_of(head), headers=[(name, value) for name, value in lines], content=body)


@contextmanager
def all_held_up(service: Service, database: Database) -> Generator[None]:
    """Meanwhile each thread of the service has a question that is not answered."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'rates-api' AND wait_event_type = 'Lock'"
    )
    once = GET.replace(b"Host", b"Connection: close\r\nHost")
    with ThreadPoolExecutor(THREADS * 4) as crowd, database.connect() as owner, owner.transaction():
        owner.execute("LOCK TABLE lane_month_totals IN ACCESS EXCLUSIVE MODE")
        # Whichever process has a thread free may take one, or the other one, which turns it away.
        while database.rows(waiting)[0][0] < THREADS:
            crowd.submit(service.raw, once)
            time.sleep(0.02)
        yield


# --- crowds ------------------------------------------------------------------------------------------------


def test_of_500_connections_at_once_each_is_answered_or_told_so(pressed: Service) -> None:
    answers = [answer for _ in range(CROWDS) for answer in asyncio.run(ask_at_once(pressed.port, CROWD))]
    assert len(answers) == CROWDS * CROWD
    statuses = {status_of(answer) for answer in answers}
    assert 200 in statuses
    assert {code_of(answer) for answer in answers if status_of(answer) != 200} <= {"overloaded"}
    assert all(process.memory_info().rss < MEMORY_MIB * 2**20 for process in processes(pressed))


def test_while_all_threads_are_held_up_others_are_told_so_meanwhile_and_the_process_lives(
    pressed: Service, filled: Database
) -> None:
    with all_held_up(pressed, filled):
        answers = asyncio.run(ask_at_once(pressed.port, 100))
        assert {code_of(answer) for answer in answers} == {"overloaded"}
        alive = asyncio.run(ask_once(pressed.port, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert status_of(alive) == 200
    assert pressed.get(QUESTION).status_code == 200


def test_who_is_turned_away_is_told_as_of_any_error_when_to_come_again(
    pressed: Service, filled: Database
) -> None:
    with all_held_up(pressed, filled):
        head, _, body = pressed.raw(GET).partition(b"\r\n\r\n")
        without_body = pressed.raw(GET.replace(b"GET", b"HEAD"))
        sent = pressed.raw(
            b"POST /batches HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
        )
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 503 Service Unavailable"
    assert {b"Retry-After: 1", b"Connection: close", b"Content-Type: application/json"} <= set(lines)
    assert json.loads(body) == {
        "title": "Service Unavailable",
        "description": "More is asked of this server than it can answer in time; try again.",
        "code": "overloaded",
    }
    assert without_body == head + b"\r\n\r\n"
    assert sent.endswith(body), "a body that nobody reads takes no answer away"


def test_a_page_may_read_that_it_was_turned_away_and_the_document_tells_of_it(
    pressed: Service, filled: Database
) -> None:
    lively = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with all_held_up(pressed, filled), ThreadPoolExecutor(5) as crowd:
        plain, *others = crowd.map(
            lambda request: answer_of(pressed.raw(request)),
            [
                GET,
                GET.replace(b"Host: x", f"Host: x\r\nORIGIN:{PAGE} ".encode()),
                GET.replace(b"Host: x", b"Host: x\r\nOrigin: https://evil.example.com"),
                GET.replace(b"GET", b"POST") + f"\r\nOrigin: {PAGE}\r\n".encode(),
                lively.replace(b"Host: x", f"Host: x\r\nOrigin: {PAGE}".encode()),
            ],
        )
    of_page, of_other, in_body, alive = others
    for answer in (plain, of_other, in_body):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    for answer in (of_page, alive):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    for answer in (plain, of_page, of_other):
        assert (answer.status_code, answer.headers["vary"]) == (503, "Accept, Accept-Encoding, Origin")
        assert_conforms("/rates", "get", "GET", answer)
    assert alive.status_code == 200
    assert_conforms("/health/live", "get", "GET", alive)


@pytest.mark.parametrize(("origins", "told"), [(("*",), b"*"), ((PAGE,), PAGE.encode())], ids=["any", "one"])
def test_what_no_app_writes_says_who_may_read_it_as_the_app_does(
    origins: tuple[str, ...], told: bytes
) -> None:
    answer = told_to_pages(ALIVE, b"GET / HTTP/1.1\r\nOrigin: " + PAGE.encode() + b"\r\n\r\n", origins)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nAccess-Control-Allow-Origin: " + told + b"\r\n" in head
    assert (b"\r\nVary: Origin\r\n" in head) == (told != b"*")
    assert body == ALIVE.partition(b"\r\n\r\n")[2]


def test_readiness_is_asked_before_all_that_waits_and_never_turned_away(
    pressed: Service, filled: Database
) -> None:
    """Or a load balancer would take a task that has too much to do from those that have."""
    ready = b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with ThreadPoolExecutor(2) as balancer:
        with all_held_up(pressed, filled):
            answers = [balancer.submit(pressed.raw, ready) for _ in range(2)]
            time.sleep(WAIT_S + STANDING_WAIT_S)
            assert not any(answer.done() for answer in answers)
        assert [status_of(answer.result()) for answer in answers] == [200, 200]


def test_connections_over_which_nothing_is_asked_take_no_thread(pressed: Service) -> None:
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection((HOST, pressed.port), timeout=TIMEOUT_S))
            for _ in range(4 * THREADS)
        ]
        assert status_of(pressed.raw(GET.replace(b"Host", b"Connection: close\r\nHost"))) == 200
        closed, _, _ = select.select(idle, [], [], 0)
        assert not closed, "a thread of gunicorn's would have waited 5 s for each, and have closed some"


def test_whoever_stops_in_the_middle_of_a_head_is_let_go(pressed: Service) -> None:
    assert pressed.raw(GET[:20]) == b""


# --- the line ----------------------------------------------------------------------------------------------


def connections(count: int) -> list[Connection]:
    return [cast("Connection", SimpleNamespace(name=number)) for number in range(count)]


def test_a_line_is_taken_in_order_and_who_stands_before_all_others_comes_first() -> None:
    line, (first, second, urgent) = Line(2), connections(3)
    assert line.put(first)
    assert line.put(second)
    assert line.put_first(urgent)
    assert [line.take() for _ in range(3)] == [urgent, first, second]
    line.close()
    assert line.take() is None


def test_a_line_takes_so_many_for_a_thread_and_so_many_before_all_others() -> None:
    line, many = Line(2), connections(2 * LENGTH_MAX + 1)
    assert [line.put(each) for each in many] == [True] * 2 * LENGTH_MAX + [False]
    assert [line.put_first(each) for each in many[:3]] == [True, True, False]


def test_a_burst_may_wait_longer_than_whoever_comes_to_a_line_that_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(line_module, "time", SimpleNamespace(monotonic=lambda: now_s))
    line, (burst, late, later) = Line(1), connections(3)
    assert list(line.overdue()) == []
    line.put(burst)
    now_s += WAIT_S * 0.5
    line.put(late)
    now_s += WAIT_S * 0.4
    assert list(line.overdue()) == []
    now_s += STANDING_WAIT_S / 2
    assert list(line.overdue()) == [burst, late]
    line.put(later)
    now_s += WAIT_S * 0.9
    assert list(line.overdue()) == [], "the line was empty: it begins anew"
    assert line.take() is later


def test_what_was_turned_away_is_counted_and_not_told_one_by_one(pressed: Service, filled: Database) -> None:
    told_before = len(told(pressed))
    with all_held_up(pressed, filled):
        answers = asyncio.run(ask_at_once(pressed.port, 200))
    shed = sum(status_of(answer) == 503 for answer in answers)
    wait_until(lambda: sum(told(pressed)[told_before:]) >= shed)
    assert len(told(pressed)) - told_before < shed / 4


def told(service: Service) -> list[int]:
    return [json.loads(line)["requests_shed"] for line in service.lines if '"requests_shed"' in line]
