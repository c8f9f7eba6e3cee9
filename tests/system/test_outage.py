"""The database goes away in the middle of loading: batches go on being accepted, and none is lost.

By default until both loaders have met that; RATES_OUTAGE_S keeps it away for longer, a nightly run for 30 s.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from local.postgres import PostgresServer, free_port
from tests.batch_storage import new_storage
from tests.examples import nightly
from tests.loader.batches import add_places, assert_answers_are_what_was_published, make_rows
from tests.postgres import PASSWORD, clone, make_template
from tests.system.fleet import ANSWER_S, all_settled, cut_small, running_fleet, wait_until_quiet
from tests.system.left_behind import left_behind
from tests.system.spellings import COMPRESSIONS, SPELLINGS, named
from tests.waiting import wait_until

AWAY_S = float(os.environ.get("RATES_OUTAGE_S") or (30 if nightly else 0))
SETTINGS = {"fsync": "off", "shared_buffers": "16MB"}
CHUNK_ROWS = 500
CHUNKS = 20
AWAY = "database or storage away"
CHUNKS_IN = "SELECT count(*) FROM chunks"


def test_a_database_that_goes_away_in_the_middle_loses_no_batch(tmp_path: Path, storage_server: str) -> None:
    begun, *meanwhile = (make_rows(rows, seed=rows) for rows in (CHUNKS * CHUNK_ROWS, 5_000, 3_000, 900))
    spellings = [("CSV", "plain"), ("NDJSON", "gzip"), ("Parquet", "plain")]
    with PostgresServer(tmp_path / "postgres", free_port(), PASSWORD, settings=SETTINGS) as server:
        database = clone(server, make_template(server))
        add_places(database)
        cut_small(database, CHUNK_ROWS)
        with running_fleet(database, new_storage(storage_server)) as fleet:
            loaders = [fleet.start_loader() for _ in range(2)]
            first = fleet.accept(SPELLINGS["CSV"](named(begun)), "first")
            wait_until(lambda: 0 < database.rows(CHUNKS_IN)[0][0] < CHUNKS)
            server.stop()
            stopped = time.monotonic()
            batches = [first]
            for number, ((spelling, compression), rows) in enumerate(zip(spellings, meanwhile, strict=True)):
                content = COMPRESSIONS[compression](SPELLINGS[spelling](named(rows)))
                batches.append(fleet.accept(content, f"meanwhile {number}"))
                assert fleet.post(content, f"meanwhile {number}").json()["batch"] == batches[-1]
            assert fleet.client.get("/health/ready").status_code == 503
            wait_until(lambda: all(AWAY in "\n".join(loader.lines) for loader in loaders))
            time.sleep(max(0.0, stopped + AWAY_S - time.monotonic()))
            assert all(loader.process.running for loader in loaders)

            server.start()

            found = all_settled(fleet, batches, ANSWER_S)
            assert [found[batch]["state"] for batch in batches] == ["published"] * len(batches)
            assert fleet.loaders == loaders
            assert all(loader.process.running for loader in loaders)
            assert_answers_are_what_was_published(database, begun, *meanwhile)
            wait_until_quiet(fleet)
            assert fleet.storage.dead_letters() == []
            fleet.have_loaders(0)
            assert left_behind(database) == {}
            assert not [line for line in fleet.lines() if "Traceback" in line]
