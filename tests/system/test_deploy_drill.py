"""A day of deploys in a minute: ten batches load while one worker after the other is replaced.

Each gets SIGTERM as a deploy sends it, or `kill -9`, at a random moment, with another one started before. The
database is slow here, so that every moment of a chunk is hit. By default REPLACED workers are stopped and as
many killed; with RATES_DRILL_S it goes on for so long, and with more rows. A nightly run does so for LONG_S.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from loader.work import SLOTS
from tests.batch_storage import new_storage
from tests.examples import nightly
from tests.loader.batches import (
    Row,
    add_places,
    assert_answers_are_what_was_published,
    data_version,
    make_rows,
)
from tests.postgres import Database
from tests.system.fleet import (
    ANSWER_S,
    Fleet,
    Loader,
    all_settled,
    cut_small,
    running_fleet,
    wait_until_quiet,
)
from tests.system.left_behind import left_behind
from tests.system.spellings import COMPRESSIONS, SPELLINGS, named
from tests.waiting import wait_until

LONG_S = 40.0
DRILL_S = float(os.environ.get("RATES_DRILL_S") or (LONG_S if nightly else 0))
REPLACED = 3  # by SIGTERM, and so many by kill -9
LOADERS = 3
CHUNK_ROWS = 1_000
CHUNK_S = 0.6  # about so long a chunk takes
# How many chunks each batch has in a drill of LONG_S, and how it is spelled; by default a third of them.
BATCHES = [
    (40, "CSV", "plain"),
    (25, "CSV, another order", "gzip"),
    (20, "Parquet", "plain"),
    (15, "NDJSON", "zstd"),
    (10, "NDJSON", "plain"),
    (6, "Parquet", "gzip"),
    (5, "CSV", "zstd"),
    (4, "CSV, all quoted", "plain"),
    (3, "CSV", "gzip"),
]
SHARE = DRILL_S / LONG_S or 1 / 3
BAD_CHUNKS = 8
KILLED, STOPPED = "killed", "told to stop"
# As slow as a server that has much else to do: a chunk takes CHUNK_S, most of it uncommitted.
SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(TG_ARGV[0]::float * (0.5 + random())); RETURN NULL; END';
CREATE TRIGGER dawdle AFTER INSERT ON prices FOR EACH STATEMENT EXECUTE FUNCTION dawdle({});
CREATE TRIGGER dawdle AFTER INSERT ON planned_chunks FOR EACH STATEMENT EXECUTE FUNCTION dawdle(0.1);
"""
CHUNKS_IN = "SELECT id::text, chunk_no, done_at FROM chunks JOIN batches USING (batch_no)"
CUT = "SELECT id::text, plans.chunk_count, next_byte, next_line FROM plans JOIN batches USING (batch_no)"
ENDS = """
SELECT id::text, state, count(*) FROM batches JOIN batch_events ON batch_id = id
WHERE event IN ('published', 'rejected', 'failed', 'withdrawn', 'reopened') GROUP BY id, state
"""
IN = """
SELECT id::text, count(*), sum(chunks.row_count) FROM chunks JOIN batches USING (batch_no) GROUP BY id
"""


@dataclass
class Drill:
    """What was sent, what has been seen of it in the ledger, and who was replaced."""

    fleet: Fleet
    chance: Random
    sent: dict[str, list[Row]] = field(default_factory=dict)
    bad: str = ""
    chunks: dict[tuple[str, int], Any] = field(default_factory=dict)  # when each was done
    cut: dict[str, tuple[int, ...]] = field(default_factory=dict)  # how far
    ends: Counter[str] = field(default_factory=Counter)

    def send(self, number: int) -> None:
        chunks, spelling, compression = BATCHES[number]
        rows = make_rows(int(chunks * CHUNK_ROWS * SHARE), seed=number)
        content = COMPRESSIONS[compression](SPELLINGS[spelling](named(rows)))
        self.sent[self.fleet.accept(content)] = rows

    def send_bad(self) -> None:
        rows = named(make_rows(BAD_CHUNKS * CHUNK_ROWS, seed=len(BATCHES)))
        rows[len(rows) // 2]["price"] = "free"
        self.bad = self.fleet.accept(SPELLINGS["CSV"](rows))

    def replace_one(self) -> None:
        """A new one comes before the old one goes, which has worked for a moment."""
        old = self.chance.choice(self.fleet.loaders)
        self.fleet.start_loader()
        wait_until(lambda: is_at_work(old), LONG_S)
        time.sleep(self.chance.uniform(0, CHUNK_S))
        how = KILLED if self.chance.random() < 0.5 else STOPPED
        if self.ends[how] >= REPLACED > min(self.ends[KILLED], self.ends[STOPPED]):
            how = STOPPED if how == KILLED else KILLED
        self.fleet.end(old, kill=how == KILLED)
        self.ends[how] += 1

    def look(self) -> None:
        """What is in stays in as it is, and planning goes on where it was: nothing starts over."""
        found = {(batch, number): at for batch, number, at in self.fleet.database.rows(CHUNKS_IN)}
        assert found.items() >= self.chunks.items()
        self.chunks = found
        for batch, *place in self.fleet.database.rows(CUT):
            assert tuple(place) >= self.cut.get(batch, ()), f"batch {batch} was cut again"
            self.cut[batch] = tuple(place)

    def run(self) -> None:
        began = time.monotonic()
        unsent = [*range(len(BATCHES))]
        while unsent or self.lacks_ends() or time.monotonic() < began + DRILL_S:
            for number in unsent[:2]:
                self.send(number)
            unsent = unsent[2:]
            if not self.bad:
                self.send_bad()
            self.replace_one()
            self.look()

    def lacks_ends(self) -> bool:
        return min(self.ends[KILLED], self.ends[STOPPED]) < REPLACED


def test_workers_replaced_all_the_time_publish_every_batch_once(
    database: Database, storage_server: str
) -> None:
    add_places(database)
    cut_small(database, CHUNK_ROWS)
    with database.connect() as connection:
        connection.execute(SLOW.format(CHUNK_S).encode())
    with running_fleet(database, new_storage(storage_server)) as fleet:
        fleet.have_loaders(LOADERS)
        drill = Drill(fleet, Random("deploys"))  # noqa: S311
        drill.run()

        found = all_settled(fleet, [*drill.sent, drill.bad], timeout_s=ANSWER_S)
        drill.look()
        states = {batch: (answer["state"], answer["rows"]) for batch, answer in found.items()}
        rejected = {drill.bad: ("rejected", 0)}
        assert states == {batch: ("published", len(rows)) for batch, rows in drill.sent.items()} | rejected
        assert found[drill.bad]["error_count"] == 1
        check_ledger(drill)

        wait_until(lambda: fleet.waiting() == 0)
        # What a killed worker had in hand comes back within a minute, and finds nothing to do.
        assert fleet.messages() <= SLOTS * drill.ends[KILLED]
        if DRILL_S:
            wait_until_quiet(fleet)
        assert fleet.storage.dead_letters() == []
        fleet.have_loaders(0)
        assert left_behind(database) == {}
        assert not [line for line in fleet.lines() if "Traceback" in line]


def is_at_work(loader: Loader) -> bool:
    return any("worker started" in line for line in list(loader.lines))


def check_ledger(drill: Drill) -> None:
    """Every batch ended once, each chunk is in once, and the answers are the rows that were sent."""
    database = drill.fleet.database
    ends = {batch: (state, count) for batch, state, count in database.rows(ENDS)}
    published = dict.fromkeys(drill.sent, ("published", 1))
    assert ends == published | {drill.bad: ("rejected", 1)}
    rows_in = {batch: (chunks, rows) for batch, chunks, rows in database.rows(IN) if batch != drill.bad}
    expected = {batch: (-(-len(rows) // CHUNK_ROWS), len(rows)) for batch, rows in drill.sent.items()}
    assert rows_in == expected
    assert database.rows("SELECT * FROM planned_chunks") == database.rows("SELECT * FROM plans") == []
    assert data_version(database) == len(drill.sent)
    assert_answers_are_what_was_published(database, *drill.sent.values())
