"""Cases of gzip and zstd, around CSV."""

from __future__ import annotations

import gzip

from loader.formats.compression import zstd
from tests.loader.cases.case import Case
from tests.loader.cases.delimited import csv

# A stream with a window of 256 MiB, as `zstd --long=28` makes it.
LONG_WINDOW = b"\x28\xb5\x2f\xfd\x04\x90\x01\0\0"
PACKING_CASES = [
    Case(
        "several members, as `cat a.gz b.gz` gives them",
        lambda: gzip.compress(csv()[:40]) + gzip.compress(csv()[40:]),
        packings=("gzip",),
    ),
    Case("zero bytes behind the last member", lambda: gzip.compress(csv()) + bytes(512), packings=("gzip",)),
    Case("several frames", lambda: zstd.compress(csv()[:40]) + zstd.compress(csv()[40:]), packings=("zstd",)),
    Case(
        "other bytes behind the end",
        lambda: gzip.compress(csv()) + b"more",
        "line 4: other bytes follow the end of the gzip stream",
        packings=("gzip",),
    ),
    Case(
        "one that ends early",
        lambda: gzip.compress(csv())[:-9],
        "line 4: the gzip stream ends early",
        packings=("gzip",),
    ),
    Case(
        "one that ends early",
        lambda: zstd.compress(csv())[:-3],
        "the zstd stream ends early",
        packings=("zstd",),
    ),
    Case(
        "one that is damaged", b"\x1f\x8b\x09\0\0\0\0\0\0\0", "the gzip stream is damaged", packings=("gzip",)
    ),
    Case(
        "a window above 128 MiB",
        LONG_WINDOW,
        "the zstd stream needs a window of over 128 MiB; pack it with --long=27",
        packings=("zstd",),
    ),
    Case(
        "packed twice",
        lambda: gzip.compress(zstd.compress(csv())),
        "the file is compressed twice",
        packings=("gzip",),
    ),
]
