"""Planning: every format is cut as a load cuts it, whatever interrupts the planner, and once."""

from __future__ import annotations

import errno
import gzip
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO

import msgspec
import polars as pl
import psycopg
import pytest
from structlog.typing import EventDict

from database.errors import DatabaseUnavailable
from loader.chunks import Chunk, FaultChunk
from loader.dump import Dump
from loader.errors import FileRejected, Stopped, UsageError
from loader.formats.compression import zstd
from loader.ledger import done_chunks, find_batch
from loader.load import Options, load
from loader.places import Port
from loader.planned import ATTEMPTS_MAX
from loader.publish import give_up
from loader.sources import Files
from loader.withdraw import withdraw
from storage.bucket import Bucket, StoredObject
from storage.errors import StorageMisconfigured, StorageUnavailable
from storage.manifest import UNNAMED, Manifest
from tests.examples import nightly
from tests.loader.batches import (
    CODES,
    assert_answers_are_what_was_published,
    assert_totals_are_what_was_published,
    make_rows,
)
from tests.loader.dumps import HEAD, TAIL, dump_text, section
from tests.loader.planning import Sent, accept, chunks_of, content_of, do_all, open_small, plan, planned
from tests.postgres import Database

ROWS = make_rows(47)
FRAME = pl.DataFrame(ROWS, schema=["orig_code", "dest_code", "day", "price"], orient="row")
CSV = FRAME.write_csv().encode()
NDJSON = FRAME.with_columns(pl.col("day").cast(pl.String)).write_ndjson().encode()
DUMP_ROWS = [(row.orig_code, row.dest_code, row.day, row.price) for row in ROWS]
DUMP = dump_text(ports=[(code, code.title(), "asia") for code in CODES], prices=DUMP_ROWS[:30]) + section(
    "prices", [row[::-1] for row in DUMP_ROWS[30:]], "price, day, dest_code, orig_code"
)


def as_parquet(frame: pl.DataFrame = FRAME) -> bytes:
    content = BytesIO()
    frame.write_parquet(content, row_group_size=10)
    return content.getvalue()


def bad_at(row: int, content: bytes = CSV) -> bytes:
    """With a line that is longer than any may be."""
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:row], b"x" * 70_000 + b"\n", *lines[row:]])


CONTENTS = {
    "csv": CSV,
    "csv of another order": FRAME.select(reversed(FRAME.columns)).write_csv().encode(),
    "csv with a mark and CRLF": b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"),
    "csv without a last line end": CSV.removesuffix(b"\n"),
    "csv with quotes": CSV.replace(b"CNSGH", b'"CNSGH"'),
    "csv of a spreadsheet": b'"sep=;"\r\n' + CSV.replace(b",", b";").replace(b"\n", b"\r\n"),
    "csv parted by bars": CSV.replace(b",", b"|").replace(b"CNSGH", b'"CNSGH"'),
    "csv parted by tabs.gz": gzip.compress(CSV.replace(b",", b"\t")),
    "csv with bad rows": CSV.replace(b"NLRTM", b"NOWHERE"),
    "csv with a line too long": bad_at(25),
    "csv with a line too long first": bad_at(1),
    "csv.gz": gzip.compress(CSV[:300]) + gzip.compress(CSV[300:]),
    "csv.zst": zstd.compress(CSV),
    "csv.gz that ends early": gzip.compress(CSV)[:-9],
    "csv.zst with a mark": zstd.compress(b"\xef\xbb\xbf" + CSV),
    "ndjson": NDJSON,
    "ndjson with a mark": b"\xef\xbb\xbf" + NDJSON,
    "ndjson.gz": gzip.compress(NDJSON),
    "ndjson.zst": zstd.compress(NDJSON),
    "parquet": as_parquet(),
    "parquet with nulls": as_parquet(FRAME.with_columns(price=pl.when(pl.col("price") > 99).then("price"))),
    "parquet.gz": gzip.compress(as_parquet()),
    "parquet that ends early": as_parquet()[:-20],
    "a header alone": CSV.splitlines(keepends=True)[0],
    "a bad header": b"a,b\n1,2\n",
    "nothing": b"",
    "no row of parquet": as_parquet(FRAME.clear()),
    "compressed twice": gzip.compress(zstd.compress(CSV)),
    "a workbook": b"PK\x03\x04" + bytes(100),
    "a page of HTML": b"<!DOCTYPE html>",
    "JSON over lines": b"{\n" + NDJSON[1:],
    "a dump in tar format.gz": gzip.compress(b"toc.dat\0".ljust(257, b"\0") + b"ustar"),
}
DUMPS = {
    "dump": DUMP.encode(),
    "dump with a mark": DUMP.encode("utf-8-sig"),
    "dump with what is passed over": ("CREATE VIEW v AS SELECT ';';\n" + DUMP).encode(),
    "dump with CRLF": DUMP.replace("\n", "\r\n").encode(),
    "dump.gz": gzip.compress(DUMP.encode()),
    "dump without its comments": DUMP[DUMP.index("SET statement") :].encode(),
    "dump with a line too long": DUMP.replace("\t2021-01-09", "\t" + "9" * 70_000, 1).encode(),
    "dump that ends early": DUMP[: DUMP.rindex("\\.")].encode(),
    "dump of nothing": (HEAD + TAIL).encode(),
    "dump of places": dump_text(prices=[]).encode(),
    "an archive": b"PGDMP" + bytes(100),
}
# What a planner that goes on reads in other ways, each of which takes six tries here.
READ_EACH_ITS_WAY = (
    "csv with a mark and CRLF", "csv with a line too long", "csv.gz", "csv.gz that ends early", "ndjson",
    "ndjson.zst", "parquet", "parquet.gz", "nothing", "dump", "dump.gz", "dump that ends early",
)  # fmt: skip
CUT_INTO_RANGES = {"csv", "csv with a mark and CRLF", "csv with a line too long", "ndjson", "dump"}


def loaded(name: str, content: bytes, folder: Path, rows_max: int) -> list[Chunk]:
    """What a load of the same file is cut into; a fault of all of it is its last chunk."""
    path = folder / "content"
    path.write_bytes(content)
    chunks: list[Chunk] = []
    try:
        source = Dump(path) if name in DUMPS else Files([path])
        chunks += source.chunks(rows_max)
    except FileRejected as rejected:
        chunks.append(FaultChunk(rejected.error))
    return chunks


def nothing_is_planned(database: Database) -> bool:
    return not database.rows("SELECT batch_no FROM plans UNION ALL SELECT batch_no FROM planned_chunks")


def shape(chunks: list[Chunk]) -> list[tuple[int, bytes]]:
    return [(chunk.first_line, chunk.content_hash) for chunk in chunks]


@pytest.mark.parametrize(
    ("name", "interrupted"),
    [(name, False) for name in CONTENTS | DUMPS]
    + [(name, True) for name in (CONTENTS | DUMPS if nightly else READ_EACH_ITS_WAY)],
    ids=lambda value: value if isinstance(value, str) else "chunk by chunk" if value else "at once",
)
def test_every_file_is_cut_as_a_load_cuts_it(
    name: str,
    interrupted: bool,
    ports: Database,
    connection: psycopg.Connection,
    bucket: Bucket,
    tmp_path: Path,
) -> None:
    content = (CONTENTS | DUMPS)[name]
    expected = loaded(name, content, tmp_path, 10)
    faults = [chunk for chunk in expected if isinstance(chunk, FaultChunk)]
    manifest = accept(bucket, content)
    batch = open_small(connection, manifest, 10)
    sent = Sent()
    while interrupted:
        sent.stop_after = len(sent) + 1
        try:
            plan(connection, bucket, manifest, sent)
        except Stopped:
            continue
        break
    else:
        assert plan(connection, bucket, manifest, sent) == batch

    assert sent == list(range(len(expected) - len(faults)))
    assert shape(chunks_of(ports, bucket, batch)) == shape(expected[: len(sent)])
    assert [hash_ for hash_, _ in done_chunks(connection, batch).values()] == [f.content_hash for f in faults]
    assert ports.rows("SELECT complete, chunk_count, attempts, bytes_read FROM plans") == [
        (True, len(expected), 0, len(content))
    ]
    if name in CUT_INTO_RANGES:
        assert list(bucket.list("chunks/")) == []


@pytest.mark.parametrize("name", ["csv", "csv.gz", "ndjson", "ndjson.zst", "parquet", "parquet.gz"])
def test_what_is_planned_and_done_is_what_was_sent(
    name: str, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CONTENTS[name])
    batch = open_small(connection, manifest, 10)
    plan(connection, bucket, manifest)
    assert do_all(connection, ports, bucket, batch) == "published"
    assert_answers_are_what_was_published(ports, ROWS)
    assert nothing_is_planned(ports)


def test_a_dump_brings_its_places_with_its_prices(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    text = DUMP.replace("SEGVX", "NOVEL")
    manifest = accept(bucket, text.encode())
    batch = open_small(connection, manifest, 10)
    plan(connection, bucket, manifest)
    assert Port("NOVEL", "Segvx", "asia") in content_of(ports, batch).places.ports
    assert ports.rows("SELECT count(*) FROM ports WHERE code = 'NOVEL'") == [(0,)]
    assert do_all(connection, ports, bucket, batch) == "published"
    assert ports.rows("SELECT parent_slug FROM ports WHERE code = 'NOVEL'") == [("asia",)]
    codes = {code: code for code in CODES} | {"SEGVX": "NOVEL"}
    expected = [row._replace(orig_code=codes[row.orig_code], dest_code=codes[row.dest_code]) for row in ROWS]
    assert_answers_are_what_was_published(ports, expected)


def test_a_dump_of_places_alone_is_published_without_a_chunk(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, DUMPS["dump of places"])
    sent = Sent()
    batch = plan(connection, bucket, manifest, sent)
    assert batch is not None
    assert sent == []
    assert do_all(connection, ports, bucket, batch) == "published"


def test_a_batch_is_opened_as_it_was_accepted(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV, dry_run=True, callback_url="https://example.com/told", request_id="r1")
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    assert (batch.id, batch.key, batch.content_hash) == (manifest.batch, "k", bytes.fromhex("ab" * 32))
    assert ports.rows(
        "SELECT source, created_by, dry_run, callback_url, request_id, chunk_rows FROM batches"
    ) == [("prices.csv", "somebody", True, "https://example.com/told", "r1", 200_000)]
    assert [event for (event,) in ports.rows("SELECT event FROM batch_events ORDER BY event_no")] == [
        "opened",
        "planned",
    ]
    assert do_all(connection, ports, bucket, batch) == "valid"


def test_a_batch_that_is_planned_is_not_planned_again(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    plan(connection, bucket, manifest)
    before = ports.rows("SELECT * FROM plans"), ports.rows("SELECT * FROM batch_events")
    again = Sent()
    plan(connection, bucket, manifest, again)
    assert again == []
    assert (ports.rows("SELECT * FROM plans"), ports.rows("SELECT * FROM batch_events")) == before


@pytest.mark.parametrize("state", ["published", "rejected", "failed", "withdrawn"])
def test_a_message_that_comes_late_changes_nothing_about_a_batch_that_has_ended(
    state: str, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CONTENTS["csv with bad rows" if state == "rejected" else "csv"])
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    if state == "failed":
        give_up(connection, batch, "for a test")
    elif state == "withdrawn":
        withdraw(connection, "k")
    else:
        assert do_all(connection, ports, bucket, batch) == state
    bucket.delete(manifest.content)
    before = ports.rows("SELECT * FROM batches"), ports.rows("SELECT * FROM batch_events")

    again = plan(connection, bucket, manifest, sent := Sent())

    assert again is not None
    assert (again.state, sent) == (state, [])
    assert (ports.rows("SELECT * FROM batches"), ports.rows("SELECT * FROM batch_events")) == before


@pytest.mark.parametrize("put_by", ["sender", "API"])
def test_what_its_sender_puts_into_the_bucket_is_counted_once_as_accepted(
    put_by: str, connection: psycopg.Connection, bucket: Bucket, logged: list[EventDict]
) -> None:
    """As it comes, however often it is planned. What goes through the API has been counted there."""
    manifest = accept(bucket, CSV)
    if put_by == "sender":
        manifest = msgspec.structs.replace(manifest, sha256=None, size=None)
        bucket.delete(manifest.content)
        assert plan(connection, bucket, manifest) is None
        bucket.put(manifest.content, CSV)
    open_small(connection, manifest, 10)
    for stop_after in (0, 1, None, None):
        with suppress(Stopped):
            plan(connection, bucket, manifest, Sent(stop_after))
    counted = [line for line in logged if "batches_accepted" in line]
    figures = [(line["event"], line["batches_accepted"], line["accepted_bytes"]) for line in counted]
    assert figures == ([("batch accepted", 1, len(CSV))] if put_by == "sender" else [])
    assert all((line["batch"], line["bearer"]) == (str(manifest.batch), "somebody") for line in counted)


def test_one_plans_at_a_time(ports: Database, connection: psycopg.Connection, bucket: Bucket) -> None:
    manifest = accept(bucket, CSV)
    open_small(connection, manifest, 10)
    others: list[object] = []

    class Asking(Sent):
        def stop(self) -> bool:
            with ports.connect("rates_loader") as other:
                others.append(plan(other, bucket, manifest))
            return False

    sent = Asking()
    assert plan(connection, bucket, manifest, sent) is not None
    assert others == [None] * 5
    assert sent == [0, 1, 2, 3, 4]


def test_a_planner_that_lost_its_connection_is_followed_by_another(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    batch = open_small(connection, manifest, 10)

    class Cut(Sent):
        def send(self, messages: list) -> None:
            super().send(messages)
            if len(self) == 2:
                ports.rows("SELECT pg_terminate_backend(%s)", dying.info.backend_pid)

    dying = ports.connect("rates_loader")
    with pytest.raises(DatabaseUnavailable):
        plan(dying, bucket, manifest, sent := Cut())
    dying.close()
    assert sent == [0, 1]
    assert plan(connection, bucket, manifest, rest := Sent()) is not None
    assert rest == [2, 3, 4]
    assert do_all(connection, ports, bucket, batch) == "published"
    assert_answers_are_what_was_published(ports, ROWS)


def test_a_try_counts_until_a_chunk_is_planned_and_the_last_one_gives_the_batch_up(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    open_small(connection, manifest, 10)

    class Killed(BaseException):
        pass

    class Killing(Sent):
        def stop(self) -> bool:
            raise Killed

    for number in range(1, ATTEMPTS_MAX + 1):
        with pytest.raises(Killed):
            plan(connection, bucket, manifest, Killing())
        assert ports.rows("SELECT attempts FROM plans") == [(number,)]
    batch = plan(connection, bucket, manifest, sent := Sent())
    assert batch is not None
    assert (batch.state, sent) == ("failed", [])
    assert ports.rows("SELECT failure FROM batches") == [
        ("cutting its content into chunks was tried 5 times: no worker lived to see its end",)
    ]


def test_what_planning_failed_with_is_told_once_the_last_try_failed_too(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    open_small(connection, manifest, 10)
    tries = plan_failing(connection, bucket, manifest, after=2)
    assert tries == 1 + ATTEMPTS_MAX, "the first has planned two chunks"
    assert ports.rows("SELECT state, failure FROM batches") == [
        ("failed", "cutting its content into chunks was tried 5 times: ValueError: boom at 2")
    ]


def test_what_planning_failed_with_is_told_though_the_last_tries_were_killed(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    open_small(connection, manifest, 10)
    with pytest.raises(ValueError, match="boom"):
        plan(connection, bucket, manifest, Failing(after=0))
    ports.rows("UPDATE plans SET attempts = 5 RETURNING 1")
    found = plan(connection, bucket, manifest)
    assert found is not None
    assert ports.rows("SELECT state, failure FROM batches") == [
        ("failed", "cutting its content into chunks was tried 5 times: ValueError: boom at 0")
    ]


def test_what_a_try_failed_with_is_forgotten_once_the_batch_is_planned(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)
    batch = open_small(connection, manifest, 10)
    with pytest.raises(ValueError, match="boom"):
        plan(connection, bucket, manifest, Failing(after=0))
    assert ports.rows("SELECT content ->> 'failure' FROM plans") == [("ValueError: boom at 0",)]
    plan(connection, bucket, manifest)
    assert ports.rows("SELECT content ->> 'failure' FROM plans") == [(None,)]
    assert do_all(connection, ports, bucket, batch) == "published"
    assert_answers_are_what_was_published(ports, ROWS)


def test_a_disk_that_is_full_fails_the_batch_and_is_named(
    ports: Database, connection: psycopg.Connection, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> IO[bytes]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    manifest = accept(bucket, CONTENTS["parquet.gz"])
    for _ in range(ATTEMPTS_MAX - 1):
        with pytest.raises(UsageError):
            plan(connection, bucket, manifest)
    found = plan(connection, bucket, manifest)
    assert found is not None
    ((state, failure),) = ports.rows("SELECT state, failure FROM batches")
    assert state == "failed"
    assert "No space left on device" in failure


def test_content_that_cannot_be_looked_at_fails_the_batch_and_is_told(
    ports: Database, connection: psycopg.Connection, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be tried for ever, before all others."""

    def look(_bucket: Bucket, key: str) -> StoredObject:
        raise StorageMisconfigured(f"{key}: Access Denied (AccessDenied)")

    monkeypatch.setattr(Bucket, "look", look)
    manifest = accept(bucket, CSV)
    for _ in range(ATTEMPTS_MAX - 1):
        with pytest.raises(StorageMisconfigured):
            plan(connection, bucket, manifest)
    plan(connection, bucket, manifest)
    ((state, failure),) = ports.rows("SELECT state, failure FROM batches")
    assert state == "failed"
    assert failure.endswith("Access Denied (AccessDenied)")


class Failing(Sent):
    """Every try fails at the same chunk."""

    def __init__(self, *, after: int) -> None:
        super().__init__()
        self.after = after

    def stop(self) -> bool:
        if len(self) == self.after:
            raise ValueError(f"boom at {self.after}")
        return False


def plan_failing(connection: psycopg.Connection, bucket: Bucket, manifest: Manifest, *, after: int) -> int:
    """How often it was tried until the batch was given up."""
    sent = Failing(after=after)
    for number in range(1, 100):
        try:
            plan(connection, bucket, manifest, sent)
        except ValueError:
            continue
        return number
    raise AssertionError("never given up")


def test_to_be_told_to_stop_and_storage_that_is_away_count_as_no_try(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CSV)

    class Away(Sent):
        def send(self, messages: list) -> None:
            raise StorageUnavailable(f"the queue is away, {messages} is not sent")

    for _ in range(ATTEMPTS_MAX + 1):
        with pytest.raises(Stopped):
            plan(connection, bucket, manifest, Sent(stop_after=0))
    assert ports.rows("SELECT attempts FROM plans") == [(0,)]
    with pytest.raises(StorageUnavailable):
        plan(connection, bucket, manifest, Away())
    assert ports.rows("SELECT attempts, chunk_count, complete FROM plans") == [(0, 1, False)]
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    assert do_all(connection, ports, bucket, batch) == "published", (
        "what was not sent is planned all the same"
    )


def test_a_batch_that_is_withdrawn_while_it_is_planned_is_planned_no_further(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    manifest = accept(bucket, CONTENTS["csv.gz"])
    open_small(connection, manifest, 10)

    class Withdrawing(Sent):
        def send(self, messages: list) -> None:
            super().send(messages)
            if len(self) == 2:
                with ports.connect("rates_loader") as other:
                    withdraw(other, "k")

    batch = plan(connection, bucket, manifest, sent := Withdrawing())
    assert batch is not None
    assert (batch.state, sent) == ("withdrawn", [0, 1])
    assert nothing_is_planned(ports)
    assert list(bucket.list("chunks/")) == []


@pytest.mark.parametrize("rows_max", [4, 6, 20])
def test_a_planner_that_cuts_otherwise_than_the_one_before_gives_the_batch_up(
    rows_max: int, ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    """As one of another version might: rows would be left out, or be there twice."""
    manifest = accept(bucket, CONTENTS["csv.gz"])
    batch = open_small(connection, manifest, 10)
    with pytest.raises(Stopped):
        plan(connection, bucket, manifest, Sent(stop_after=2))
    ports.rows("UPDATE batches SET chunk_rows = %s RETURNING 1", rows_max)
    found = plan(connection, bucket, manifest, sent := Sent())
    assert found is not None
    assert (found.state, sent) == ("failed", [])
    assert ports.rows("SELECT failure FROM batches") == [
        (f"its first 2 chunks ended before line 22, and end before line {2 + 2 * rows_max} if cut again",)
    ]
    assert done_chunks(connection, batch) == {}


# --- beside a load of the same batch -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["csv", "csv.gz", "ndjson", "parquet"])
def test_a_load_and_the_workers_share_a_batch(
    name: str, ports: Database, connection: psycopg.Connection, bucket: Bucket, tmp_path: Path
) -> None:
    content = CONTENTS[name]
    path = tmp_path / "prices"
    path.write_bytes(content)
    manifest = accept(bucket, content, sha256=sha256(content).hexdigest())
    batch = open_small(connection, manifest, 10)
    with pytest.raises(Stopped):
        load(Files([path]), Options(key="k", workers=1), stop=stop_after(2))
    in_already = set(done_chunks(connection, batch))
    assert in_already
    plan(connection, bucket, manifest)
    assert {chunk.chunk_no for chunk in planned(ports, batch)} == set(range(5)) - in_already
    with pytest.raises(Stopped):
        load(Files([path]), Options(key="k", workers=1), stop=stop_after(4))
    assert do_all(connection, ports, bucket, batch) == "published"
    assert_answers_are_what_was_published(ports, ROWS)


def stop_after(times: int) -> Callable[[], bool]:
    answers = iter([False] * times)
    return lambda: next(answers, True)


def test_a_batch_of_a_load_under_the_same_key_is_the_one_that_was_accepted(
    ports: Database, connection: psycopg.Connection, bucket: Bucket, tmp_path: Path
) -> None:
    path = tmp_path / "prices"
    path.write_bytes(CSV)
    result = load(Files([path]), Options(key="k"))
    manifest = accept(bucket, CSV, sha256=sha256(CSV).hexdigest())
    assert manifest.batch != result.batch
    found = plan(connection, bucket, msgspec.structs.replace(manifest, source=UNNAMED))
    assert found is not None
    assert (found.id, found.state) == (result.batch, "published")
    assert ports.rows("SELECT count(*) FROM batches") == [(1,)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "(published), whose content is another"),
        ({"dry_run": True}, "(published), which is no dry run"),
        ({"sha256": sha256(CSV).hexdigest()}, "(withdrawn), which was withdrawn"),
        ({"sha256": None}, "(published), whose content is another"),
    ],
)
def test_a_key_that_is_taken_by_another_batch_fails_and_says_by_which(
    change: dict,
    reason: str,
    ports: Database,
    connection: psycopg.Connection,
    bucket: Bucket,
    tmp_path: Path,
) -> None:
    path = tmp_path / "prices"
    path.write_bytes(CSV)
    taken = load(Files([path]), Options(key="k"))
    if "withdrawn" in reason:
        withdraw(connection, "k")
    manifest = accept(bucket, NDJSON, callback_url="https://example.com/told", **change)
    for _ in range(2):  # however often it is told of
        found = plan(connection, bucket, manifest, sent := Sent())
        assert found is not None
        assert (found.id, found.state, found.key, sent) == (
            manifest.batch,
            "failed",
            f"k (conflict {manifest.batch})",
            [],
        )
    assert ports.rows("SELECT failure FROM batches WHERE id = %s", manifest.batch) == [
        (f"key 'k' belongs to batch {taken.batch} {reason}; send it under another key",)
    ]
    assert ports.rows("SELECT count(*) FROM callbacks") == [(1,)]
    assert_totals_are_what_was_published(ports)


def test_content_that_is_another_under_the_same_id_fails_as_a_batch_of_its_own(
    ports: Database, connection: psycopg.Connection, bucket: Bucket
) -> None:
    """An id follows from a key: a manifest that expired leaves room for another."""
    manifest = accept(bucket, CSV)
    batch = plan(connection, bucket, manifest)
    assert batch is not None
    assert do_all(connection, ports, bucket, batch) == "published"
    for _ in range(2):
        found = plan(connection, bucket, msgspec.structs.replace(manifest, sha256="cd" * 32))
        assert found is not None
        assert (found.state, found.id == batch.id) == ("failed", False)
        assert find_batch(connection, "k") == replace(batch, state="published", row_count=47)
    assert ports.rows("SELECT count(*) FROM batches") == [(2,)]
