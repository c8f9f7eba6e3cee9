"""Bodies sent as gzip to whoever takes it, where that saves a packet at all."""

from __future__ import annotations

import gzip

import falcon

# Below, the packet is sent all the same.
MIN_BYTES = 1_400
LEVEL = 5


def is_taken(request: falcon.Request) -> bool:
    """Whether the client takes gzip."""
    accepted = request.get_header("Accept-Encoding")
    return accepted is not None and "gzip" in accepted and "gzip;q=0" not in accepted.replace(" ", "")


def compress(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)
