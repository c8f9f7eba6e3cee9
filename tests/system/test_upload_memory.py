"""Memory while a big file goes through: it is never held, neither by the API nor by a loader.

A file is sent, and then one that is several times as large, for which they take hardly more. RATES_UPLOAD_MB
makes that larger still, as a nightly run does; `make bench BENCH=ingestion` sends 1 GB and tells the figures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from benchmarks.databases import insert_ports
from benchmarks.figures import MB
from benchmarks.memory import watched
from benchmarks.random_prices import write_prices
from loader.chunks import CHUNK_ROWS
from local.postgres import PostgresServer
from tests.batch_storage import new_storage, running_server
from tests.examples import nightly
from tests.postgres import clone
from tests.system.fleet import Fleet, repeated, running_fleet

SIZE = int(os.environ.get("RATES_UPLOAD_MB") or (200 if nightly else 0)) * MB
# Of what the second file is larger by.
SHARE_MAX = 0.7
PEAK_MAX = 256 * MB
# So long is a line of NDJSON, most of it spaces: what the API passes on costs a loader little.
LINE_BYTES = 1_000
LINES = 4_000


@pytest.fixture(scope="module")
def fleet(server: PostgresServer, template: str) -> Iterator[Fleet]:
    """With S3 of its own, since moto never forgets an object."""
    database = clone(server, template)
    with database.connect() as connection:
        insert_ports(connection)
    with running_server() as endpoint_url, running_fleet(database, new_storage(endpoint_url)) as fleet:
        yield fleet
    database.drop()


def test_a_big_csv_file_is_never_held_by_a_loader(fleet: Fleet, tmp_path: Path) -> None:
    """Rows of random lanes and days, whose totals are as many as can be; in the first one for each slot."""
    head, newline, rows = written(tmp_path).read_bytes().partition(b"\n")
    grown = growth(fleet, head + newline, rows, 12 * MB, SIZE or 36 * MB)
    assert grown["loader"] < SHARE_MAX, grown


def test_a_big_ndjson_file_is_never_held_by_the_api_or_a_loader(fleet: Fleet, tmp_path: Path) -> None:
    """The first one fills the parts in which the API passes it on."""
    lines = pl.read_csv(written(tmp_path)).write_ndjson().splitlines()[:LINES]
    block = "".join("{" + line[1:].rjust(LINE_BYTES) + "\n" for line in lines).encode()
    grown = growth(fleet, b"", block, 24 * MB, SIZE or 72 * MB)
    assert max(grown.values()) < SHARE_MAX, grown


def written(folder: Path) -> Path:
    file = folder / "prices.csv"
    write_prices(file, CHUNK_ROWS)
    return file


def growth(fleet: Fleet, head: bytes, block: bytes, *sizes: int) -> dict[str, float]:
    """What API and loader took more for the second size than for the first, as a share of the difference."""
    fleet.have_loaders(0)
    fleet.have_loaders(1)
    first, second = (peaks_of(fleet, head, block, size) for size in sizes)
    assert min(first.values()) > 20 * MB, "each was looked at"
    assert max(second.values()) < PEAK_MAX, second
    return {name: (peak - first[name]) / (sizes[1] - sizes[0]) for name, peak in second.items()}


def peaks_of(fleet: Fleet, head: bytes, block: bytes, size: int) -> dict[str, int]:
    """The most that each has taken in its life, once a file of this size is published."""
    (loader,) = fleet.loaders
    with watched({"API": fleet.api.process.pid, "loader": loader.process.pid}) as peaks:
        rows = fleet.published(fleet.accept(repeated(block, size, head)))["rows"]
    assert rows == -(-size // len(block)) * block.count(b"\n")
    return peaks
