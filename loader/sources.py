"""The first stage for files: opens each, tells its format, and has that cut it into chunks.

A source says what it is called, what its content hashes to, and gives its chunks; `dump` has the other one.
`inputs` knows where the bytes come from, `formats` what is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from io import BufferedIOBase
from typing import Protocol

from loader.chunks import Chunk
from loader.dump import is_dump
from loader.errors import FileRejected, UsageError
from loader.formats.compression import UnreadableStream
from loader.formats.content import content_of, format_of
from loader.formats.delimited import csv_chunks
from loader.formats.lines import LineReader
from loader.formats.ndjson import ndjson_chunks
from loader.formats.parquet import parquet_chunks
from loader.inputs import BLOCK_BYTES, Address, Input, StoredStream, find_input, spool


class Source(Protocol):
    """What a batch is read from."""

    @property
    def name(self) -> str:
        """As the sender calls it."""
        ...

    @property
    def size(self) -> int:
        """In bytes as they are stored."""
        ...

    @property
    def position(self) -> int:
        """How many of these `chunks` has read so far."""
        ...

    @property
    def dump_rows(self) -> int | None:
        """How many prices a dump has; None of what is no dump."""
        ...

    def content_hash(self) -> bytes:
        """SHA-256 of the content, 32 bytes: of files as they are stored, of a dump of its rows."""
        ...

    def stored_hash(self) -> bytes | None:
        """SHA-256 of the bytes as they are stored, where that is another."""
        ...

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """All rows, in the content's order; the same content and `rows_max` always give the same chunks."""
        ...


class Files:
    """One or several files as one batch, one after the other, each of whatever format."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.files: list[Input] = []
        for address in addresses:
            file = find_input(address)
            if file.identity in [earlier.identity for earlier in self.files]:
                raise UsageError(f"{file.name}: the file is named twice; its rows would count twice")
            self.files.append(file)
        self.name = ", ".join(file.name for file in self.files)
        self.size = sum(file.size for file in self.files)
        self.position = 0

    @property
    def dump_rows(self) -> None:
        return None

    def stored_hash(self) -> None:
        return None

    def content_hash(self) -> bytes:
        """Of one file its own, of several the hash of their hashes."""
        hashes = [file.content_hash() for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(b"".join(hashes)).digest()

    def chunks(self, rows_max: int) -> Iterator[Chunk]:
        """Raises FileRejected where a file cannot be read, or changes underway, and when none has a row."""
        chunk_count = size_before = 0
        refuse_twins(self.files)
        for file in self.files:
            for chunk, position in chunks_of(file, rows_max):
                chunk_count += 1
                self.position = size_before + position
                yield chunk
            size_before += file.size
        self.position = self.size
        if not chunk_count:
            self.files[-1].refuse_as_empty()


def refuse_twins(files: Sequence[Input]) -> None:
    """Raises FileRejected where a file has the same rows as one before it, packed the same way or not."""
    seen: dict[bytes, Input] = {}
    for file in files if len(files) > 1 else ():
        first = seen.setdefault(unpacked_hash(file), file)
        if first is not file and has_rows(file):
            file.reject(f"the same content as {first.name}; its rows would count twice")


def has_rows(file: Input) -> bool:
    """Whether one can be read of it."""
    with suppress(FileRejected):
        return any(True for _ in chunks_of(file, 1))
    return False


def unpacked_hash(file: Input) -> bytes:
    """SHA-256 of the content, unpacked; of a damaged file, up to the damage, which reading it tells."""
    digest = hashlib.sha256()
    with file.open() as stored, suppress(UnreadableStream):
        content, _ = content_of(stored, file.size)
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def chunks_of(file: Input, rows_max: int) -> Iterator[tuple[Chunk, int]]:
    """A file's chunks, each with how many of the file's bytes are read once it is."""
    with file.open() as stored:
        try:
            yield from read_chunks(file, stored, rows_max)
        except UnreadableStream as error:
            file.refuse_if_changed(stored)
            file.reject(str(error))
        except FileRejected:
            file.refuse_if_changed(stored)  # which would explain the fault
            raise
        file.refuse_if_changed(stored)


def read_chunks(file: Input, stored: StoredStream, rows_max: int) -> Iterator[tuple[Chunk, int]]:
    content, compressed = content_of(stored, file.size)
    if is_dump(content):
        raise UnreadableStream("the file is a dump of a database, which `loader import` takes")
    form = format_of(content)
    if form != "parquet" and not compressed:
        file.refuse_if_cut()
    match form:
        case "parquet":
            on_disk = not compressed and isinstance(stored, BufferedIOBase)
            with nullcontext(stored) if on_disk else spool(content, file.name) as parquet:
                for chunk, share in parquet_chunks(parquet, file.name, rows_max, file.size):
                    yield chunk, int(file.size * share)
        case "ndjson":
            for chunk in ndjson_chunks(LineReader(content, file.name), rows_max):
                yield chunk, stored.tell()
        case _:
            for chunk in csv_chunks(LineReader(content, file.name), rows_max):
                yield chunk, stored.tell()
