"""The database goes away and comes back: 503 at once, 200 again by itself, and health checks that say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import falcon
import falcon.testing
import httpx
import psycopg
import pytest
from psycopg import sql

from api.errors import add_error_handlers
from api.store import Store
from database.connect import make_pool
from database.errors import DatabaseUnavailable, StatementTooSlow
from database.migrate import migrate
from local.postgres import PostgresServer, free_port
from tests.api.conftest import KEEP_NOTHING
from tests.api.service import Service
from tests.api.world import load_prices
from tests.postgres import PASSWORD, ROLES, Database
from tests.waiting import wait_until

QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=CNSGH&dest_code=DEHAM"
DATABASE = "rates"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that these tests may stop."""
    folder = tmp_path_factory.mktemp("outage") / "data"
    settings = {"fsync": "off", "shared_buffers": "16MB"}
    with PostgresServer(folder, free_port(), PASSWORD, settings=settings) as server:
        with server.connect() as connection, pytest.MonkeyPatch.context() as patch:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            for name, value in server.environment(database=DATABASE).items():
                patch.setenv(name, value)
            migrate()
            for role in map(sql.Identifier, ROLES):
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, PASSWORD))
        load_prices(Database(server, DATABASE), [("CNSGH", "DEHAM", "2021-01-01", 5)] * 3)
        yield server


@pytest.fixture
def running_server(own_server: PostgresServer) -> Iterator[PostgresServer]:
    """It runs when a test begins and when it ends, whatever happens in between."""
    yield own_server
    if not own_server.running:
        own_server.start()


@pytest.fixture(scope="module")
def one_worker(own_server: PostgresServer) -> Iterator[Service]:
    environment = own_server.environment("rates_api", DATABASE)
    own = {"WEB_CONCURRENCY": "1", "API_THREADS": "4", **KEEP_NOTHING}
    # A slow machine may take longer to connect; a server that refuses is known to be away all the same.
    with Service(environment | own, changed={"api.store.WAIT_S": 20}) as service:
        yield service


def unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "title": "Service unavailable",
        "description": "The database cannot be reached at the moment; try again.",
        "code": "service_unavailable",
    }


def is_answered(service: Service) -> bool:
    return service.get(QUESTION).status_code == 200


def test_while_it_is_away_requests_get_503_and_after_it_is_back_200_without_a_restart(
    running_server: PostgresServer, one_worker: Service
) -> None:
    assert is_answered(one_worker)
    pid = one_worker.process.pid
    running_server.stop()
    unavailable(one_worker.get(QUESTION))
    unavailable(one_worker.get("/health/ready"))
    assert one_worker.get("/health/live").status_code == 200

    running_server.start()

    wait_until(lambda: is_answered(one_worker))
    assert one_worker.get("/health/ready").status_code == 200
    assert one_worker.process.pid == pid
    assert "Traceback" not in "\n".join(one_worker.lines)


def test_a_crowd_that_asks_while_it_is_away_does_not_keep_a_health_check_waiting(
    running_server: PostgresServer, one_worker: Service
) -> None:
    """If each of the 100 waited its 20 s on one of the 4 threads, all others would be turned away."""
    running_server.stop()
    with ThreadPoolExecutor(100) as crowd:
        answers = [crowd.submit(one_worker.get, QUESTION) for _ in range(100)]
        assert one_worker.get("/health/live").status_code == 200
        told = Counter(answer.result().json()["code"] for answer in answers)
    assert told.keys() <= {"service_unavailable", "overloaded"}
    assert told["service_unavailable"] > 20, "how many it is, is a matter of the machine"


def test_what_the_database_gives_up_is_told_apart_from_one_that_is_away() -> None:
    """Who asks again in a second would take a thread for the next 5."""

    class Slow:
        def on_get(self, _request: falcon.Request, _response: falcon.Response) -> None:
            raise StatementTooSlow("the database took too long")

    app = falcon.App()
    add_error_handlers(app)
    app.add_route("/slow", Slow())
    answer = falcon.testing.simulate_get(app, "/slow")
    assert (answer.status_code, answer.json["code"]) == (503, "too_slow")
    assert answer.headers["retry-after"] == "10"


def test_a_request_right_after_a_restart_is_answered(
    running_server: PostgresServer, one_worker: Service
) -> None:
    """A failover breaks every connection of the pool; whoever comes first must not pay for it."""
    wait_until(lambda: is_answered(one_worker))
    with ThreadPoolExecutor(4) as crowd:
        assert all(crowd.map(lambda _: is_answered(one_worker), range(40)))
    running_server.stop()
    running_server.start()
    assert [one_worker.get(QUESTION).status_code for _ in range(8)] == [200] * 8


def test_a_pool_outlives_a_restart_of_its_server(
    running_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in running_server.environment(database=DATABASE).items():
        monkeypatch.setenv(name, value)
    with make_pool("rates-test", size_max=2, wait_s=0.2) as pool:
        store = Store(pool)
        before = store.read(backend)
        running_server.stop()
        for _ in range(5):
            with pytest.raises(DatabaseUnavailable):
                store.read(backend)
        running_server.start()
        # Once one request has waited in vain, the next ones do not wait long, for a moment.
        after: list[int] = []
        wait_until(lambda: is_answered_by(store, after))
    assert before not in after


def backend(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row
    return row[0]


def is_answered_by(store: Store, backends: list[int]) -> bool:
    with suppress(DatabaseUnavailable):
        backends.append(store.read(backend))
    return bool(backends)


def test_it_starts_while_the_database_is_away_and_answers_once_it_is_there(
    running_server: PostgresServer,
) -> None:
    running_server.stop()
    with Service(running_server.environment("rates_api", DATABASE)) as service:
        unavailable(service.get("/health/ready"))
        running_server.start()
        wait_until(lambda: is_answered(service))


def test_a_database_without_the_schema_is_503_and_not_ready(running_server: PostgresServer) -> None:
    with Service(running_server.environment("postgres", "template1")) as service:
        unavailable(service.get(QUESTION))
        unavailable(service.get("/health/ready"))
    assert [line for line in service.lines if "run `loader migrate`" in line]


def test_a_wrong_password_is_503_and_no_secret_is_logged(running_server: PostgresServer) -> None:
    with Service(running_server.environment("rates_api", DATABASE, "not-the-password")) as service:
        unavailable(service.get(QUESTION))
    log = "\n".join(service.lines)
    assert "password authentication failed" in log
    assert "not-the-password" not in log


def test_where_the_database_pauses_readiness_never_asks_it(running_server: PostgresServer) -> None:
    environment = running_server.environment("rates_api", DATABASE)
    with Service(environment | {"RATES_DB_PAUSES": "1"}) as service:
        running_server.stop()
        assert service.get("/health/ready").json() == {"status": "ready"}
        unavailable(service.get(QUESTION))
        assert service.get("/health/ready").status_code == 200
