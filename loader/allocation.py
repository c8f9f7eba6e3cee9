"""Makes the C library give memory back: `work` calls it once, before its threads begin.

By itself glibc keeps what was freed, the more the larger the blocks were: some 40 MB in a worker, which is to
stay below 256 (`tests/system/test_upload_memory.py`).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Of `mallopt(3)`: from which size on a block is the system's again once it is freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
BYTES = 1024 * 1024


def give_memory_back() -> None:
    """Does nothing where the C library knows no such thing, as on macOS."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, BYTES)
        library.mallopt(M_TRIM_THRESHOLD, BYTES)
