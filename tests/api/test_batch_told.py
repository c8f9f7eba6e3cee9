"""`GET /batches` and `/batches/ID`: what is told of a batch, by the ledger or so far by the bucket."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import falcon.testing
import httpx
import pytest

from loader.load import Result
from storage.layout import batch_id_of
from storage.manifest import Manifest, write_manifest
from tests.api.ingestion import BATCH_KEYS, CSV, NOBODY, accepted, post, refused, told
from tests.api.service import AWAY, Service
from tests.api.world import load_prices
from tests.batch_storage import BatchStorage
from tests.postgres import Database
from tests.waiting import wait_until

LANE = ("CNSGH", "EETLL")
GOOD = [(*LANE, "2021-03-01", 2510), (*LANE, "2021-03-01", 2540)]
BAD = [(*LANE, "2021-02-30", 1), (*LANE, "2021-03-01", 5), ("XXXXX", "EETLL", "2021-03-01", 1)]


def ended(service: Service, result: Result) -> dict[str, Any]:
    return told(service.get(f"/batches/{result.batch}"))


def planned(
    ledger: Database, *, state: str = "loading", key: str = "", chunks: int = 10, done: int = 0
) -> UUID:
    """A batch as it stands in the ledger while it is being loaded: ten seconds, of `chunks` some `done`."""
    key = key or str(uuid4())
    batch_id = batch_id_of(key)
    with ledger.connect("rates_loader") as connection:
        row = connection.execute(
            "INSERT INTO batches (id, key, source, state, chunk_rows, created_by, created_at)"
            " VALUES (%s, %s, 'body', %s, 100, 'writer', clock_timestamp() - interval '10 s')"
            " RETURNING batch_no",
            [batch_id, key, state],
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO plans (batch_no, content, complete, chunk_count) VALUES (%s, '{}', true, %s)",
            [row[0], chunks],
        )
        for chunk_no in range(done):
            connection.execute(
                "INSERT INTO chunks (batch_no, chunk_no, content_hash, row_count, error_count)"
                " VALUES (%s, %s, sha256('x'), 100, 0)",
                [row[0], chunk_no],
            )
    return batch_id


def end(ledger: Database, batch: UUID, state: str) -> None:
    ledger.rows(
        "UPDATE batches SET state = %s, ended_at = clock_timestamp() WHERE id = %s RETURNING id", state, batch
    )


# --- one ---------------------------------------------------------------------------------------------------


def test_a_published_batch_is_told_with_all_that_is_known_of_it(ingestion: Service, ledger: Database) -> None:
    result = load_prices(ledger, GOOD)
    batch = ended(ingestion, result)
    assert batch["batch"] == str(result.batch)
    assert (batch["state"], batch["rows"], batch["error_count"], batch["errors"]) == ("published", 2, 0, [])
    assert batch["source"].endswith("prices.csv")
    assert len(batch["content_hash"]) == 64
    assert 0 < batch["seconds"] < 60
    assert batch["created_at"] < batch["ended_at"]
    progress = batch["progress"]
    assert (progress["share"], progress["rows"], progress["chunks"]) == (1.0, 2, 1)
    assert progress["rows_per_second"] >= 0
    assert progress["expected_end"] is None


def test_a_rejected_batch_names_its_bad_rows(ingestion: Service, ledger: Database) -> None:
    batch = ended(ingestion, load_prices(ledger, BAD))
    assert (batch["state"], batch["rows"], batch["error_count"]) == ("rejected", 0, 2)
    first, second = batch["errors"]
    assert first.keys() == {"file", "line", "column", "value", "reason"}
    assert (first["line"], first["column"], first["value"]) == (2, "day", "2021-02-30")
    assert (second["line"], second["column"], second["value"]) == (4, "orig_code", "XXXXX")


def test_its_faults_are_told_by_kind_with_the_code_that_was_probably_meant(
    ingestion: Service, ledger: Database
) -> None:
    batch = ended(ingestion, load_prices(ledger, [("cnsgh", "EETLL", "2021-03-01", 1)] * 250))
    (kind,) = batch["error_kinds"]
    assert kind.pop("file").endswith("/prices.csv")
    assert kind == {
        "column": "orig_code",
        "value": "cnsgh",
        "reason": "no such port",
        "count": 250,
        "first_lines": [2, 3, 4, 5, 6],
        "probably_meant": ["CNSGH"],
    }


@pytest.mark.parametrize(("later_s", "state"), [(-60, "rejected"), (60, "accepted")])
def test_a_rejected_batch_is_accepted_again_once_it_was_sent_again(
    ingestion: Service, ledger: Database, store: BatchStorage, later_s: int, state: str
) -> None:
    result = load_prices(ledger, BAD)
    assert result.batch is not None
    ((ended_at,),) = ledger.rows("SELECT ended_at FROM batches WHERE id = %s", result.batch)
    sent_at = ended_at + timedelta(seconds=later_s)
    manifest = Manifest(result.batch, "sent", "batches/sent", "body", "writer", sent_at, "ab" * 32, 1)
    write_manifest(store.bucket, manifest)
    batch = told(ingestion.get(f"/batches/{result.batch}"))
    assert (batch["state"], batch["errors"] == []) == (state, state == "accepted")


def test_a_batch_that_is_loading_says_how_far_it_is_and_when_it_will_end(
    ingestion: Service, ledger: Database
) -> None:
    batch_id, asked_at = planned(ledger, done=4), datetime.now(UTC)
    batch = told(ingestion.get(f"/batches/{batch_id}"))
    answered_at = datetime.now(UTC)
    assert (batch["state"], batch["rows"], batch["ended_at"]) == ("loading", 400, None)
    assert batch["seconds"] >= 10
    progress = batch["progress"]
    assert progress["share"] == pytest.approx(0.4)
    assert (progress["chunks"], progress["chunks_planned"], progress["rows"]) == (4, 10, 400)
    assert 0 < progress["rows_per_second"] <= 40
    # 600 rows at that pace from when it was asked, which is told in whole rows a second.
    soonest, latest = (600 / (progress["rows_per_second"] + more) for more in (0.5, -0.5))
    expected_end = datetime.fromisoformat(progress["expected_end"])
    assert asked_at + timedelta(seconds=soonest) <= expected_end <= answered_at + timedelta(seconds=latest)


def test_what_is_known_of_its_deadline_and_failure_is_told(ingestion: Service, ledger: Database) -> None:
    batch_id = planned(ledger)
    ledger.rows(
        "UPDATE batches SET deadline = '2999-01-01', failure = 'no', request_id = 'r', state = 'failed',"
        " ended_at = clock_timestamp() WHERE id = %s RETURNING id",
        batch_id,
    )
    ledger.rows(
        "INSERT INTO batch_events (batch_id, event, at, done_by) VALUES (%s, 'late', '2021-01-01', 'w')"
        " RETURNING batch_id",
        batch_id,
    )
    batch = told(ingestion.get(f"/batches/{batch_id}"))
    assert (batch["state"], batch["failure"], batch["request_id"]) == ("failed", "no", "r")
    assert batch["deadline"].startswith("2999-01-01T")
    assert batch["late_since"].startswith("2021-01-01T")


def test_a_batch_that_the_ledger_does_not_have_yet_is_accepted(ingestion: Service) -> None:
    batch = accepted(post(ingestion, Idempotency_Key="not planned"))
    assert told(ingestion.get(f"/batches/{batch['batch']}")) == batch


def taken_key(ledger: Database, content: bytes) -> tuple[str, UUID]:
    """A key, and the id of the batch that `loader load --key` has loaded under it, from this content."""
    batch, key = load_prices(ledger, GOOD).batch, str(uuid4())
    change = "UPDATE batches SET key = %s, content_hash = sha256(%s) WHERE id = %s RETURNING id"
    ((found,),) = ledger.rows(change, key, content, batch)
    return key, found


def test_a_key_that_somebody_else_had_first_leads_to_their_batch(
    ingestion: Service, ledger: Database
) -> None:
    key, first = taken_key(ledger, CSV)
    batch = accepted(post(ingestion, CSV, Idempotency_Key=key))
    answer = waiting(ingestion, f"/batches/{batch['batch']}", "wait=20")
    assert (told(answer)["batch"], answer.json()["state"]) == (str(first), "published")
    assert answer.headers["content-location"] == f"/batches/{first}"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("content", "whose content is another"),
        ("withdrawn", "which was withdrawn"),
        ("upload", "whose content has been read"),
    ],
)
def test_a_key_that_another_sender_had_for_another_batch_is_409(
    ingestion: Service, ledger: Database, how: str, why: str
) -> None:
    key, first = taken_key(ledger, b"another" if how == "content" else CSV)
    if how == "withdrawn":
        end(ledger, first, "withdrawn")
    path = "/batches/uploads" if how == "upload" else "/batches"
    reason = refused(post(ingestion, CSV, path, Idempotency_Key=key), 409, "key_taken")
    assert why in reason
    assert str(first) in reason


def test_a_key_that_another_sender_had_for_a_dry_run_does_not_lead_there(
    ingestion: Service, impatient: falcon.testing.TestClient, ledger: Database
) -> None:
    """It is going to fail (`open_conflict`); until then it is neither published nor taken back there."""
    key, first = taken_key(ledger, CSV)
    ledger.rows("UPDATE batches SET dry_run = true WHERE id = %s RETURNING id", first)
    batch = post(ingestion, CSV, Idempotency_Key=key).json()["batch"]
    answer = waiting(ingestion, f"/batches/{batch}", "wait=1")
    assert (told(answer)["batch"], answer.json()["ended_at"]) == (batch, None)
    assert answer.headers["preference-applied"] == "wait=1"
    asked = impatient.simulate_delete(f"/batches/{batch}")
    assert (asked.status_code, asked.json["batch"]) == (202, batch)


@pytest.mark.parametrize("name", [NOBODY, "none", "%00", "é", "1", "x" * 500])
@pytest.mark.parametrize("rest", ["", "/errors", "/errors.csv"])
def test_a_batch_that_there_is_not_is_404(ingestion: Service, name: str, rest: str) -> None:
    refused(ingestion.get(f"/batches/{name}{rest}"), 404, "batch_not_found")


def test_a_batch_takes_no_parameters(ingestion: Service) -> None:
    refused(ingestion.get(f"/batches/{NOBODY}?wait=20"), 400, "unknown_parameter")


def test_head_is_get_without_the_body(ingestion: Service, ledger: Database) -> None:
    batch = load_prices(ledger, GOOD).batch
    for path in ("/batches", f"/batches/{batch}", f"/batches/{batch}/errors", f"/batches/{batch}/errors.csv"):
        head = ingestion.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
    assert ingestion.client.head(f"/batches/{uuid4()}").status_code == 404


# --- when it has ended -------------------------------------------------------------------------------------


def waiting(service: Service, path: str, prefer: str) -> httpx.Response:
    return service.client.get(path, headers={"Prefer": prefer})


@contextmanager
def one_who_waits(service: Service, ledger: Database, wait_s: int = 25) -> Generator[Future[httpx.Response]]:
    """Another client waits meanwhile, up to `wait_s`, for a batch that ends only with the block."""
    batch = planned(ledger)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(waiting, service, f"/batches/{batch}", f"wait={wait_s}")
        try:
            yield answer
            assert not answer.done()
        finally:
            end(ledger, batch, "published")


def wait_until_asked(ledger: Database, since: datetime) -> None:
    """Until the API has asked for the state of a batch, as it does again and again while a client waits."""
    asked = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'rates-api'"
        " AND query LIKE '-- Id and state of the batch%%' AND query_start > %s"
    )
    wait_until(lambda: bool(ledger.rows(asked, since)))


def test_who_prefers_to_wait_is_answered_when_it_has_ended(ingestion: Service, ledger: Database) -> None:
    """Sooner than another whose time, which began later, is shorter."""
    batch, since = planned(ledger), datetime.now(UTC)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(waiting, ingestion, f"/batches/{batch}", "respond-async, wait=25")
        wait_until_asked(ledger, since)
        with one_who_waits(ingestion, ledger, wait_s=15):
            assert not answer.done()
            end(ledger, batch, "published")
            found = answer.result()
    assert told(found)["state"] == "published"
    assert found.headers["preference-applied"] == "wait=25"


def test_one_that_is_only_accepted_is_waited_for_too(ingestion: Service, ledger: Database) -> None:
    key = str(uuid4())
    batch = accepted(post(ingestion, CSV + key.encode(), Idempotency_Key=key))["batch"]
    since = datetime.now(UTC)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(waiting, ingestion, f"/batches/{batch}", "wait=20")
        wait_until_asked(ledger, since)
        assert not answer.done()
        end(ledger, planned(ledger, key=key), "rejected")
        assert told(answer.result())["state"] == "rejected"


def test_after_the_time_it_is_told_as_it_is(ingestion: Service, ledger: Database) -> None:
    batch = planned(ledger)
    with one_who_waits(ingestion, ledger):
        began = time.monotonic()
        answer = waiting(ingestion, f"/batches/{batch}", "wait=2")
        assert time.monotonic() - began >= 2
    assert told(answer)["state"] == "loading"
    assert answer.headers["preference-applied"] == "wait=2"
    # For the alarm on slow answers, which is not about those who want to wait.
    request_id = answer.headers["x-request-id"]
    wait_until(
        lambda: any('"long_requests": 1' in line and request_id in line for line in list(ingestion.lines))
    )


def test_a_preference_that_is_none_is_left_aside(ingestion: Service, ledger: Database) -> None:
    batch = planned(ledger)
    with one_who_waits(ingestion, ledger):
        for prefer in ("wait", "wait=", "wait=x", "wait=-1", "wait=0", "return=minimal"):
            answer = waiting(ingestion, f"/batches/{batch}", prefer)
            assert told(answer)["state"] == "loading", prefer
            assert "preference-applied" not in answer.headers, prefer


def test_one_that_has_ended_is_told_at_once(ingestion: Service, ledger: Database) -> None:
    batch = load_prices(ledger, GOOD).batch
    with one_who_waits(ingestion, ledger):
        answer = waiting(ingestion, f"/batches/{batch}", "wait=25")
        assert told(answer)["state"] == "published"
        assert "preference-applied" not in answer.headers


def test_many_who_wait_keep_nobody_else_waiting_and_no_connection(
    ingestion: Service, ledger: Database
) -> None:
    """Of four threads two wait; the third who would is answered at once."""
    batch = planned(ledger)
    with ThreadPoolExecutor(8) as crowd:
        answers = [crowd.submit(waiting, ingestion, f"/batches/{batch}", "wait=25") for _ in range(8)]
        wait_until(lambda: sum(answer.done() for answer in answers) == 6)
        for _ in range(20):
            assert ingestion.get("/health/ready").status_code == 200
        assert sum(answer.done() for answer in answers) == 6, "two of them still wait"
        assert not [
            answer for answer in answers if answer.done() and "preference-applied" in answer.result().headers
        ]
        end(ledger, batch, "published")
        states = [told(answer.result())["state"] for answer in answers]
    assert sorted(states) == ["loading"] * 6 + ["published"] * 2


# --- the newest --------------------------------------------------------------------------------------------


def test_batches_are_listed_newest_first_in_pages(ingestion: Service, ledger: Database) -> None:
    made = [str(load_prices(ledger, GOOD).batch) for _ in range(5)]
    address, found = "/batches?limit=2&state=published", []
    for _ in range(3):
        answer = ingestion.get(address)
        assert answer.headers["cache-control"] == "no-store"
        page = answer.json()
        assert page.keys() == {"batches", "next"}
        assert all(batch.keys() == BATCH_KEYS for batch in page["batches"])
        found += [batch["batch"] for batch in page["batches"]]
        address = page["next"]
        assert answer.links["next"]["url"] == address
        assert address.startswith("/batches?state=published&limit=2&before=")
    assert found[:5] == made[::-1]


def test_the_last_page_has_no_next_one(ingestion: Service, ledger: Database) -> None:
    planned(ledger, state="withdrawn")
    answer = ingestion.get("/batches", state="withdrawn", limit="100")
    assert answer.json()["batches"]
    assert answer.json()["next"] is None
    assert "link" not in answer.headers


def test_each_in_a_list_has_its_first_errors(ingestion: Service, ledger: Database) -> None:
    batch = str(load_prices(ledger, [BAD[0]] * 5).batch)
    (found,) = [one for one in ingestion.get("/batches").json()["batches"] if one["batch"] == batch]
    assert found["error_count"] == 5
    assert [error["line"] for error in found["errors"]] == [2, 3, 4]
    assert [kind["count"] for kind in found["error_kinds"]] == [5]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=done", "invalid_state"),
        ("state=accepted", "invalid_state"),
        ("limit=0", "invalid_limit"),
        ("limit=101", "invalid_limit"),
        ("limit=x", "invalid_limit"),
        ("before=-1", "invalid_before"),
        ("before=99999999999", "invalid_before"),
        ("after=1", "unknown_parameter"),
        ("limit=1&limit=1", "repeated_parameter"),
    ],
)
def test_a_question_that_is_none_is_refused(ingestion: Service, query: str, code: str) -> None:
    refused(ingestion.get(f"/batches?{query}"), 400, code)


# --- the database away -------------------------------------------------------------------------------------


def test_without_the_database_nobody_can_tell(store: BatchStorage) -> None:
    with Service(AWAY | store.environment()) as service:
        for path in ("/batches", f"/batches/{uuid4()}", f"/batches/{uuid4()}/errors"):
            reason = refused(service.get(path), 503, "service_unavailable")
            assert reason == "The database cannot be reached at the moment; try again."
