"""What published batches mean for one that is to be: the same prices, another dump, the one it replaces.

`publish` asks within its transaction, while no other batch can be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from database.queries import query
from loader.errors import UsageError
from loader.ledger import Batch, record_event, who
from loader.places import Places, differ
from loader.withdraw import bury, find_by_name, take_out_of_answers
from storage.manifest import is_made_here


@dataclass(frozen=True)
class Other:
    """A published batch."""

    id: UUID
    source: str
    row_count: int


@dataclass(frozen=True)
class Refused:
    """Why a batch may not be published; `same` is the one that has all there is in it already."""

    reason: str
    same: Other | None = None


def refused_for_others(
    connection: psycopg.Connection,
    batch: Batch,
    prices_sum: int | None,
    row_count: int,
    places: Places | None,
) -> Refused | None:
    """Of a batch of these rows. `places` are those of a dump, None of any other file.

    Who names a batch by a key means it, whatever else has the same prices.
    """
    if not row_count:
        return None
    rows = {"batch_no": batch.batch_no, "prices_sum": prices_sum, "row_count": row_count}
    same = found(connection, "same_prices", rows) if is_made_here(batch.key) else []
    news = bool(same) and places is not None and differ(connection, places)
    if same and not (news and same[0].id == batch.replaces):
        if not news:
            return Refused(f"its {row_count:,} prices are those of {named(same[0])}", same[0])
        return Refused(f"its {row_count:,} prices are those of {named(same[0])}; {PLACES_ALONE}")
    if places is None or batch.adds or batch.replaces is not None:
        return None
    dumps = found(connection, "published_dumps", rows)
    return Refused(beside_dump(dumps[0])) if dumps else None


def beside_dump(other: Other) -> str:
    """Why a second dump is refused: each has all prices of a database, seldom meant to count twice."""
    return f"the prices of a dump are published already, by {named(other)}; {WAYS_ON}"


PLACES_ALONE = "--places-only takes its regions and ports alone"
WAYS_ON = (
    "--replace takes its place (replaces=KEY over HTTP), --add counts both (add=true),"
    " --places-only takes regions and ports alone"
)


def named(other: Other) -> str:
    return f"batch {other.id} ({other.source}, {other.row_count:,} rows)"


def published_dumps(connection: psycopg.Connection) -> list[Other]:
    """Those with prices, the first one first."""
    return found(connection, "published_dumps", {"batch_no": None})


def dump_in_the_way(connection: psycopg.Connection, row_count: int) -> Other | None:
    """A published dump that cannot have the same prices as one of so many rows; of as many rows, publishing
    finds out."""
    return next((other for other in published_dumps(connection) if other.row_count != row_count), None)


def found(connection: psycopg.Connection, name: str, values: dict[str, Any]) -> list[Other]:
    with connection.cursor(row_factory=class_row(Other)) as cursor:
        return cursor.execute(query("loader", name), values).fetchall()


def batch_to_replace(
    connection: psycopg.Connection, name: str, *, source: str, is_dump: bool, begun_for: UUID | None = None
) -> UUID:
    """The published batch of this id or key; of "" the one dump there is, or the one batch of this source.

    The one that a load was `begun_for` may have ended since: publishing sees to that. Raises UsageError where
    there is none, or several.
    """
    if name:
        batch = find_by_name(connection, name)
        if batch is None:
            raise UsageError(f"no batch to replace has the id or key {name!r}; `loader batches` lists them")
        if batch.state != "published" and batch.id != begun_for:
            raise UsageError(f"batch {batch.id} is {batch.state}; only a published one can be replaced")
        return batch.id
    of = "a dump" if is_dump else f"source {source!r}"
    others = published_dumps(connection) if is_dump else found(connection, "published_of", {"source": source})
    if len(others) != 1:
        which = f": {', '.join(str(other.id) for other in others[:5])}" if others else ""
        count = f"{len(others):,} published batches are" if others else "no published batch is"
        raise UsageError(f"{count} of {of}{which}; name the one to replace: --replace KEY")
    return others[0].id


def take_place(connection: psycopg.Connection, batch: Batch) -> Refused | None:
    """Within the transaction that publishes `batch`: takes the batch out of the answers that it replaces.

    Why not, where a third has taken that place. Raises Unreversed: first its reversal has to be written.
    """
    old = find_by_name(connection, str(batch.replaces))
    if old is None:
        return Refused(f"batch {batch.replaces}, which it was to replace, is no longer in the ledger")
    held = connection.execute(query("loader", "hold_batch"), {"batch_no": old.batch_no}).fetchone()
    if held is not None and held[0] == "published":
        take_out_of_answers(connection, old)
        bury(connection, old, by=who(), replaced_by=batch.id)
        record_event(connection, old, "replaced")
        return None
    replaced_by = connection.execute(query("loader", "replaced_by"), {"id": old.id}).fetchone()
    if replaced_by not in {None, (None,), (batch.id,)}:
        assert replaced_by is not None
        return Refused(f"batch {old.id}, which it was to replace, was replaced by batch {replaced_by[0]}")
    return None  # withdrawn meanwhile: its place is free
