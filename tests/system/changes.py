"""Batches published and withdrawn one after the other, and what each version of the data answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from loader.withdraw import withdraw
from tests.api.world import PLACES, load_prices
from tests.postgres import Database
from tests.system.readers import Seen

LANE = ("CNSGH", "DEHAM")
# From port to port, and from a region to a region two levels above its ports: another statement.
QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=CNSGH&dest_code=DEHAM"
REGIONS_QUESTION = "/rates?date_from=2021-01-01&date_to=2021-01-01&orig_code=asia&dest_code=world"
PRICES = 3  # of a batch


class Version(NamedTuple):
    """`not_before` is when its transaction was about to commit, by the clock of this machine, and `not_after`
    when that was done."""

    not_before: float
    not_after: float
    counts: tuple[int | None, ...]


@dataclass
class Changes:
    """The database is nobody else's to change. `versions` is by number."""

    database: Database
    batches: list[str] = field(default_factory=list)
    versions: dict[int, Version] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.note()

    def publish(self) -> None:
        price = (*LANE, "2021-01-01", 1000 + len(self.versions))
        result = load_prices(self.database, [price] * PRICES, places=PLACES)
        assert result.state == "published"
        self.batches.append(str(result.batch))
        self.note()

    def withdraw(self) -> None:
        with self.database.connect("rates_loader") as connection:
            assert withdraw(connection, self.batches.pop()).state == "withdrawn"
        self.note()

    def note(self) -> None:
        done_at = time.time()
        number, changed_at = now_of(self.database)
        assert not self.versions or number == max(self.versions) + 1
        self.versions[number] = Version(changed_at, done_at, (PRICES * len(self.batches) or None,))

    @property
    def newest(self) -> int:
        return max(self.versions)

    def check(self, seen: Iterable[Seen]) -> None:
        """Each answer was 200, and is of the version that it says, which was there when it came."""
        for one in seen:
            assert one.status == 200
            version = self.versions[one.version]
            assert one.counts == version.counts, one
            assert one.come >= version.not_before, one
            changed_at = int(one.tag.split("-")[1], 16)
            assert one.tag.startswith(f'W/"{one.version}-'), one
            assert round(version.not_before * 1e6) == changed_at + EPOCH_US, one

    def staleness_s(self, one: Seen) -> float:
        """For how long at least there had been a newer version when it was asked for; below 0 if there was
        none."""
        newer = self.versions.get(one.version + 1)
        return one.sent - newer.not_after if newer else float("-inf")


EPOCH_US = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def now_of(database: Database) -> tuple[int, float]:
    """The number of the version, and when it was about to commit."""
    ((number, changed_at),) = database.rows("SELECT version, changed_at FROM data_version")
    return number, changed_at.timestamp()
