"""What comes out of gzip and zstd, and what is said where it does not."""

import gzip
from contextlib import suppress
from io import BytesIO

import pytest

from loader.formats import compression
from loader.formats.compression import Decompressed, UnreadableStream, compression_of, zstd

COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}
CONTENT = b"".join(b"CNSGH,NLRTM,2021-01-%02d,%d\n" % (number % 28 + 1, number) for number in range(2000))
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"

each = pytest.mark.parametrize("kind", COMPRESS)


def read(kind: str, stored: bytes, size: int = 1000) -> bytes:
    stream = Decompressed(BytesIO(stored), kind, len(stored))
    return b"".join(iter(lambda: stream.read(size), b""))


def reason(kind: str, stored: bytes) -> str:
    with pytest.raises(UnreadableStream) as unreadable:
        read(kind, stored)
    return str(unreadable.value)


@each
@pytest.mark.parametrize("block_bytes", [1, 7, 256 * 1024])
def test_members_come_out_one_after_the_other(
    kind: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK_BYTES", block_bytes)
    parts = [CONTENT[:1000], b"", CONTENT[1000:]]
    assert read(kind, b"".join(COMPRESS[kind](part) for part in parts)) == CONTENT
    assert read(kind, COMPRESS[kind](b"")) == b""


@pytest.mark.parametrize("block_bytes", [1, 7, 256 * 1024])
def test_zero_bytes_behind_a_member_of_gzip_are_passed_over(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK_BYTES", block_bytes)
    padded = gzip.compress(b"a") + bytes(600)
    assert read("gzip", padded) == b"a"
    assert read("gzip", padded + gzip.compress(b"b") + bytes(1)) == b"ab"
    assert reason("gzip", padded + b"other") == "other bytes follow the end of the gzip stream"


def test_frames_that_have_no_content_are_passed_over() -> None:
    assert compression_of(SKIPPABLE) == "zstd"
    assert read("zstd", SKIPPABLE + zstd.compress(b"a") + SKIPPABLE + zstd.compress(b"b")) == b"ab"


@each
def test_never_more_comes_out_than_is_asked_for(kind: str) -> None:
    stored = COMPRESS[kind](bytes(10_000_000))
    stream = Decompressed(BytesIO(stored), kind, len(stored))
    sizes = [len(data) for data in iter(lambda: stream.read(4096), b"")]
    assert sum(sizes) == 10_000_000
    assert max(sizes) == 4096


@each
def test_a_stream_that_ends_early_is_told_wherever_it_ends(kind: str) -> None:
    stored = COMPRESS[kind](CONTENT[:500]) + COMPRESS[kind](CONTENT[500:700])
    first = len(COMPRESS[kind](CONTENT[:500]))
    for length in range(compression.MAGIC_BYTES, len(stored)):
        if not first <= length < first + compression.MAGIC_BYTES:
            assert reason(kind, stored[:length]) == f"the {kind} stream ends early", length


@each
def test_what_was_good_comes_out_before_the_stream_ends_early(kind: str) -> None:
    stored = COMPRESS[kind](CONTENT) + COMPRESS[kind](CONTENT)[:-4]
    stream = Decompressed(BytesIO(stored), kind, len(stored))
    assert (
        b"".join(stream.read(100) for _ in range(len(CONTENT) // 100)) == CONTENT[: len(CONTENT) // 100 * 100]
    )


@each
@pytest.mark.parametrize("trailing", [b"\n", b"\0\0\0\0\0\0\0\1", b"CNSGH,NLRTM,2021-01-01,7\n"])
def test_bytes_behind_the_end_are_no_member(kind: str, trailing: bytes) -> None:
    assert (
        reason(kind, COMPRESS[kind](CONTENT) + trailing) == f"other bytes follow the end of the {kind} stream"
    )


def test_one_compression_behind_the_other_is_none() -> None:
    assert reason("zstd", zstd.compress(b"a") + gzip.compress(b"b")).startswith("other bytes follow")


@each
def test_every_bit_that_is_wrong_changes_nothing_or_is_told(kind: str) -> None:
    """zstd has no checksum here, so that a wrong bit may just be other content."""
    stored = COMPRESS[kind](CONTENT[:300])
    told = 0
    for at in range(len(stored)):
        for bit in range(8):
            damaged = bytearray(stored)
            damaged[at] ^= 1 << bit
            with suppress(UnreadableStream):
                read(kind, bytes(damaged))
                told -= 1
            told += 1
    assert told > len(stored)


def test_a_window_that_zstd_would_not_take_unasked_is_refused_with_what_to_do() -> None:
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log.value: 28})
    stored = compressor.compress(CONTENT) + compressor.flush()
    expected = "the zstd stream needs a window of over 128 MiB; pack it with --long=27 at most"
    assert reason("zstd", stored) == expected


@pytest.mark.parametrize("head", [b"", b"\x1f", b"\x28\xb5", b"P*M", b"orig", b"{", b"PAR1"])
def test_anything_else_is_not_compressed(head: bytes) -> None:
    assert compression_of(head) is None
