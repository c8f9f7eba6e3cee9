"""A batch from its sender to the answers, through the API, the bucket, the queue and a loader as they run."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator
from datetime import date
from io import StringIO
from uuid import uuid4

import pytest

from access.signatures import bearers_secret
from local.postgres import PostgresServer
from tests.access.receiver import Receiver, is_genuine, receiving
from tests.batch_storage import new_storage
from tests.loader.batches import add_places, assert_totals_are_what_was_published, make_rows, run
from tests.postgres import clone
from tests.system.fleet import CALLBACK_SECRET, READER, WRITER, Bearer, Fleet, running_fleet
from tests.system.spellings import COMPRESSIONS, SPELLINGS, named
from tests.waiting import wait_until

ROWS = make_rows(3_000)
CSV = SPELLINGS["CSV"](named(ROWS))
DAY = "2030-05-17"
LANE_DAY = {"orig_code": "CNSGH", "dest_code": "NLRTM", "date_from": DAY, "date_to": DAY}


COUNTED = """
SELECT count(*) FROM prices JOIN batches USING (batch_no) WHERE id = %s AND state = 'published'
"""
SKIP_PAUSE = "UPDATE callbacks SET next_try_at = now() WHERE attempts = 1 AND next_try_at > now()"


@pytest.fixture(scope="module")
def fleet(server: PostgresServer, template: str, storage_server: str) -> Iterator[Fleet]:
    """What all the tests here use; what each of them finds is its own batches."""
    database = clone(server, template)
    add_places(database)
    with running_fleet(database, new_storage(storage_server), RATES_CALLBACK_LOOPBACK="1") as fleet:
        yield fleet
        assert not [line for line in fleet.lines() if "Traceback" in line]
    database.drop()


@pytest.fixture
def working(fleet: Fleet) -> Fleet:
    """One loader is at work."""
    fleet.have_loaders(1)
    return fleet


@pytest.fixture
def resting(fleet: Fleet) -> Fleet:
    """No loader is at work."""
    fleet.have_loaders(0)
    return fleet


def answer(fleet: Fleet, **question: str) -> list[int | None]:
    """The mean prices of a question; of DAY on one lane where nothing else is asked."""
    told = fleet.api.get("/rates", **(LANE_DAY | question)).json()["rates"]
    return [rate["price"] for rate in told]


def three_prices(day: str) -> bytes:
    """Of 100 USD on one lane, as few as have a mean."""
    return "\n".join(["orig_code,dest_code,day,price", *[f"CNSGH,NLRTM,{day},100"] * 3]).encode()


def prices_of(batch: str, fleet: Fleet) -> int:
    """How many rows of a batch count."""
    return fleet.database.rows(COUNTED, batch)[0][0]


# --- accepted, published, answered -------------------------------------------------------------------------


def test_a_batch_of_50_000_rows_is_accepted_published_and_changes_the_answers(working: Fleet) -> None:
    day, rows = "2030-01-01", make_rows(50_000)
    question = {"date_from": day, "date_to": day}
    assert answer(working, **question) == [None]
    content = SPELLINGS["CSV"](named([row._replace(day=date.fromisoformat(day)) for row in rows]))

    batch = working.published(working.accept(content))

    assert (batch["rows"], batch["error_count"], batch["errors"]) == (50_000, 0, [])
    mine = [row.price for row in rows if (row.orig_code, row.dest_code) == ("CNSGH", "NLRTM")]
    assert answer(working, **question) == [pytest.approx(sum(mine) / len(mine), abs=0.01)]
    assert_totals_are_what_was_published(working.database)


@pytest.mark.parametrize(
    ("spelling", "compression"),
    [
        ("CSV", "gzip"),
        ("CSV, lines ending in CRLF", "zstd"),
        ("NDJSON", "plain"),
        ("NDJSON", "gzip"),
        ("Parquet", "plain"),
        ("Parquet", "zstd"),
    ],
)
def test_a_batch_is_published_however_it_is_spelled(spelling: str, compression: str, working: Fleet) -> None:
    batch = working.accept(COMPRESSIONS[compression](SPELLINGS[spelling](named(ROWS))))
    assert working.published(batch)["rows"] == prices_of(batch, working) == len(ROWS)


@pytest.mark.parametrize(("spelling", "compression"), [("CSV", "plain"), ("Parquet", "gzip")])
def test_a_file_put_at_a_presigned_address_is_published(
    spelling: str, compression: str, working: Fleet
) -> None:
    batch = working.upload(COMPRESSIONS[compression](SPELLINGS[spelling](named(ROWS))))
    assert working.published(batch)["rows"] == prices_of(batch, working) == len(ROWS)


def test_each_batch_is_counted_once_as_accepted_whichever_way_it_comes(working: Fleet) -> None:
    batches = {working.accept(CSV, "counted"): "api", working.upload(CSV): "loader"}
    for batch in batches:
        working.published(batch)
    for batch, service in batches.items():
        told = [line for line in working.events(batch=batch) if "batches_accepted" in line]
        assert [(line["service"], line["batches_accepted"]) for line in told] == [(service, 1)]


def test_an_upload_that_never_comes_stays_open_and_holds_nothing_up(working: Fleet) -> None:
    answer = working.client.post("/batches/uploads", headers=WRITER.headers)
    working.published(working.accept(CSV))
    assert working.batch(answer.json()["batch"])["state"] == "uploading"


def test_a_dry_run_says_that_a_batch_is_valid_and_changes_no_answer(working: Fleet) -> None:
    content = three_prices(DAY)
    batch = working.settled(working.accept(content, "checked first", params={"dry_run": "true"}))
    assert (batch["state"], batch["rows"]) == ("valid", 3)
    assert answer(working) == [None]

    assert working.published(working.accept(content, "checked first"))["rows"] == 3
    assert answer(working) == [100]


# --- the same again, and bad rows --------------------------------------------------------------------------


def test_the_same_content_under_the_same_key_is_the_same_batch_and_other_content_is_refused(
    working: Fleet,
) -> None:
    first = working.post(CSV, "once")
    working.published(first.json()["batch"])
    again = working.post(CSV, "once")
    assert again.status_code in {200, 202}
    assert again.json()["batch"] == first.json()["batch"]
    assert again.headers["location"] == first.headers["location"]

    other = working.post(CSV + b"CNSGH,NLRTM,2021-01-01,5\n", "once")

    assert other.status_code == 409
    assert other.json()["code"]
    assert prices_of(first.json()["batch"], working) == len(ROWS)


def test_a_bad_batch_names_its_bad_rows_and_the_mended_file_goes_in(working: Fleet) -> None:
    rows = named(ROWS)
    rows[1_500] |= {"price": "free"}
    rows[2_900] |= {"orig_code": "XXXXX", "day": "2021-02-30"}
    wrong = [(1_502, "price", "free"), (2_902, "orig_code", "XXXXX"), (2_902, "day", "2021-02-30")]

    batch = working.settled(working.accept(SPELLINGS["CSV"](rows), "bad"))

    assert (batch["state"], batch["rows"], batch["error_count"]) == ("rejected", 0, 3)
    assert [(error["line"], error["column"], error["value"]) for error in batch["errors"]] == wrong
    where = f"/batches/{batch['batch']}/errors"
    told = working.client.get(where, headers=READER.headers).json()["errors"]
    assert told == batch["errors"]
    as_csv = working.client.get(where, headers=READER.headers | {"Accept": "text/csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    lines = [
        (int(line["line"]), line["column"], line["value"]) for line in csv.DictReader(StringIO(as_csv.text))
    ]
    assert lines == wrong
    assert prices_of(batch["batch"], working) == 0

    mended = working.accept(CSV, "mended")
    assert working.published(mended)["rows"] == len(ROWS)


# --- who may -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {Bearer('nobody', ()).token}"}, 401),
        ({"Authorization": f"Basic {WRITER.token}"}, 401),
        (READER.headers, 403),
    ],
)
def test_whoever_may_not_write_leaves_nothing_behind(
    headers: dict[str, str], status: int, resting: Fleet
) -> None:
    before = resting.objects(), resting.messages(), resting.database.rows("SELECT count(*) FROM batches")
    published = resting.database.rows("SELECT id::text FROM batches WHERE state = 'published' LIMIT 1")
    answers = [
        resting.client.post("/batches", content=CSV, headers=headers),
        resting.client.post("/batches/uploads", headers=headers),
        *(resting.client.delete(f"/batches/{batch}", headers=headers) for (batch,) in published),
    ]
    assert {answer.status_code for answer in answers} == {status}
    after = resting.objects(), resting.messages(), resting.database.rows("SELECT count(*) FROM batches")
    assert after == before


def test_no_token_is_ever_logged(working: Fleet) -> None:
    working.published(working.accept(CSV))
    wrong = Bearer("nobody", ()).token
    working.client.get("/batches", headers={"Authorization": f"Bearer {wrong}"})
    log = "\n".join(working.lines())
    for token in (WRITER.token, READER.token, wrong, CALLBACK_SECRET):
        assert token not in log
        assert hashlib.sha256(token.encode()).hexdigest() not in log


# --- what the logs tell ------------------------------------------------------------------------------------


def test_a_request_is_found_in_the_logs_from_its_upload_to_the_publishing(working: Fleet) -> None:
    answer = working.post(CSV, str(uuid4()), X_Request_Id=(request_id := str(uuid4())))
    batch = answer.json()["batch"]
    working.published(batch)
    assert answer.headers["x-request-id"] == request_id

    wait_until(lambda: any("published" in str(event) for event in working.events(request_id=request_id)))

    found = working.events(request_id=request_id)
    assert {event["service"] for event in found} == {"api", "loader"}
    assert {event["batch"] for event in found if "batch" in event} == {batch}
    assert all(event["timestamp"] and event["level"] for event in found)


# --- what cannot be read -----------------------------------------------------------------------------------


def test_a_small_file_that_expands_without_end_is_rejected(working: Fleet) -> None:
    """Good rows, a gigabyte of them in less than a megabyte: nobody waits for the end of it."""
    rows = COMPRESSIONS["zstd"](b"CNSGH,NLRTM,2021-01-01,5\n" * 400_000)
    content = COMPRESSIONS["zstd"](b"orig_code,dest_code,day,price\n") + rows * 100
    assert len(content) < 1_000_000
    batch = working.settled(working.accept(content))
    assert (batch["state"], batch["rows"]) == ("rejected", 0)
    (error,) = batch["errors"]
    assert error["reason"].startswith(f"the zstd stream of {len(content):,} bytes expands to more than")


def test_a_file_that_was_cut_off_is_rejected(working: Fleet) -> None:
    batch = working.settled(working.accept(gzip.compress(CSV)[:-500]))
    assert (batch["state"], batch["rows"]) == ("rejected", 0)
    assert [error["reason"] for error in batch["errors"]] == ["the gzip stream ends early"]


def test_a_batch_whose_object_is_gone_fails_and_is_published_once_it_is_back(resting: Fleet) -> None:
    batch = resting.accept(CSV)
    (key,) = [key for key in resting.objects() if f"{batch}/content-" in key]
    s3, bucket = resting.storage.s3(), resting.storage.name
    s3.delete_object(Bucket=bucket, Key=key)
    resting.have_loaders(1)

    failed = resting.settled(batch)

    assert failed["state"] == "failed"
    assert key in failed["failure"]
    assert any(batch in letter for letter in resting.storage.dead_letters())
    s3.put_object(Bucket=bucket, Key=key, Body=CSV)
    done = run("redrive", batch, database=resting.database, **resting.storage.environment())
    assert done.returncode == 0, done.stderr
    assert resting.published(batch)["rows"] == len(ROWS)


# --- told, and taken back ----------------------------------------------------------------------------------


def test_whoever_wants_to_be_told_is_told_once_signed_however_often_it_takes(working: Fleet) -> None:
    with receiving(Receiver([500, 204])) as receiver:
        batch = working.accept(CSV, params={"callback_url": receiver.url})
        working.published(batch)
        wait_until(lambda: len(receiver.requests) == 1)
        with working.database.connect() as connection:  # as if the pause before the next try were over
            wait_until(lambda: connection.execute(SKIP_PAUSE).rowcount == 1)
        wait_until(lambda: len(receiver.requests) == 2)
        check_calls(receiver, batch)
        wait_until(lambda: working.database.rows("SELECT FROM callbacks WHERE told_at IS NULL") == [])
        assert len(receiver.requests) == 2


def check_calls(receiver: Receiver, batch: str) -> None:
    """Both say the same of this batch, each signed for the moment when it was sent."""
    secret = bearers_secret(CALLBACK_SECRET, WRITER.name)
    for request in receiver.requests:
        assert is_genuine(secret, request.headers, request.body)
        told = request.json()
        assert (told["type"], told["batch"], told["rows"]) == ("batch.published", batch, len(ROWS))
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_a_batch_is_withdrawn_before_anybody_opened_it(resting: Fleet) -> None:
    batch = resting.accept(CSV)
    resting.withdraw(batch)
    resting.have_loaders(1)
    assert resting.settled(batch)["state"] == "withdrawn"
    resting.published(resting.accept(CSV, "after it"))
    assert prices_of(batch, resting) == 0
    assert resting.batch(batch)["state"] == "withdrawn"


def test_a_published_batch_is_withdrawn_and_its_answers_go(working: Fleet) -> None:
    day = "2031-01-01"
    batch = working.accept(three_prices(day))
    working.published(batch)
    assert answer(working, date_from=day, date_to=day) == [100]

    working.withdraw(batch)

    wait_until(lambda: working.batch(batch)["state"] == "withdrawn")
    assert answer(working, date_from=day, date_to=day) == [None]
    assert_totals_are_what_was_published(working.database)
