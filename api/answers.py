"""Answers that hold for one version of the data: kept in memory, told apart by `ETag`, sent once.

Whoever has an answer already is told so (304) before anything is read but the version. An answer out of
memory is of the version that is known to be the newest (`data_version`), and each is labelled with the
version that it was read with, by one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from zlib import crc32

import falcon
import msgspec
from cachetools import LRUCache

from api import compression
from api.data_version import NewestVersion
from api.store import Store
from api.totals import DataVersion

# Raised where the same data is answered in other words than by the release before.
FORM = 1
ANY = "*"
# What an answer takes in memory besides its texts (`test_what_is_kept_takes_no_more_memory_than_is_allowed`).
ANSWER_BYTES = 600
LINK_BYTES = 60


class Made(msgspec.Struct, gc=False):
    """An answer's body, and what its `Link` header says, if it has one."""

    version: DataVersion
    body: bytes
    link: str | None = None


class Answer:
    """`tag` is its ETag: weak, since packed or not it is the same."""

    __slots__ = ("body", "link", "packed", "size", "tag", "version")

    def __init__(self, key: str, made: Made) -> None:
        self.version, self.body, self.link = made.version, made.body, made.link
        self.tag = tag_of(self.version, key)
        self.packed: bytes | None = None
        # A body that may be sent packed is kept both ways.
        body_bytes = len(self.body) * (2 if len(self.body) >= compression.MIN_BYTES else 1)
        link_bytes = LINK_BYTES + len(self.link) if self.link else 0
        self.size = ANSWER_BYTES + len(key) + body_bytes + link_bytes


@dataclass
class Answers:
    """At most `bytes_max` of them, in each process."""

    store: Store
    newest: NewestVersion
    bytes_max: int
    _kept: LRUCache[str, Answer] = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._kept = LRUCache(self.bytes_max, getsizeof=lambda answer: answer.size)

    def respond(
        self,
        request: falcon.Request,
        response: falcon.Response,
        make: Callable[[], Made],
        media_type: str = falcon.MEDIA_JSON,
        rules: str = "",
    ) -> None:
        """`make` reads what is asked and answers it, where no answer is kept; what it raises is not kept.

        `rules` are those of the server's settings that decide what is answered, and what is refused: under
        others, an answer that a client has is none.
        """
        key = f"{rules}{media_type} {request.path}?{request.query_string}"
        newest = self.newest.get()
        with self._lock:
            # `get` raises and catches for what is not kept.
            answer = self._kept[key] if key in self._kept else None  # noqa: SIM401
        known = request.env.get("HTTP_IF_NONE_MATCH")
        if answer is None or answer.version != newest:
            # Whoever would take anything ("*") is refused first what has no answer.
            if known and "*" not in known:
                newest = newest or self.store.version()
                tag = tag_of(newest, key)
                if is_known(request, known, tag):
                    label(response, tag, newest)
                    response.status = falcon.HTTP_304
                    return
            answer = Answer(key, make())
            if answer.size <= self.bytes_max:
                with self._lock:
                    self._kept[key] = answer
        label(response, answer.tag, answer.version)
        if known and is_known(request, known, answer.tag):
            response.status = falcon.HTTP_304
        else:
            send(request, response, answer, media_type)


def tag_of(version: DataVersion, key: str) -> str:
    return f'W/"{version.number}-{version.changed_at:x}-{FORM}-{crc32(key.encode()):x}"'


def is_known(request: falcon.Request, known: str, tag: str) -> bool:
    """Whether the client has the answer of this tag, compared weakly as RFC 9110 (13.1.2) wants it."""
    return known in (tag, ANY) or any(f'W/"{one}"' == tag for one in request.if_none_match or [])


def send(request: falcon.Request, response: falcon.Response, answer: Answer, media_type: str) -> None:
    response.content_type = media_type
    if answer.link:
        response.set_header("Link", answer.link)
    if len(answer.body) >= compression.MIN_BYTES and compression.is_taken(request):
        if answer.packed is None:
            answer.packed = compression.compress(answer.body)
        response.data = answer.packed
        response.set_header("Content-Encoding", "gzip")
    else:
        response.data = answer.body


def label(response: falcon.Response, tag: str, version: DataVersion) -> None:
    response.set_header("ETag", tag)
    response.set_header("Data-Version", str(version.number))
