"""Each file of `docs/formats.md` is as the page says: on disk, by both commands, and sent into the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from loader.check import Ports, check
from loader.chunks import Chunk
from loader.content import Content
from loader.cut import cutting
from loader.dump import Dump
from loader.errors import FileRejected, RowError
from loader.inputs import StoredContent
from loader.ledger import Batch
from loader.planned import PlannedChunk, read_chunk
from loader.sources import Files
from local.postgres import PostgresServer
from storage.bucket import Bucket
from tests.house.files import ROOT
from tests.loader.batches import json_of, one_database, run_here
from tests.loader.cases.case import CODES, ROWS, TAKEN, Case
from tests.loader.cases.mistaken import MISTAKEN_CASES
from tests.loader.cases.page import GROUPS, page
from tests.loader.cases.parquet import PARQUET_CASES
from tests.postgres import Database

PORTS = Ports(set(CODES))
NO_BATCH = cast("Batch", None)  # which nothing here asks for
CASES = [(case, group.commands) for group in GROUPS for case in group.cases]


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    with one_database(server, template) as database:
        yield database


def outcome_of(chunks: Iterator[Chunk]) -> str:
    """TAKEN for chunks that hold ROWS, or the first fault as the page has it."""
    rows = []
    try:
        for chunk in chunks:
            checked = check(chunk, PORTS)
            if checked.errors:
                return told(checked.errors[0])
            rows += checked.prices.rows()
    except FileRejected as rejected:
        return told(rejected.error)
    assert sorted(rows) == sorted(ROWS)
    return TAKEN


def told(error: RowError) -> str:
    words = str(error).removeprefix(f"{error.file}:{error.line}: ")
    return f"line {error.line}: {words}" if error.line > 1 or error.column else words


def chunks_of(command: str, path: Path) -> Iterator[Chunk]:
    yield from (Dump(path) if command == "import" else Files([path])).chunks(1_000)


@pytest.mark.parametrize(
    ("case", "command", "packing"),
    [
        pytest.param(case, command, packing, id=f"{case.given}-{command}-{packing}")
        for case, commands in CASES
        for command in commands
        for packing in case.packings
        if command != "http"
    ],
)
def test_a_file_is_taken_or_refused_as_the_page_says(
    case: Case, command: str, packing: str, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(case.stored(packing))
    assert outcome_of(chunks_of(command, path)).startswith(case.outcome)


def test_what_is_sent_into_the_bucket_is_taken_or_refused_the_same(bucket: Bucket) -> None:
    """Of Parquet the first case alone: `test_plan` has more, and each takes a process."""
    wrong = []
    for case, commands in CASES:
        if "http" not in commands or case in PARQUET_CASES[1:]:
            continue
        outcome = outcome_of(sent(bucket, case.stored(case.packings[0])))
        if not outcome.startswith(case.outcome):
            wrong.append((case.given, outcome))
    assert wrong == []


def sent(bucket: Bucket, content: bytes) -> Iterator[Chunk]:
    """The chunks that a worker reads of an object."""
    bucket.put("content", content)
    found = bucket.look("content")
    known = Content(bucket.name, "content", found.etag, found.size, "prices.csv", "delimited")
    with cutting(StoredContent(bucket, "content", found.etag, found.size, "prices.csv"), known, 1_000) as cut:
        content_found, cuts = cut
        for each in cuts:
            begin, end, key = each.begin_byte, each.end_byte, None
            if each.take_out is not None:
                taken_out = each.take_out()
                begin, end, key = 0, len(taken_out), "chunk"
                bucket.put(key, taken_out)
            yield read_chunk(
                bucket, PlannedChunk(NO_BATCH, 0, each.first_line, begin, end, key, content_found, 0)
            )


@pytest.mark.parametrize("case", MISTAKEN_CASES, ids=lambda case: case.given)
def test_what_is_sent_by_mistake_is_rejected_by_name(case: Case, database: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(case.stored("plain"))
    done = run_here("load", path, "--json", database=database)
    assert done.returncode == 1
    result = json_of(done)
    assert (result["state"], result["rows"], result["error_count"]) == ("rejected", 0, 1)
    assert result["errors"][0]["reason"].startswith(case.outcome)


def test_the_page_has_the_cases_that_are_tried() -> None:
    assert (ROOT / "docs/formats.md").read_text() == page(), "make formats writes it"
