"""Memory while a big file goes through: it is never held, neither by the API nor by a loader.

RATES_UPLOAD_MB makes the file larger; `make bench BENCH=ingestion` sends 1 GB and tells the figures.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from benchmarks.databases import insert_ports
from benchmarks.figures import MB
from benchmarks.memory import watched
from benchmarks.random_prices import write_prices
from loader.chunks import CHUNK_ROWS
from tests.batch_storage import new_storage, running_server
from tests.postgres import Database
from tests.system.fleet import repeated, running_fleet

SIZE = int(os.environ.get("RATES_UPLOAD_MB") or 100) * MB
PEAK_MAX = 256 * MB


@pytest.mark.parametrize("spelling", ["CSV", "NDJSON"])
def test_a_big_file_goes_through_in_little_memory(spelling: str, database: Database, tmp_path: Path) -> None:
    """Rows of random lanes and days, whose totals are as many as can be."""
    with database.connect() as connection:
        insert_ports(connection)
    head, block = content_of(spelling, tmp_path)
    with running_server() as endpoint_url, running_fleet(database, new_storage(endpoint_url)) as fleet:
        loader = fleet.start_loader()
        with watched({"API": fleet.api.process.pid, "loader": loader.process.pid}) as peaks:
            batch = fleet.accept(repeated(block, SIZE, head))
            rows = fleet.published(batch, timeout_s=300)["rows"]

    assert rows == -(-SIZE // len(block)) * CHUNK_ROWS
    assert min(peaks.values()) > 20 * MB, "each was looked at"
    assert max(peaks.values()) < PEAK_MAX, {name: f"{peak / MB:.0f} MB" for name, peak in peaks.items()}


def content_of(spelling: str, folder: Path) -> tuple[bytes, bytes]:
    """The beginning of a file, and a chunk's rows."""
    file = folder / "prices.csv"
    write_prices(file, CHUNK_ROWS)
    if spelling == "NDJSON":
        return b"", pl.read_csv(file).write_ndjson().encode()
    head, newline, rows = file.read_bytes().partition(b"\n")
    return head + newline, rows
