"""Regions and ports: what a dump or a file of places brings, and how they go in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from database.queries import query
from loader.errors import FileRejected, RowError

# Regions and ports are kept in memory, and with the plan of a batch. UN/LOCODE has about 120,000.
PLACES_MAX = 200_000
FAULTS_SHOWN = 10


@dataclass(frozen=True)
class Region:
    slug: str
    name: str
    parent_slug: str | None


@dataclass(frozen=True)
class Port:
    code: str
    name: str
    parent_slug: str


@dataclass(frozen=True)
class Places:
    """Regions and ports that an import brings; they become true together with its prices."""

    regions: list[Region] = field(default_factory=list)
    ports: list[Port] = field(default_factory=list)


def put_in(connection: psycopg.Connection, places: Places, name: str) -> int:
    """Without prices; returns how many are new or other than before. `connection` is in autocommit.

    Raises FileRejected, with nothing changed, where the tree that they would make with those that are there
    is none. The version is raised by trigger.
    """
    with connection.transaction():
        connection.execute(query("loader", "lock_publishing"))
        there = Places(
            [Region(*row) for row in connection.execute(query("loader", "regions"))],
            [Port(*row) for row in connection.execute(query("loader", "all_ports"))],
        )
        if faults := faults_of(places, there):
            raise FileRejected(RowError(name, 1, None, None, "; ".join(faults[:FAULTS_SHOWN])))
        return upsert_places(connection, places)


def upsert_places(connection: psycopg.Connection, places: Places) -> int:
    """New ones go in, known ones take the new name and place; the closure follows by trigger.

    Returns how many of them that were.
    """
    changed = 0
    if places.regions:
        changed += connection.execute(query("loader", "upsert_regions"), as_arrays(places)).rowcount
    if places.ports:
        changed += connection.execute(query("loader", "upsert_ports"), as_arrays(places)).rowcount
    return changed


def differ(connection: psycopg.Connection, places: Places) -> bool:
    """Whether one of them is not there, or not as it is here."""
    return connection.execute(query("loader", "places_differ"), as_arrays(places)).fetchone() == (True,)


def as_arrays(places: Places) -> Mapping[str, Any]:
    return {
        "slugs": [region.slug for region in places.regions],
        "region_names": [region.name for region in places.regions],
        "parent_slugs": [region.parent_slug for region in places.regions],
        "codes": [port.code for port in places.ports],
        "port_names": [port.name for port in places.ports],
        "region_slugs": [port.parent_slug for port in places.ports],
    }


def faults_of(places: Places, there: Places | None = None) -> list[str]:
    """Why these are no tree, with those that are `there` already: a parent that is no region, what stands
    twice, a region within itself, or one with a port's code."""
    there = there or Places()
    own = {region.slug: region.parent_slug for region in places.regions}
    parents = {region.slug: region.parent_slug for region in there.regions} | own
    codes = {port.code for port in (*there.ports, *places.ports)}
    faults = [f"region {slug!r} is there twice" for slug in repeated(one.slug for one in places.regions)]
    faults += [f"port {code!r} is there twice" for code in repeated(one.code for one in places.ports)]
    faults += [f"{code!r} is a region and a port" for code in sorted(parents.keys() & codes)]
    named = [(f"region {slug!r}", parent) for slug, parent in own.items() if parent is not None]
    named += [(f"port {port.code!r}", port.parent_slug) for port in places.ports]
    faults += [
        f"{child} lies in region {parent!r}, which is not there"
        for child, parent in named
        if parent not in parents
    ]
    return faults + [f"region {slug!r} lies in itself" for slug in own if lies_in_itself(slug, parents)]


def repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def lies_in_itself(slug: str, parents: dict[str, str | None]) -> bool:
    above, seen = parents[slug], set()
    while above is not None and above not in seen:
        if above == slug:
            return True
        seen.add(above)
        above = parents.get(above)
    return False
