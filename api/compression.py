"""Bodies sent as gzip to whoever takes it, where that saves a packet at all.

`answers` keeps what it has packed; `respond_json` and `packed` are for what is made anew each time.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Generator
from functools import lru_cache

import falcon
import msgspec

# Below, the packet is sent all the same.
MIN_BYTES = 1_400
LEVEL = 5
WITH_GZIP_HEAD = 16 + zlib.MAX_WBITS
# RFC 9110, 12.4.2.
WEIGHT = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII)


def is_taken(request: falcon.Request) -> bool:
    """Whether the client takes gzip."""
    accepted = request.env.get("HTTP_ACCEPT_ENCODING")
    return accepted is not None and takes_gzip(accepted)


@lru_cache(maxsize=64)  # browsers' and libraries', always the same
def takes_gzip(accepted: str) -> bool:
    """By an `Accept-Encoding` as RFC 9110 (12.5.3) has it: gzip, `*` where gzip is not named, and not below
    the weight of `identity`. What is malformed is not taken."""
    weights = dict(weighed(each) for each in accepted.lower().split(","))
    gzip_weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip_weight > 0 and gzip_weight >= weights.get("identity", 0.0)


def weighed(element: str) -> tuple[str, float]:
    coding, *parameters = (part.strip() for part in element.split(";"))
    weights = [WEIGHT.fullmatch(parameter) for parameter in parameters]
    if not weights:
        return coding, 1.0
    return coding, float(weights[0][1]) if weights[0] and len(weights) == 1 else 0.0


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
