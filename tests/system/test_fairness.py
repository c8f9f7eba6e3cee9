"""A small batch beside a huge one: it is published in the time that it takes, whatever waits in the queue."""

from __future__ import annotations

from tests.batch_storage import new_storage
from tests.loader.batches import add_places, make_rows
from tests.postgres import Database
from tests.system.fleet import cut_small, running_fleet
from tests.system.spellings import SPELLINGS, named
from tests.waiting import wait_until

CHUNK_ROWS = 100
CHUNKS = 120
# Each chunk takes a third of a second: those of the huge batch together ten seconds and more.
SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.33); RETURN NULL; END';
CREATE TRIGGER dawdle AFTER INSERT ON prices FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
"""
PLANNED = "SELECT count(*) FROM plans WHERE complete"


def test_a_small_batch_does_not_wait_for_the_huge_one_before_it(
    database: Database, storage_server: str
) -> None:
    add_places(database)
    cut_small(database, CHUNK_ROWS)
    with database.connect() as connection:
        connection.execute(SLOW)
    with running_fleet(database, new_storage(storage_server)) as fleet:
        fleet.have_loaders(1)
        huge = fleet.accept(SPELLINGS["CSV"](named(make_rows(CHUNKS * CHUNK_ROWS))))
        wait_until(lambda: database.rows(PLANNED) == [(1,)])

        small = fleet.published(fleet.accept(SPELLINGS["CSV"](named(make_rows(CHUNK_ROWS, seed=2)))))

        seen = fleet.batch(huge)
        assert seen["state"] == "loading"
        assert seen["progress"]["chunks"] < CHUNKS / 2, f"it was published after {small['seconds']} s"
