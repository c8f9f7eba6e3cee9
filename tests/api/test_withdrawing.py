"""`DELETE /batches/ID`: a worker is asked to take the batch back, and most often it is done at once."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread
from uuid import UUID, uuid4

import falcon.testing
import httpx
import pytest

from loader.withdraw import withdraw
from storage.messages import WithdrawBatch
from tests.api.conftest import WITHDRAWAL_S
from tests.api.ingestion import (
    ADMINISTRATOR,
    CSV,
    NOBODY,
    OTHER,
    WRITER,
    accepted,
    bearing,
    post,
    refused,
    told,
    works_in,
)
from tests.api.service import Service
from tests.api.world import load_prices
from tests.batch_storage import BatchStorage
from tests.postgres import Database

GOOD = [("CNSGH", "EETLL", "2021-03-01", 2510)] * 3


@contextmanager
def worker(ledger: Database, store: BatchStorage) -> Generator[None]:
    """Somebody who does what the queue asks for."""
    stop = Event()

    def work() -> None:
        with ledger.connect("rates_loader") as connection:
            while not stop.wait(0.05):
                for asked in works_in(store):
                    if isinstance(asked, WithdrawBatch):
                        assert asked.by == "administrator"
                        withdraw(connection, str(asked.batch))

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def delete(service: Service, batch: UUID | str | None, token: str = ADMINISTRATOR) -> httpx.Response:
    return service.client.delete(f"/batches/{batch}", headers=bearing(token))


@pytest.fixture
def published(ledger: Database, store: BatchStorage) -> str:
    works_in(store)
    return str(load_prices(ledger, GOOD).batch)


def test_a_batch_is_out_of_the_answers_once_it_is_answered(
    ingestion: Service, ledger: Database, store: BatchStorage, published: str
) -> None:
    before = ingestion.rates("CNSGH", "EETLL", "2021-03-01")[0]["count"]
    with worker(ledger, store):
        batch = told(delete(ingestion, published))
    assert (batch["batch"], batch["state"]) == (published, "withdrawn")
    assert ingestion.rates("CNSGH", "EETLL", "2021-03-01")[0]["count"] in (before - 3, None)
    assert told(delete(ingestion, published))["state"] == "withdrawn", "and so it is if asked again"
    assert works_in(store) == set(), "for which nobody is asked"


def test_how_fast_it_was_loaded_is_not_told_by_when_it_was_taken_back(
    ingestion: Service, ledger: Database, store: BatchStorage, published: str
) -> None:
    assert told(ingestion.get(f"/batches/{published}"))["progress"]["rows_per_second"] is not None
    with worker(ledger, store):
        batch = told(delete(ingestion, published))
    assert batch["progress"]["rows_per_second"] is None


def test_where_that_takes_longer_it_is_asked_for(
    impatient: falcon.testing.TestClient, store: BatchStorage, published: str
) -> None:
    began = time.monotonic()
    answer = impatient.simulate_delete(f"/batches/{published}", headers=bearing(ADMINISTRATOR))
    assert time.monotonic() - began >= WITHDRAWAL_S
    assert (answer.status_code, answer.json["state"]) == (202, "published")
    assert answer.headers["location"] == f"/batches/{published}"
    assert works_in(store) == {WithdrawBatch(UUID(published), "administrator")}


@pytest.mark.parametrize("state", ["rejected", "valid"])
def test_a_batch_of_which_nothing_is_in_is_refused(
    ingestion: Service, ledger: Database, store: BatchStorage, published: str, state: str
) -> None:
    ledger.rows("UPDATE batches SET state = %s WHERE id = %s RETURNING id", state, published)
    refused(delete(ingestion, published), 409, "nothing_to_withdraw")
    assert works_in(store) == set()


@pytest.mark.parametrize("name", [NOBODY, "none", "%00"])
def test_a_batch_that_there_is_not_is_404(ingestion: Service, name: str) -> None:
    refused(delete(ingestion, name), 404, "batch_not_found")


def test_a_parameter_is_refused_and_the_batch_stays(
    ingestion: Service, store: BatchStorage, published: str
) -> None:
    """Whoever sends `dry_run=true` does not mean it."""
    refused(delete(ingestion, f"{published}?dry_run=true"), 400, "unknown_parameter")
    assert works_in(store) == set()


# --- whose it is -------------------------------------------------------------------------------------------


def sent_by(ledger: Database, batch: str, name: str, request_id: str | None) -> str:
    change = "UPDATE batches SET created_by = %s, request_id = %s WHERE id = %s RETURNING id"
    ledger.rows(change, name, request_id, batch)
    return batch


def test_its_sender_withdraws_it_and_no_other_bearer_may(
    impatient: falcon.testing.TestClient,
    ingestion: Service,
    ledger: Database,
    store: BatchStorage,
    published: str,
) -> None:
    batch = sent_by(ledger, published, "writer", "r-1")
    answer = delete(ingestion, batch, OTHER)
    assert refused(answer, 403, "forbidden") == (
        f"Batch {batch} was sent by 'writer'; the token 'other' may take back only what it sent, unless it"
        " has the scope admin."
    )
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert works_in(store) == set()
    assert impatient.simulate_delete(f"/batches/{batch}").status_code == 202
    assert works_in(store) == {WithdrawBatch(UUID(batch), "writer")}


@pytest.mark.parametrize("name", ["s3", "writer", "writer@host"])
def test_what_did_not_come_over_http_is_nobodys_whatever_its_sender_is_called(
    ingestion: Service, ledger: Database, store: BatchStorage, published: str, name: str
) -> None:
    batch = sent_by(ledger, published, name, None)
    reason = refused(delete(ingestion, batch, WRITER), 403, "forbidden")
    assert reason.startswith(f"Batch {batch} was loaded by {name!r}, not over HTTP; ")
    assert works_in(store) == set()


def test_another_bearer_is_told_that_it_is_not_theirs_whatever_became_of_it(
    ingestion: Service, ledger: Database, published: str
) -> None:
    batch = sent_by(ledger, published, "writer", "r-1")
    for state, status, code in (("rejected", 409, "nothing_to_withdraw"), ("withdrawn", 200, None)):
        ledger.rows("UPDATE batches SET state = %s WHERE id = %s RETURNING id", state, batch)
        refused(delete(ingestion, batch, OTHER), 403, "forbidden")
        answer = delete(ingestion, batch, WRITER)
        assert answer.status_code == status
        assert answer.json().get("code") == code


# --- the database away -------------------------------------------------------------------------------------


def test_what_was_accepted_is_asked_back_even_without_the_database(
    alone: Service, store: BatchStorage
) -> None:
    batch = accepted(post(alone, CSV, Idempotency_Key="taken back"))["batch"]
    works_in(store)
    assert told(delete(alone, batch, WRITER), 202)["batch"] == batch
    assert works_in(store) == {WithdrawBatch(UUID(batch), "writer")}


def test_without_the_database_too_it_is_its_senders_or_an_administrators(
    alone: Service, store: BatchStorage
) -> None:
    batch = accepted(post(alone, CSV, Idempotency_Key="not the other's"))["batch"]
    works_in(store)
    refused(delete(alone, batch, OTHER), 403, "forbidden")
    assert works_in(store) == set()
    assert told(delete(alone, batch), 202)["batch"] == batch


def test_without_the_database_nobody_can_tell_whether_there_is_such_a_batch(alone: Service) -> None:
    refused(delete(alone, uuid4()), 503, "service_unavailable")
    refused(delete(alone, "none"), 404, "batch_not_found")
