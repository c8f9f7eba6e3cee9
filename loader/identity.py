"""The identity of prices: a number that follows from which rows there are, and from nothing else.

Each row is hashed to 64 bits, twice, and the hashes are added up: so the order of the rows, the format, the
packing and the cut into chunks change nothing. Two batches with as many rows and the same sum have the same
prices, but for a chance of 1 in 2^128.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

HALF = 2**64
ROOM = 2**128  # for the sum of one half over all chunks
LOW = 2**32
# Odd, so that a product loses nothing: the first digits of the roots of 2, 3, 5 and 7 behind their points.
FACTORS = (0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1)
CODES_KEPT = 10_000
# A chunk takes no more memory for it than some megabytes.
ROWS_AT_ONCE = 50_000


def prices_sum(prices: pl.DataFrame) -> int:
    """Of a checked chunk: orig_code, dest_code (Enum), day (Date), price (Int32). For `whole_sum`, once the
    sums of all chunks are added."""
    if not prices.height:
        return 0
    origs, dests = (hashes_of(prices[name]) for name in ("orig_code", "dest_code"))
    return sum(sum_of_rows(rows, origs, dests) for rows in prices.iter_slices(ROWS_AT_ONCE))


def sum_of_rows(rows: pl.DataFrame, origs: list[pl.Series], dests: list[pl.Series]) -> int:
    """`origs` and `dests` have the hashes of each code, at the place of its number."""
    import polars as pl  # noqa: PLC0415  # which those who only end batches do not wait for

    first, second, third, fourth = (pl.Series([factor], dtype=pl.UInt64) for factor in FACTORS)
    orig, dest = (rows[name].to_physical() for name in ("orig_code", "dest_code"))
    day, price = (rows[name].to_physical().cast(pl.UInt64) for name in ("day", "price"))
    halves = []
    for half in (0, 2):
        mixed = mix(origs[half].gather(orig) + day * first, second)
        mixed = mix(mixed ^ (dests[half + 1].gather(dest) + price * third), fourth)
        halves.append(int(mix(mixed, second).sum()))  # modulo 2^64, as Polars adds
    return halves[0] * ROOM + halves[1]


def whole_sum(of_chunks: int) -> int:
    """Below 2^128, and the same however the rows were cut into chunks."""
    first, second = divmod(of_chunks, ROOM)
    return first % HALF * HALF + second % HALF


def mix(value: pl.Series, factor: pl.Series) -> pl.Series:
    """Each bit reaches those above it by the product, and those below it by the fold."""
    product = value * factor
    return product ^ (product // LOW)


def hashes_of(column: pl.Series) -> list[pl.Series]:
    """Four times 64 bits, its SHA-256, of each code that is used, at the place of its number."""
    import polars as pl  # noqa: PLC0415  # likewise

    assert isinstance(column.dtype, pl.Enum)
    codes = column.unique()
    used, size = codes.to_physical(), len(column.dtype.categories)
    of_used = zip(*(code_hash(code) for code in codes), strict=True)
    return [
        pl.zeros(size, pl.UInt64, eager=True).scatter(used, pl.Series(part, dtype=pl.UInt64))
        for part in of_used
    ]


@lru_cache(CODES_KEPT)
def code_hash(code: str) -> tuple[int, ...]:
    digest = hashlib.sha256(code.encode()).digest()
    return tuple(int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8))
