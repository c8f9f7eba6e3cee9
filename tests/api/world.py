"""A small world to ask about: places four levels deep with their odd cases, and how prices get into it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from loader import compact
from loader.load import Options, Result, load
from loader.places import Places, Port, Region
from loader.sources import Files
from tests.postgres import Database

Price = tuple[str, str, str, int]  # orig_code, dest_code, day, USD

REGIONS = {
    "world": None,
    "asia": "world",
    "china": "asia",
    "china_east": "china",
    "europe": "world",
    "baltic": "europe",
    "empty_sea": "world",
    # A slug that is a port's code too: asked for, it is the port.
    "SGSIN": "asia",
}
PORTS = {
    "CNSGH": "china_east",
    "CNNGB": "china_east",
    "CNGGZ": "china",
    "SGSIN": "SGSIN",
    "SGJUR": "SGSIN",
    "DEHAM": "europe",
    "EETLL": "baltic",
    "LVRIX": "baltic",
}
PLACES = Places(
    [Region(slug, slug.title(), parent) for slug, parent in REGIONS.items()],
    [Port(code, code.title(), slug) for code, slug in PORTS.items()],
)
HEADER = "orig_code,dest_code,day,price\n"


def ports_of(code: str) -> set[str]:
    """What a code means, worked out here: itself if it is a port, every port below it if it is a region."""
    if code in PORTS:
        return {code}
    return {port for port, slug in PORTS.items() if code in above(slug)}


def above(slug: str | None) -> set[str]:
    return {slug} | above(REGIONS[slug]) if slug else set()


def load_prices(
    database: Database,
    prices: list[Price],
    *,
    places: Places = PLACES,
    stop: Callable[[], bool] = lambda: False,
    chunk_rows: int = 100,
) -> Result:
    """Loads prices as one batch, whatever was loaded before; nothing is folded."""
    rows = "".join(",".join(map(str, price)) + "\n" for price in prices)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in database.environment("rates_loader").items():
            patch.setenv(name, value)
        path = Path(folder) / "prices.csv"
        path.write_text(HEADER + rows)
        options = Options(key=str(uuid.uuid4()), chunk_rows=chunk_rows)
        return load(Files([path]), options, places=places, stop=stop)


def fold_all(database: Database) -> int:
    """Folds what is published into the base; returns how many deltas."""
    with database.connect("rates_loader") as connection:
        return compact.fold_all(connection)
