"""Takes bytes out of gzip and zstd, told by how they begin; `lines` and `parquet` read what comes out.

A file may have several members (gzip) or frames (zstd), one after the other, as `cat` makes them. What comes
out is bounded by what is stored, since a few bytes may say that a byte follows a billion times.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# A frame without content, of which there are 16 kinds; some tools begin with one.
ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
MAGIC_BYTES = 4
# What zstd decompresses unless it is told otherwise, and how it says that a frame wants more.
WINDOW_MAX, WINDOW_TOO_LARGE = "128 MiB", "too much memory"
GZIP_WINDOW = 16 + zlib.MAX_WBITS
BLOCK_BYTES = 256 * 1024
# Lines of prices come out at 5 to 35 times their size, at most; and what is little may be anything.
EXPANSION_MAX = 200
EXPANDED_BYTES_FREE = 64 * 1024 * 1024


class UnreadableStream(Exception):
    """A stream from which no content, or no more of it, is to be had; the message says why."""


class Stream(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, and none only at the end. Raises UnreadableStream."""
        ...


class Decompressor(Protocol):
    """Of one member or frame; as Python's own have it, but for that of gzip."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class GzipDecompressor:
    """zlib's, which gives back what it has not read yet, keeping it."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(GZIP_WINDOW)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        content = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not (self.eof or self._zlib.unconsumed_tail or len(content) == max_length)
        return content


DECOMPRESSORS = {"gzip": GzipDecompressor, "zstd": zstd.ZstdDecompressor}


def compression_of(head: bytes) -> str | None:
    """What a file that begins like this is compressed with; MAGIC_BYTES of it are enough."""
    if head.startswith(GZIP):
        return "gzip"
    skippable = head[:1] and head[0] >> 4 == 5 and head[1:4] == ZSTD_SKIPPABLE
    return "zstd" if head.startswith(ZSTD) or skippable else None


def expanded_bytes_max(stored_size: int, times_max: int = EXPANSION_MAX) -> int:
    """How much may be in a file that is stored in so many bytes."""
    return max(EXPANDED_BYTES_FREE, times_max * stored_size)


def too_expansive(what: str, stored_size: int, times_max: int = EXPANSION_MAX) -> str:
    """Why a file is not read any further whose content is larger."""
    bytes_max = expanded_bytes_max(stored_size, times_max)
    return (
        f"the {what} of {stored_size:,} bytes expands to more than {bytes_max:,};"
        f" expected {times_max:,} times its size at most"
    )


class Decompressed:
    """The content of a compressed stream that has `stored_size` bytes where it is stored; never more of it in
    memory than is asked for, and a little."""

    def __init__(self, stream: Stream, compression: str, stored_size: int) -> None:
        self._stream = stream
        self._compression = compression
        self._decompressor: Decompressor = DECOMPRESSORS[compression]()
        self._stored_size = stored_size
        self._left = expanded_bytes_max(stored_size)

    def read(self, size: int, /) -> bytes:
        # Up to the very byte, whatever blocks it comes in: so it is cut the same by everybody who reads it.
        content = self._decompress(min(size, self._left) or 1)
        if len(content) > self._left:
            raise UnreadableStream(too_expansive(f"{self._compression} stream", self._stored_size))
        self._left -= len(content)
        return content

    def _decompress(self, size: int) -> bytes:
        content = b""
        while not content:
            unread = b""
            if self._decompressor.eof:
                unread = self._after_the_end()
                if not unread:
                    break
                self._decompressor = DECOMPRESSORS[self._compression]()
            elif self._decompressor.needs_input:
                unread = self._stream.read(BLOCK_BYTES)
                if not unread:
                    raise UnreadableStream(f"the {self._compression} stream ends early")
            try:
                content = self._decompressor.decompress(unread, size)
            except (zlib.error, zstd.ZstdError) as error:
                raise UnreadableStream(self._why_not(error)) from error
        return content

    def _after_the_end(self) -> bytes:
        """The beginning of the next member, or b"" where there is none.

        Of gzip, zero bytes before it are passed over, with which tapes fill up.
        """
        unread = self._decompressor.unused_data
        while self._compression == "gzip" and not (unread := unread.lstrip(b"\0")):
            if not (unread := self._stream.read(BLOCK_BYTES)):
                return b""
        while len(unread) < MAGIC_BYTES and (more := self._stream.read(BLOCK_BYTES)):
            unread += more
        if unread and compression_of(unread) != self._compression:
            raise UnreadableStream(f"other bytes follow the end of the {self._compression} stream")
        return unread

    def _why_not(self, error: Exception) -> str:
        if WINDOW_TOO_LARGE in str(error):
            return f"the zstd stream needs a window of over {WINDOW_MAX}; pack it with --long=27 at most"
        return f"the {self._compression} stream is damaged: {error}"
