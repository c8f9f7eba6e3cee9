"""Readers of every isolation level see whole batches only, while batches come, go and are folded.

Each batch adds the same to every lane and day of a small world, so that a set of whole batches has a look of
its own: all lanes and days have one count and sum, and the sum says which batches it is made of.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import psycopg
import pytest
from psycopg import IsolationLevel

from loader.compact import fold_all
from loader.discard import discard_all
from loader.load import Options, load
from loader.sources import Files
from loader.withdraw import withdraw
from tests.examples import nightly
from tests.loader.batches import (
    CODES,
    Row,
    add_places,
    assert_totals_are_what_was_published,
    data_version,
    discard,
    fold,
    write_csv,
)
from tests.postgres import Database
from tests.totals import day_totals

LEVELS = [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE]
# Each kind of thing happens so often at least, and in a nightly run for so long.
LONG_S = 12.0 if nightly else 0.0
STUCK_S = 300
AT_LEAST = {"published": 30, "folded": 300, "thrown away": 30} | {level.name: 150 for level in LEVELS}
WITHDRAWN_EACH_WAY, SETS_SEEN = 5, 20
WRITERS, FOLDERS = 3, 2
# Lanes within and between two regions, and days on both sides of the end of a month and of a year.
ORIGS, DESTS = CODES[:3], CODES[3:]
LANES = list(product(ORIGS, DESTS))
DAYS = [date(2020, 12, 31) + timedelta(n) for n in (0, 1, 2, 31, 32)]
# Three prices a lane and day, in three chunks that cut through days and lanes.
PRICES_A_DAY, CHUNK_ROWS = 3, 50
BATCHES = 16  # each has a bit of its own in the sum of a day
# All lanes in one statement, base and deltas as the API reads them.
EVERYTHING = b"""
SELECT orig_code, dest_code, month + (of_day.day - 1) AS day, sum(price_sum)::bigint, sum(price_count)::bigint
FROM (
    SELECT orig_code, dest_code, month, days, price_sums, price_counts FROM lane_month_totals
    UNION ALL
    SELECT orig_code, dest_code, month, days, price_sums, price_counts FROM lane_month_deltas
    WHERE posting_no = ANY(ARRAY(SELECT posting_no FROM postings))
) AS totals, unnest(days, price_sums, price_counts) AS of_day (day, price_sum, price_count)
GROUP BY 1, 2, 3 HAVING sum(price_count) <> 0 OR sum(price_sum) <> 0
"""


def rows_of(number: int) -> list[Row]:
    """A batch: 3 * 2^number USD on each lane and day."""
    rows = [Row(*lane, day, 2**number) for lane in LANES for day in DAYS for _ in range(PRICES_A_DAY)]
    random.Random(number).shuffle(rows)  # noqa: S311
    return rows


@dataclass
class World:
    """A database, what is done to it by now, and what readers saw."""

    database: Database
    folder: Path
    began: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.files = [write_csv(self.folder / f"{number}.csv", rows_of(number)) for number in range(BATCHES)]

    def goes_on(self) -> bool:
        return not self.over.is_set()

    def has_happened(self) -> bool:
        """All of it, often enough to show anything."""
        often = all(self.done[what] > count for what, count in AT_LEAST.items())
        if not often or len(self.seen) <= SETS_SEEN or time.monotonic() < self.began + LONG_S:
            return False
        # By its reversal and, where it was not folded yet, without one.
        withdrawn = dict(self.database.rows(WITHDRAWN))
        return min(withdrawn.get(one, 0) for one in (False, True)) >= WITHDRAWN_EACH_WAY

    def end_once_it_has_happened(self) -> None:
        deadline = time.monotonic() + STUCK_S
        while self.goes_on():
            if self.has_happened():
                self.over.set()
            assert time.monotonic() < deadline, (self.done, len(self.seen))
            self.over.wait(0.1)

    def count(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.done[what] += number

    # --- who writes ----------------------------------------------------------------------------------------

    def write(self, writer: int) -> None:
        """Loads the writer's own batches in turn, two loads of each at once at times, and takes them back."""
        chance = random.Random(writer)  # noqa: S311
        mine = range(writer, BATCHES, WRITERS)
        published: dict[int, str] = {}
        while self.goes_on():
            number = chance.choice(mine)
            if number in published:
                with self.database.connect("rates_loader") as connection:
                    withdraw(connection, published.pop(number))
                self.count("withdrawn")
                continue
            key = f"{number}: {self.done['published']} by {writer}"
            options = Options(key=key, workers=2, chunk_rows=CHUNK_ROWS)
            with ThreadPoolExecutor(2) as executor:
                loads = [
                    executor.submit(load, Files([self.files[number]]), options)
                    for _ in range(chance.choice([1, 1, 2]))
                ]
                assert {one.result().state for one in loads} == {"published"}
            published[number] = key
            self.count("published")

    def tidy(self, folder: int) -> None:
        """Folds in steps of any size, and throws away."""
        chance = random.Random(folder)  # noqa: S311
        with self.database.connect("rates_loader") as connection:
            while self.goes_on():
                self.count("folded", fold_all(connection, rows_max=chance.choice([1, 2, 5, 50])))
                self.count("thrown away", discard_all(connection))
                time.sleep(chance.random() / 5)  # or nothing would ever be withdrawn that is not folded

    # --- who reads -----------------------------------------------------------------------------------------

    def read(self, level: IsolationLevel, reader: int) -> None:
        """Transactions of several statements; in all but READ COMMITTED they must agree."""
        chance = random.Random(reader)  # noqa: S311
        with self.database.connect("rates_api") as connection:
            connection.isolation_level = level
            while self.goes_on():
                with connection.transaction():
                    asked = []
                    for _ in range(chance.randint(2, 5)):
                        asked.append(chance.choice(QUESTIONS)(connection, chance))
                        time.sleep(chance.choice([0, 0, 0.02]))  # something changes meanwhile
                if level is not IsolationLevel.READ_COMMITTED:
                    assert len(set(asked)) == 1, f"a {level.name} transaction saw {asked}"
                with self.lock:
                    self.seen |= set(asked)
                    self.done[level.name] += 1

    def run(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            what(*arguments)
        except BaseException:
            self.over.set()
            raise


# Each gives which batches there are, as the bits of a number.


def batches_in(days: dict[tuple, tuple[int, int]], places: set[tuple], lanes: int) -> int:
    """`lanes` are added up in each of `days`, which must be all of `places` or none."""
    if not days:
        return 0
    assert days.keys() == places, f"only some of the lanes and days: {sorted(days)}"
    (price_sum, price_count), *others = set(days.values())
    assert not others, f"more of some lanes and days than of others: {others} {price_sum, price_count}"
    bits, rest = divmod(price_sum, PRICES_A_DAY * lanes)
    assert rest == 0, price_sum
    assert price_count == PRICES_A_DAY * lanes * bits.bit_count(), (price_sum, price_count)
    return bits


def sum_of_everything(connection: psycopg.Connection, _: random.Random) -> int:
    rows = connection.execute(EVERYTHING).fetchall()
    places = {(*lane, day) for lane in LANES for day in DAYS}
    return batches_in({tuple(row[:3]): row[3:] for row in rows}, places, 1)


def sum_of_a_lane(connection: psycopg.Connection, chance: random.Random) -> int:
    return answered(connection, *chance.choice(LANES), lanes=1)


def sum_of_a_region(connection: psycopg.Connection, _: random.Random) -> int:
    return answered(connection, "asia", "europe", lanes=len(LANES))


QUESTIONS = [sum_of_everything, sum_of_a_lane, sum_of_a_region]


def answered(connection: psycopg.Connection, orig_code: str, dest_code: str, *, lanes: int) -> int:
    """By the API's own statement."""
    rows = day_totals(connection, (orig_code, dest_code), DAYS[0], DAYS[-1])
    return batches_in({(day,): (total, count) for day, total, count in rows}, {(day,) for day in DAYS}, lanes)


REPLACED = 40  # times, at least


def test_readers_of_every_isolation_level_see_one_of_two_that_replace_each_other(world: World) -> None:
    """Folded or not; never both, and never neither."""

    def replace_on() -> None:
        chance = random.Random(1)  # noqa: S311
        held, number = "0: first", 0
        load(Files([world.files[0]]), Options(key=held, chunk_rows=CHUNK_ROWS))
        world.begun.set()
        while world.goes_on():
            number = chance.choice([one for one in range(BATCHES) if one != number])
            key = f"{number}: {world.done['replaced']}"
            options = Options(key=key, replace=held, chunk_rows=CHUNK_ROWS)
            assert load(Files([world.files[number]]), options).state == "published"
            held = key
            world.count("replaced")

    def read_on(level: IsolationLevel, reader: int) -> None:
        assert world.begun.wait(STUCK_S)
        world.read(level, reader)

    def end_in_time() -> None:
        deadline = time.monotonic() + STUCK_S
        while world.goes_on():
            done = world.done
            if done["replaced"] >= REPLACED and min(done[level.name] for level in LEVELS) >= 100:
                world.over.set()
            assert time.monotonic() < deadline, done
            world.over.wait(0.1)

    with ThreadPoolExecutor(10) as executor:
        tasks: list[tuple] = [(replace_on,), (world.tidy, 1), (end_in_time,)]
        tasks += [(read_on, level, reader) for reader, level in enumerate(LEVELS * 2)]
        running = [executor.submit(world.run, *task) for task in tasks]
        for one in running:
            one.result(2 * STUCK_S)
    assert {bits.bit_count() for bits in world.seen} == {1}
    ways = dict(world.database.rows(WITHDRAWN))
    assert ways.keys() == {False, True}, "some were folded when they were replaced, and some were not"
    assert_totals_are_what_was_published(world.database)


WITHDRAWN = """
SELECT reversed, count(DISTINCT batch_no) FROM chunks JOIN batches USING (batch_no)
WHERE state = 'withdrawn' GROUP BY reversed
"""


@pytest.fixture
def world(as_loader: Database, tmp_path: Path) -> World:
    add_places(as_loader)
    return World(as_loader, tmp_path)


def test_readers_of_every_isolation_level_see_whole_batches_only(world: World) -> None:
    with ThreadPoolExecutor(20) as executor:
        tasks: list[tuple] = [(world.write, writer) for writer in range(WRITERS)]
        tasks += [(world.tidy, folder) for folder in range(FOLDERS)]
        tasks += [(world.read, level, reader) for reader, level in enumerate(LEVELS * 2)]
        tasks.append((world.end_once_it_has_happened,))
        running = [executor.submit(world.run, *task) for task in tasks]
        for one in running:
            one.result(2 * STUCK_S)
    assert data_version(world.database) == world.done["published"] + world.done["withdrawn"]
    assert_totals_are_what_was_published(world.database)
    fold(world.database)
    discard(world.database)
    assert_totals_are_what_was_published(world.database)
