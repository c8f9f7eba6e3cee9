"""The dated list of AWS's prices, `prices.toml`, as `stacks.billing` looks them up: by region and key."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("prices.toml")
NAME = "stacks/prices.toml"


class CostUnknown(Exception):
    """Something has no price. The message says what, and what to add where."""


@dataclass(frozen=True)
class Price:
    price: float
    unit: str
    aws: str  # the usage type, without the region's prefix
    sources: int  # that agree on it


@cache
def read_prices() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())


def date() -> str:
    return read_prices()["date"]


def region_prices(region: str) -> dict[str, Price]:
    """By key; those of a table below the region's by `database_hour/db.t4g.micro`."""
    tables = read_prices()
    if not isinstance(tables.get(region), dict):
        raise CostUnknown(f"{NAME} has no prices of the region {region}: its head says how to add one")
    found = {}
    for key, entry in tables[region].items():
        if "price" in entry:
            found[key] = Price(**entry)
        else:
            found |= {f"{key}/{name}": Price(**each) for name, each in entry.items()}
    return found


def price_of(prices: dict[str, Price], key: str, region: str) -> float:
    if key not in prices:
        table, _, name = key.rpartition("/")
        where = f"[{region}.{table}]" if table else f"[{region}]"
        raise CostUnknown(f"{NAME} has no price of {name} in {region}: add it under {where}")
    return prices[key].price
