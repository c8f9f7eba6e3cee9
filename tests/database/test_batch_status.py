"""The view `batch_status`: how far a batch is, how fast it goes and when it ends, as of this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row

from loader.check import Ports, check
from loader.errors import Stopped
from loader.ledger import Batch, Order, chunk_transaction, find_batch, known_ports, open_batch, write_chunk
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch, give_up
from loader.sources import Files
from loader.withdraw import ask, withdraw
from tests.loader.batches import add_places, make_rows, write_csv
from tests.postgres import Database

# As of the moment that the view takes for now.
STATUS = b"""
SELECT
    *,
    extract(EPOCH FROM statement_timestamp() - begun_at)::float AS seconds_gone,
    extract(EPOCH FROM expected_end - statement_timestamp())::float AS seconds_left
FROM batch_status
"""


@pytest.fixture
def ports(as_loader: Database) -> Database:
    add_places(as_loader)
    return as_loader


@pytest.fixture
def connection(ports: Database) -> Iterator[psycopg.Connection]:
    with ports.connect("rates_loader") as connection:
        yield connection


def only_status(database: Database, role: str = "rates_api") -> dict[str, Any]:
    with database.connect(role) as connection, connection.cursor(row_factory=dict_row) as cursor:
        (status,) = cursor.execute(STATUS).fetchall()
        return status


def begin(connection: psycopg.Connection, folder: Path, *, chunks: int, of: int = 5, **order: Any) -> Batch:
    """A batch of ten rows a chunk, so many chunks of which are in: as workers leave it."""
    rows = make_rows(10 * of)
    if order.pop("faulty", False):
        rows = [row._replace(price=0) if number == 0 else row for number, row in enumerate(rows)]
    path = write_csv(folder / "k.csv", rows)
    batch = open_batch(connection, Order("k", None, "k.csv", 10, **order))
    known = Ports(known_ports(connection))
    for chunk_no, chunk in enumerate(Files([path]).chunks(10)):
        if chunk_no < chunks:
            with chunk_transaction(connection):
                ledger_only = batch.dry_run
                write_chunk(connection, batch, chunk_no, chunk, check(chunk, known), ledger_only=ledger_only)
    return batch


def plan(database: Database, *, chunk_count: int, complete: bool = True, bytes_read: int = 0) -> None:
    """As its planner writes it, of an object of 1,000 bytes."""
    content = msgspec.json.encode({"size": 1_000}).decode()
    with database.connect("rates_loader") as connection:
        connection.execute(
            "INSERT INTO plans (batch_no, content, complete, chunk_count, bytes_read)"
            " SELECT batch_no, %s, %s, %s, %s FROM batches",
            [content, complete, chunk_count, bytes_read],
        )


def opened_ago(database: Database, seconds: float, event: str = "opened") -> None:
    """As if the batch had been begun so long ago."""
    at = f"now() - {seconds} * interval '1 s'"
    database.rows(f"UPDATE batch_events SET at = {at} WHERE event = '{event}' RETURNING 1")


def test_a_planned_batch_says_how_far_it_is_and_when_it_ends(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """20 of 50 rows in ten seconds."""
    batch = begin(connection, tmp_path, chunks=2)
    plan(ports, chunk_count=5)
    opened_ago(ports, 10)
    status = only_status(ports)
    told = ("state", "row_count", "chunk_count", "error_count", "chunks_planned", "planned", "share")
    assert [status[name] for name in told] == ["loading", 20, 2, 0, 5, True, 0.4]
    assert (status["id"], status["content_hash"], status["ended_at"]) == (batch.id, None, None)
    assert status["rows_per_second"] == round(20 / status["seconds_gone"])
    assert status["seconds_left"] == pytest.approx(1.5 * status["seconds_gone"])


def test_while_it_is_cut_it_is_a_share_of_what_has_been_read_of_it(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Half of what is known, which is half of all there is: 60 rows are left, and 20 are in."""
    begin(connection, tmp_path, chunks=2)
    plan(ports, chunk_count=4, complete=False, bytes_read=500)
    opened_ago(ports, 10)
    status = only_status(ports)
    assert (status["planned"], status["chunks_planned"], status["share"]) == (False, 4, 0.25)
    assert status["seconds_left"] == pytest.approx(3 * status["seconds_gone"])


def test_of_what_was_never_planned_the_rate_alone_is_known(ports: Database, tmp_path: Path) -> None:
    """`loader load` cuts as it goes."""
    source = Files([write_csv(tmp_path / "k.csv", make_rows(50))])
    stop = iter([False, False, True]).__next__
    with pytest.raises(Stopped):
        load(source, Options(workers=1, chunk_rows=10), stop=stop)
    opened_ago(ports, 10)
    status = only_status(ports)
    assert (status["row_count"], status["chunk_count"]) == (20, 2)
    assert status["rows_per_second"] == round(20 / status["seconds_gone"])
    assert [status[name] for name in ("planned", "chunks_planned", "share", "expected_end")] == [None] * 4


@pytest.mark.parametrize("chunk_count", [0, 5])
def test_a_batch_that_nobody_has_begun_with_is_at_zero_and_ends_nobody_knows_when(
    ports: Database, connection: psycopg.Connection, tmp_path: Path, chunk_count: int
) -> None:
    begin(connection, tmp_path, chunks=0)
    plan(ports, chunk_count=chunk_count, complete=chunk_count > 0)
    status = only_status(ports)
    told = ("row_count", "chunk_count", "share", "rows_per_second", "expected_end")
    assert [status[name] for name in told] == [0, 0, 0, 0, None]


def test_a_batch_whose_chunks_are_all_in_ends_now(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    begin(connection, tmp_path, chunks=5)
    plan(ports, chunk_count=5)
    status = only_status(ports)
    assert status["share"] == 1
    assert status["seconds_left"] == 0


def test_its_rate_is_of_the_last_minute(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    begin(connection, tmp_path, chunks=4)
    plan(ports, chunk_count=5)
    opened_ago(ports, 3_600)
    ports.rows("UPDATE chunks SET done_at = now() - interval '61 s' WHERE chunk_no = 0 RETURNING 1")
    status = only_status(ports)
    assert (status["row_count"], status["rows_per_second"]) == (40, 0), "half a row a second, rounded to even"
    assert status["seconds_left"] == pytest.approx(20)
    ports.rows("UPDATE chunks SET done_at = now() - interval '61 s' RETURNING 1")
    status = only_status(ports)
    assert (status["share"], status["rows_per_second"], status["expected_end"]) == (0.8, 0, None)


def test_its_rate_is_of_the_time_since_somebody_went_on_with_it(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """An hour in which nobody was at it is no measure of those who are."""
    begin(connection, tmp_path, chunks=2)
    opened_ago(ports, 3_600)
    ports.rows("UPDATE chunks SET done_at = now() - interval '1 h' RETURNING 1")
    begin(connection, tmp_path, chunks=4)
    plan(ports, chunk_count=5)
    opened_ago(ports, 10, "resumed")
    status = only_status(ports)
    assert (status["row_count"], status["rows_per_second"]) == (40, round(20 / status["seconds_gone"]))
    assert status["seconds_left"] == pytest.approx(0.5 * status["seconds_gone"])


def test_an_end_beyond_all_dates_is_not_known(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    begin(connection, tmp_path, chunks=2)
    plan(ports, chunk_count=2_000_000_000)
    ports.rows("UPDATE chunks SET row_count = 2000000000 WHERE chunk_no = 0 RETURNING 1")
    ports.rows("UPDATE chunks SET row_count = 1, done_at = now() - interval '61 s' RETURNING 1")
    opened_ago(ports, 3_600)
    assert only_status(ports)["expected_end"] is None
    ports.rows("UPDATE chunks SET row_count = 1, done_at = now() WHERE chunk_no = 1 RETURNING 1")
    ports.rows("UPDATE chunks SET row_count = 2000000000 WHERE chunk_no = 0 RETURNING 1")
    status = only_status(ports)
    assert status["share"] == pytest.approx(1e-9)
    assert status["expected_end"] is None


def test_more_chunks_than_were_planned_are_no_more_than_all(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """A load of the same key may have done some that the planner has not come to yet."""
    begin(connection, tmp_path, chunks=4)
    plan(ports, chunk_count=2, complete=False, bytes_read=800)
    assert only_status(ports)["share"] == 1


def test_its_faults_so_far_are_counted_and_its_rows_once_it_is_rejected_are_none(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = begin(connection, tmp_path, chunks=5, faulty=True)
    plan(ports, chunk_count=5)
    status = only_status(ports)
    assert (status["state"], status["row_count"], status["error_count"]) == ("loading", 49, 1)
    end_batch(connection, batch, chunk_count=5, places=Places())
    status = only_status(ports)
    assert (status["state"], status["row_count"], status["error_count"]) == ("rejected", 0, 1)
    assert (status["chunk_count"], status["share"], status["rows_per_second"]) == (5, 1, None)


def test_a_rejected_batch_of_the_release_before_has_no_rows_either(ports: Database, tmp_path: Path) -> None:
    """It wrote down how many had been read."""
    load(Files([write_csv(tmp_path / "k.csv", [make_rows(1)[0]._replace(price=0)])]), Options())
    ports.rows("UPDATE batches SET row_count = 1 RETURNING 1")
    assert only_status(ports)["row_count"] == 0


@pytest.mark.parametrize(("dry_run", "state"), [(False, "published"), (True, "valid")])
def test_what_went_well_is_all_there(
    dry_run: bool, state: str, ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = begin(connection, tmp_path, chunks=5, dry_run=dry_run)
    plan(ports, chunk_count=5)
    end_batch(connection, batch, chunk_count=5, places=Places())
    status = only_status(ports)
    told = ("state", "dry_run", "row_count", "chunk_count", "error_count", "share")
    assert [status[name] for name in told] == [state, dry_run, 50, 5, 0, 1]
    assert (status["rows_per_second"], status["expected_end"], status["begun_at"]) == (None, None, None)
    assert status["ended_at"] > status["created_at"]


def test_a_batch_that_was_given_up_says_why_and_how_far_it_came(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = begin(connection, tmp_path, chunks=2)
    plan(ports, chunk_count=5)
    assert give_up(connection, batch, "the object is gone")
    status = only_status(ports)
    told = ("state", "failure", "row_count", "chunk_count", "share", "rows_per_second", "expected_end")
    assert [status[name] for name in told] == ["failed", "the object is gone", 20, 2, 0.4, None, None]
    assert status["ended_at"] is not None


@pytest.mark.parametrize("take_back", [ask, lambda connection, _: withdraw(connection, "k")])
def test_a_batch_that_is_taken_back_is_expected_no_more(
    take_back: Callable[..., object], ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    batch = begin(connection, tmp_path, chunks=2)
    plan(ports, chunk_count=5)
    take_back(connection, batch)
    status = only_status(ports)
    assert status["withdrawn_by"] is not None
    assert (status["rows_per_second"], status["expected_end"]) == (None, None)


def test_it_has_what_its_sender_asked_for(
    ports: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {
        "created_by": "alice",
        "deadline": datetime(2030, 1, 1, 12, tzinfo=UTC),
        "callback_url": "https://example.com/told",
        "request_id": "r-1",
    }
    begin(connection, tmp_path, chunks=0, **asked)
    for role in ("rates_api", "rates_loader"):
        status = only_status(ports, role)
        assert {name: status[name] for name in asked} == asked
    assert find_batch(connection, "k") is not None


def test_the_chunks_of_what_has_ended_are_not_read(ports: Database, tmp_path: Path) -> None:
    """A list of a hundred batches of five thousand chunks each is read in milliseconds."""
    load(Files([write_csv(tmp_path / "k.csv", make_rows(50))]), Options(chunk_rows=10))
    explained = ports.rows("EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM batch_status")[0][0][0]["Plan"]
    scans = [node for node in nodes_of(explained) if node.get("Relation Name") in {"chunks", "batch_events"}]
    assert len(scans) == 3
    assert [node["Actual Loops"] for node in scans] == [0, 0, 0]


def nodes_of(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from nodes_of(below)
