"""Tells what a file is by how it begins, whatever it is called: how compressed, and of which format."""

from __future__ import annotations

from loader.formats.compression import (
    MAGIC_BYTES,
    Decompressed,
    Stream,
    UnreadableStream,
    compression_of,
)
from loader.formats.lines import BYTE_ORDER_MARK
from loader.formats.mistaken import mistaken_for

HEAD_BYTES = 64 * 1024
PARQUET = b"PAR1"


class Peekable:
    """A stream that can be looked into before it is read; `position` is how much of it was read."""

    def __init__(self, stream: Stream) -> None:
        self.position = 0
        self._stream = stream
        self._head = b""
        self._damage: UnreadableStream | None = None

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, or all there are; of damage behind them, only reading tells."""
        try:
            while len(self._head) < size and not self._damage and (more := self._stream.read(size)):
                self._head += more
        except UnreadableStream as damage:
            self._damage = damage
        return self._head[:size]

    def read(self, size: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        elif self._damage:
            raise self._damage
        else:
            data = self._stream.read(size)
        self.position += len(data)
        return data


def content_of(stored: Stream, stored_size: int) -> tuple[Peekable, bool]:
    """What is in a file of so many bytes once it is decompressed, and whether it had to be.

    Raises UnreadableStream for what is known to be neither prices nor a dump, and where it is compressed
    again: a few such layers could be of any size.
    """
    content = Peekable(stored)
    compression = compression_of(content.peek(MAGIC_BYTES))
    if compression is not None:
        content = Peekable(Decompressed(content, compression, stored_size))
        if compression_of(content.peek(MAGIC_BYTES)):
            raise UnreadableStream("the file is compressed twice; expected it to be once at most")
    head = content.peek(HEAD_BYTES)
    if mistaken := mistaken_for(head, whole=len(head) < HEAD_BYTES):
        what, remedy = mistaken
        inside = f" inside {compression}" if compression else ""
        raise UnreadableStream(f"the file is {what}{inside}; {remedy}")
    return content, compression is not None


def format_of(content: Peekable) -> str:
    """parquet, ndjson or csv: that is whatever is nothing else, since its header tells more."""
    head = content.peek(HEAD_BYTES)
    if head.startswith(PARQUET):
        return "parquet"
    if head.startswith(BYTE_ORDER_MARK):
        content.read(len(BYTE_ORDER_MARK))
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip(b" \t\r\n")
    return "ndjson" if text.startswith(b"{") else "csv"
