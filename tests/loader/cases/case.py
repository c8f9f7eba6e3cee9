"""A case: what is given, and what comes of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from loader.formats.compression import zstd
from tests.loader.dumps import PORTS, PRICES

TAKEN = "taken"
PACKINGS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
# Of each good case, whatever its format.
ROWS = [(orig, dest, date.fromisoformat(day), price) for orig, dest, day, price in PRICES]
CODES = [code for code, _, _ in PORTS]
PRICE_RULE = "expected a whole number of USD from 1 to 2147483647"
DAY_RULE = "expected a day as YYYY-MM-DD"


@dataclass(frozen=True)
class Case:
    """`outcome` is TAKEN, or how the fault begins; `content` is made when it is tried."""

    given: str
    content: bytes | Callable[[], bytes]
    outcome: str = TAKEN
    packings: tuple[str, ...] = tuple(PACKINGS)

    def stored(self, packing: str) -> bytes:
        """As it lies on the disk; where it is tried in one packing alone, `content` is packed already."""
        content = self.content if isinstance(self.content, bytes) else self.content()
        return content if len(self.packings) == 1 else PACKINGS[packing](content)


@dataclass(frozen=True)
class AddressCase:
    """`files` are there; `outcome` is TAKEN, or how the usage error begins behind the address."""

    given: str
    address: str
    outcome: str
    files: tuple[str, ...] = ()
