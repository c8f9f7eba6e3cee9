"""Bodies sent as gzip to whoever takes it, where that saves a packet at all.

`answers` keeps what it has packed; `respond_json` and `packed` are for what is made anew each time.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator

import falcon
import msgspec

# Below, the packet is sent all the same.
MIN_BYTES = 1_400
LEVEL = 5
WITH_GZIP_HEAD = 16 + zlib.MAX_WBITS


def is_taken(request: falcon.Request) -> bool:
    """Whether the client takes gzip."""
    accepted = request.env.get("HTTP_ACCEPT_ENCODING")
    return accepted is not None and "gzip" in accepted and "gzip;q=0" not in accepted.replace(" ", "")


def compress(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def respond_json(request: falcon.Request, response: falcon.Response, body: object) -> None:
    """Answers with `body` in JSON, which no cache keeps."""
    data = msgspec.json.encode(body)
    response.cache_control = ["no-store"]
    if len(data) >= MIN_BYTES and is_taken(request):
        data = compress(data)
        response.set_header("Content-Encoding", "gzip")
    response.data = data


def packed(request: falcon.Request, response: falcon.Response, pieces: Generator[bytes]) -> Generator[bytes]:
    """The same for a body that is sent in pieces, each as soon as it is there."""
    if not is_taken(request):
        return pieces
    response.set_header("Content-Encoding", "gzip")
    return pack(pieces)


def pack(pieces: Generator[bytes]) -> Generator[bytes]:
    packer = zlib.compressobj(LEVEL, wbits=WITH_GZIP_HEAD)
    for piece in pieces:
        yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
