"""What `loader show`, `batches` and `withdraw` tell of a batch, from its beginning to its rows' end."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from database.connect import connect
from loader import history
from loader.compact import fold_all
from loader.discard import discard_all
from loader.errors import Stopped
from loader.ledger import Order, find_batch, open_batch, who
from loader.load import Options, load
from loader.places import Places
from loader.publish import end_batch, give_up
from loader.sources import Files
from loader.withdraw import withdraw
from tests.loader.batches import (
    assert_answers_are_what_was_published,
    json_of,
    make_rows,
    run_here,
    write_csv,
)
from tests.postgres import Database

KEYS = {
    "batch", "state", "rows", "seconds", "errors", "error_count", "error_kinds", "errors_kept", "key",
    "source", "content_hash", "chunks", "created_by", "created_at", "ended_at", "stages", "events", "totals",
    "rows_thrown_away", "withdrawn_by", "reversed_chunks", "dry_run", "failure", "deadline", "late_since",
    "callback_url", "request_id", "progress", "callbacks", "replaces",
    "replaced_by",
}  # fmt: skip
CONTRACT = ("batch", "state", "rows", "errors", "error_count", "error_kinds")


@pytest.fixture
def published(ports: Database, good: Path) -> str:
    """A batch of 50 rows in five chunks."""
    return str(load(Files([good]), Options(key="monday", chunk_rows=10)).batch)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    rows = make_rows(50)
    return write_csv(
        tmp_path / "bad.csv", [*rows[:9], rows[9]._replace(dest_code="FIHEL", price=0), *rows[10:]]
    )


def show(database: Database, name: str) -> dict[str, Any]:
    return json_of(run_here("show", name, "--json", database=database))


def events_of(shown: dict[str, Any]) -> list[str]:
    return [event["event"] for event in shown["events"]]


def test_a_published_batch_tells_its_life(ports: Database, published: str, good: Path) -> None:
    shown = show(ports, published)
    assert shown.keys() == KEYS
    assert show(ports, "monday") == shown
    told = ("batch", "key", "state", "source", "rows", "chunks", "error_count", "errors", "created_by")
    assert [shown[name] for name in told] == [
        published, "monday", "published", str(good), 50, 5, 0, [], who(),
    ]  # fmt: skip
    assert shown["content_hash"] == Files([good]).content_hash().hex()
    assert (shown["totals"], shown["rows_thrown_away"]) == ("waiting", None)
    assert (shown["withdrawn_by"], shown["reversed_chunks"]) == (None, 0)
    assert events_of(shown) == ["opened", "loaded", "published"]
    times = [event["at"] for event in shown["events"]]
    assert times == sorted(times)
    assert {event["done_by"] for event in shown["events"]} == {who()}
    assert shown["events"][-1]["seconds"] == shown["stages"]["publish"]


def test_it_says_how_many_of_its_faults_are_kept_one_by_one(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", [row._replace(price=0) for row in make_rows(1_500)])
    batch = str(load(Files([path]), Options(chunk_rows=1_200)).batch)
    shown = show(ports, batch)
    assert (shown["error_count"], shown["errors_kept"], len(shown["errors"])) == (1_500, 1_300, 1_000)
    told = run_here("show", batch, database=ports).stdout
    assert "faults        1,500, 1,300 of them kept: the first of each chunk\n" in told


def test_a_batch_from_before_faults_were_told_by_kind_has_its_first_ones(ports: Database, bad: Path) -> None:
    batch = str(load(Files([bad]), Options()).batch)
    ports.rows("DELETE FROM fault_kinds RETURNING 1")
    lines = run_here("show", batch, database=ports).stderr.splitlines()
    assert [line.partition(" is ")[0] for line in lines] == [f"{bad}:11: dest_code", f"{bad}:11: price"]


def test_its_stages_are_the_sums_of_its_chunks(ports: Database, published: str) -> None:
    stages = show(ports, published)["stages"]
    (sums,) = ports.rows("SELECT sum(check_seconds)::float, sum(write_seconds)::float FROM chunks")
    assert (stages["check"], stages["write"]) == pytest.approx(sums, abs=0.001)
    assert all(seconds > 0 for seconds in stages.values())
    assert stages["wall"] >= stages["publish"]


def test_its_wall_time_is_of_its_last_try() -> None:
    def event(name: str, minute: int, seconds: float | None = None) -> dict[str, Any]:
        return {"event": name, "at": datetime(2026, 1, 1, 12, minute, tzinfo=UTC), "seconds": seconds}

    def wall_and_publish(events: list[dict[str, Any]]) -> tuple[float | None, float | None]:
        stages = history.stage_seconds({"check_seconds": 0.0, "write_seconds": 0.0}, events)
        return stages["wall"], stages["publish"]

    assert wall_and_publish([]) == (None, None)
    first = [event("opened", 0), event("loaded", 2), event("rejected", 2, 0.5)]
    assert wall_and_publish(first) == (120, 0.5)
    again = [*first, event("reopened", 10)]
    assert wall_and_publish(again) == (None, None)
    ended = [*again, event("resumed", 20), event("published", 25, 0.25), event("folded", 40)]
    assert wall_and_publish(ended) == (900, 0.25)
    failed = [event("opened", 0), event("failed", 3)]
    assert wall_and_publish(failed) == (180, None)
    assert wall_and_publish([*failed, event("resumed", 10)]) == (None, None)
    assert wall_and_publish([*failed, event("resumed", 10), event("valid", 12, 0.125)]) == (720, 0.125)


def test_its_totals_are_waiting_then_folding_then_folded(ports: Database, published: str) -> None:
    with connect("rates-test", autocommit=True) as connection:
        assert show(ports, published)["totals"] == "waiting"
        fold_all(connection, stop=lambda: True)
        assert show(ports, published)["totals"] == "folding"
        fold_all(connection)
        shown = show(ports, published)
    assert shown["totals"] == "folded"
    assert events_of(shown)[-1] == "folded"
    assert "totals        folded into the base\n" in run_here("show", published, database=ports).stdout


def test_a_rejected_batch_has_its_faults_and_how_far_its_rows_are_gone(ports: Database, bad: Path) -> None:
    result = json_of(run_here("load", bad, "--key", "tuesday", "--json", database=ports))
    shown = show(ports, "tuesday")
    assert {name: shown[name] for name in CONTRACT} == {name: result[name] for name in CONTRACT}
    assert (shown["totals"], shown["rows_thrown_away"]) == (None, False)
    assert events_of(shown) == ["opened", "loaded", "rejected"]
    with connect("rates-test", autocommit=True) as connection:
        discard_all(connection)
    shown = show(ports, "tuesday")
    assert shown["rows_thrown_away"]
    assert events_of(shown)[-1] == "rows thrown away"
    done = run_here("show", "tuesday", database=ports)
    assert "its rows      are thrown away\n" in done.stdout
    assert f"{bad}:11: dest_code is 'FIHEL': no such port\n" in done.stderr


def test_a_loading_batch_is_counted_from_its_chunks(ports: Database, good: Path) -> None:
    with pytest.raises(Stopped):
        load(
            Files([good]),
            Options(key="k", workers=1, chunk_rows=10),
            stop=iter([False, False, True]).__next__,
        )
    shown = show(ports, "k")
    assert (shown["state"], shown["rows"], shown["chunks"], shown["ended_at"]) == ("loading", 20, 2, None)
    assert (shown["totals"], shown["stages"]["wall"], shown["stages"]["publish"]) == (None, None, None)
    load(Files([good]), Options(key="k"))
    assert events_of(show(ports, "k")) == ["opened", "resumed", "loaded", "published"]


def test_a_withdrawn_batch_says_by_whom_and_when(ports: Database, published: str) -> None:
    withdrawal = json_of(run_here("withdraw", published, "--json", database=ports))
    assert withdrawal.pop("seconds") > 0
    assert withdrawal == {"batch": published, "state": "withdrawn", "rows": 50, "repeat": False}
    shown = show(ports, published)
    assert (shown["state"], shown["withdrawn_by"], shown["totals"]) == ("withdrawn", who(), None)
    assert events_of(shown)[-2:] == ["withdrawal asked for", "withdrawn"]
    assert shown["events"][-1]["seconds"] > 0
    assert f"withdrawn by  {who()}\n" in run_here("show", published, database=ports).stdout
    assert_answers_are_what_was_published(ports)


def test_a_batch_that_is_being_withdrawn_says_how_far_that_is(ports: Database, published: str) -> None:
    ports.rows("UPDATE batches SET withdrawn_by = 'me@here' RETURNING 1")
    ports.rows("UPDATE chunks SET reversed = true WHERE chunk_no < 3 RETURNING 1")
    shown = show(ports, published)
    assert (shown["withdrawn_by"], shown["reversed_chunks"]) == ("me@here", 3)
    text = run_here("show", published, database=ports).stdout
    assert "withdrawn by  me@here\nwithdrawal    asked for; 3 of 5 chunks reversed\n" in text


def test_withdrawing_tells_a_person_and_a_second_time_does_nothing(ports: Database, published: str) -> None:
    first, again = (run_here("withdraw", "monday", database=ports) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0)
    pattern = rf"batch {published} withdrawn in \d+\.\d\d s: 50 rows count no more\n"
    assert re.fullmatch(pattern, first.stdout)
    assert again.stdout == f"batch {published} is withdrawn already; nothing was done\n"
    assert json_of(run_here("withdraw", "monday", "--json", database=ports))["repeat"]


def test_a_rejected_batch_cannot_be_withdrawn(ports: Database, bad: Path) -> None:
    batch = load(Files([bad]), Options()).batch
    done = run_here("withdraw", str(batch), "--json", database=ports)
    reason = f"batch {batch} was rejected: none of its rows is in, there is nothing to withdraw"
    assert (done.returncode, json_of(done)) == (2, {"error": reason})


@pytest.fixture
def half_done(ports: Database, good: Path) -> str:
    """A planned batch, two of whose five chunks are in after ten seconds."""
    source = Files([good])
    asked: dict[str, Any] = {
        "deadline": datetime(2030, 1, 1, 12, tzinfo=UTC),
        "callback_url": "https://example.com/told",
    }
    order = Order(
        "wednesday", source.content_hash(), "wednesday.csv", 10, created_by="alice", request_id="r-1", **asked
    )
    with connect("rates-test", autocommit=True) as connection:
        batch = open_batch(connection, order)
        with pytest.raises(Stopped):
            load(source, Options(key="wednesday", workers=1), stop=iter([False, False, True]).__next__)
        connection.execute(
            "INSERT INTO plans (batch_no, content, complete, chunk_count) VALUES (%s, %s, true, 5)",
            [batch.batch_no, '{"size": 1}'],
        )
    ports.rows("UPDATE batch_events SET at = now() - interval '10 s' RETURNING 1")
    return str(batch.id)


def test_a_planned_batch_says_how_far_it_is_and_when_it_ends(ports: Database, half_done: str) -> None:
    asked_at = datetime.now(UTC)
    shown = show(ports, half_done)
    progress = shown["progress"]
    assert (shown["state"], shown["rows"], shown["chunks"]) == ("loading", 20, 2)
    assert [progress[name] for name in ("share", "chunks_planned", "planned")] == [0.4, 5, True]
    assert progress["rows_per_second"] in (1, 2)
    assert progress["expected_end"] > asked_at.isoformat()
    assert (shown["deadline"], shown["late_since"], shown["request_id"]) == (
        "2030-01-01T12:00:00Z",
        None,
        "r-1",
    )
    text = run_here("show", half_done, database=ports).stdout
    assert "state         loading (40%)\n" in text
    assert "rows          20 in 2 of 5 chunks\n" in text
    assert "created by    alice\nrequest       r-1\n" in text
    assert re.search(r"^rate          [12] rows a second\nexpected end  20", text, re.MULTILINE)
    assert "deadline      2030-01-01 12:00:00+00:00\n" in text
    assert "callback      https://example.com/told\n" in text
    listed = run_here("batches", database=ports).stdout
    assert f"{half_done}  loading (40%)  20 " in " ".join(listed.split("\n"))


def test_a_batch_that_is_late_says_since_when(ports: Database, half_done: str) -> None:
    at = "'2029-12-31 12:00+00'"
    late = f"SELECT id, 'late', {at}, 'me' FROM batches"
    ports.rows(f"INSERT INTO batch_events (batch_id, event, at, done_by) {late} RETURNING 1")
    ports.rows("UPDATE plans SET complete = false RETURNING 1")
    text = run_here("show", half_done, database=ports).stdout
    assert "state         loading (0%), late\n" in text
    assert "rows          20 in 2 of 5 chunks, and more to come\n" in text
    since = "2029-12-31 12:00:00+00:00"
    assert f"deadline      2030-01-01 12:00:00+00:00, known since {since} to be missed\n" in text


def test_a_batch_that_was_given_up_says_why_and_whether_its_sender_knows(
    ports: Database, half_done: str
) -> None:
    with connect("rates-test", autocommit=True) as connection:
        batch = find_batch(connection, "wednesday")
        assert batch is not None
        give_up(connection, batch, "the object is gone")
    shown = show(ports, half_done)
    assert (shown["state"], shown["failure"], shown["rows"]) == ("failed", "the object is gone", 20)
    (callback,) = shown["callbacks"]
    assert (callback["outcome"], callback["attempts"], callback["told_at"]) == ("failed", 0, None)

    def told(change: str) -> str:
        ports.rows(f"UPDATE callbacks SET {change} RETURNING 1")
        text = run_here("show", half_done, database=ports).stdout
        assert "state         failed (40%)\nfailure       the object is gone\n" in text
        (line,) = re.findall(r"^told          (.*)$", text, re.MULTILINE)
        return line

    noon = "'2030-01-01 12:00+00'"
    assert told("attempts = 0") == "failed: not yet"
    again = told(f"attempts = 2, answer = '503 Service Unavailable', next_try_at = {noon}")
    assert again == "failed: not yet; attempt 2: 503 Service Unavailable; again 2030-01-01 12:00:00+00:00"
    given_up = told(f"given_up_at = {noon}")
    assert given_up == "failed: given up 2030-01-01 12:00:00+00:00: 503 Service Unavailable"
    assert told(f"told_at = {noon}") == "failed: 2030-01-01 12:00:00+00:00"


def test_a_dry_run_says_that_it_is_one(ports: Database, tmp_path: Path) -> None:
    with connect("rates-test", autocommit=True) as connection:
        batch = open_batch(connection, Order("dry-run:k", None, "k.csv", 10, dry_run=True))
        assert "state         loading, dry run\n" in run_here("show", str(batch.id), database=ports).stdout
        assert end_batch(connection, batch, chunk_count=0, places=Places()).state == "valid"
    shown = show(ports, "dry-run:k")
    assert (shown["state"], shown["dry_run"], shown["content_hash"]) == ("valid", True, None)
    text = run_here("show", str(batch.id), database=ports).stdout
    assert "state         valid\n" in text
    assert "sha-256       not known\n" in text


def test_an_id_means_the_batch_that_has_it_whatever_keys_others_have(ports: Database, published: str) -> None:
    with connect("rates-test", autocommit=True) as connection:
        other = open_batch(connection, Order(published, None, "other.csv", 10))
    assert show(ports, published)["key"] == "monday"
    assert show(ports, str(other.id))["key"] == published


def test_everything_is_told_as_of_one_moment(ports: Database, published: str) -> None:
    """A batch that is withdrawn while it is shown is not shown as published and folded."""
    with connect("rates-test") as connection, connect("rates-test", autocommit=True) as other:
        read_batches = history.read_batches

        def read_and_withdraw(connection: psycopg.Connection, *, name: str) -> list[dict[str, Any]]:
            rows = read_batches(connection, name=name)
            withdraw(other, published)
            return rows

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(history, "read_batches", read_and_withdraw)
            shown = history.one_batch(connection, published)
    assert shown is not None
    assert (shown["state"], shown["totals"]) == ("published", "waiting")
    assert events_of(shown)[-1] == "published"


def test_a_person_reads_it_in_columns(ports: Database, published: str) -> None:
    lines = run_here("show", published, database=ports).stdout.splitlines()
    head, stages, events = "\n".join(lines).split("\n\n")
    assert all(re.fullmatch(r"[\w -]{13} \S.*", line) for line in head.splitlines()), head
    assert [line.split()[0] for line in stages.splitlines()] == ["check", "write", "publish", "wall"]
    assert len({line.index(" s  ") for line in stages.splitlines()}) == 1
    assert [line.split()[2] for line in events.splitlines()] == ["opened", "loaded", "published"]
    assert len({line.index(who()) for line in events.splitlines()}) == 1
