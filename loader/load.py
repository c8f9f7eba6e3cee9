"""The chain of stages over one batch: cut → check → write, several chunks at once, then publish or reject."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import Event
from uuid import UUID

import psycopg_pool

from database.connect import make_pool, translated_errors
from loader.check import CheckedChunk, Ports, check
from loader.chunks import CHUNK_ROWS, Chunk
from loader.errors import FileRejected, RowError, Stopped, UsageError
from loader.ledger import Batch, done_chunks, known_ports, open_batch, write_chunk
from loader.publish import ERRORS_SHOWN, Places, end_batch
from loader.sources import Source

# Past four, one server's write-ahead log is what a load waits for.
WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Options:
    """How to load; `key` names the batch, by default its content does."""

    key: str | None = None
    workers: int = WORKERS
    chunk_rows: int = CHUNK_ROWS
    dry_run: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a batch: `state` is published, rejected, or valid after a dry run that found no fault.

    `rows` went in (or, in a dry run, would have); `repeat` says that they had before this call.
    """

    batch: UUID | None
    state: str
    rows: int
    seconds: float
    errors: list[RowError]
    error_count: int
    repeat: bool = False


@dataclass
class Progress:
    """What the chunks of this call have shown so far."""

    rows: int = 0
    error_count: int = 0
    errors: list[RowError] = field(default_factory=list)
    faulty: Event = field(default_factory=Event)

    def note(self, checked: CheckedChunk) -> None:
        self.rows += checked.row_count
        if checked.error_count:
            self.faulty.set()
            self.error_count += checked.error_count
            # By chunk, whatever order they end in; a file's chunks are told apart by their lines.
            known = sorted(self.errors + checked.errors, key=lambda error: (error.file, error.line))
            self.errors = known[:ERRORS_SHOWN]


def load(
    source: Source,
    options: Options,
    *,
    places: Places | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Loads a source as one batch: all of its rows, or none and the reasons.

    A repeat of a published batch does nothing; one cut short goes on where it was. `places` count as known
    while the rows are checked and go in when the batch is published. `stop` is asked before each chunk.

    Raises UsageError (key taken), Stopped, DatabaseUnavailable: after the last two, the same call goes on.
    """
    began = time.monotonic()
    places = places or Places()
    with translated_errors(), make_pool("rates-loader", size_max=options.workers) as pool:
        load_or_check = check_only if options.dry_run else load_batch
        result = load_or_check(pool, source, options, places, stop)
    return replace(result, seconds=round(time.monotonic() - began, 3))


def load_batch(
    pool: psycopg_pool.ConnectionPool,
    source: Source,
    options: Options,
    places: Places,
    stop: Callable[[], bool],
) -> Result:
    content_hash = source.content_hash()
    with pool.connection() as connection:
        batch = open_batch(
            connection,
            key=options.key or f"sha256:{content_hash.hex()}",
            content_hash=content_hash,
            source=source.name,
            chunk_rows=options.chunk_rows,
        )
        if batch.state == "published":
            return Result(batch.id, batch.state, batch.row_count, 0, [], 0, repeat=True)
        done = done_chunks(connection, batch)
        ports = Ports(known_ports(connection) | {port.code for port in places.ports})
    progress = Progress()
    if any(error_count for _, error_count in done.values()):
        progress.faulty.set()

    def check_and_write(chunk_no: int, chunk: Chunk) -> CheckedChunk | None:
        if chunk_no in done:
            refuse_other_content(batch, chunk_no, chunk, done[chunk_no][0])
            return None
        checked = check(chunk, ports)
        with pool.connection() as connection:
            write_chunk(connection, batch, chunk_no, chunk, checked, ledger_only=progress.faulty.is_set())
        return checked

    chunk_count = each_chunk(source, batch.chunk_rows, options, check_and_write, progress, stop)
    with pool.connection() as connection:
        ending = end_batch(connection, batch, chunk_count=chunk_count, places=places)
    return Result(batch.id, ending.state, ending.row_count, 0, ending.errors, ending.error_count)


def refuse_other_content(batch: Batch, chunk_no: int, chunk: Chunk, content_hash: bytes) -> None:
    """A file that changed while it was being loaded must not end half old and half new."""
    if chunk.content_hash != content_hash:
        raise UsageError(
            f"{chunk.file} changed since batch {batch.id} was begun: chunk {chunk_no}, from line"
            f" {chunk.first_line}, is not what went in; load the file as it is now under another --key"
        )


def check_only(
    pool: psycopg_pool.ConnectionPool,
    source: Source,
    options: Options,
    places: Places,
    stop: Callable[[], bool],
) -> Result:
    """A dry run: reads the known ports and all of the source, writes nothing."""
    with pool.connection() as connection:
        ports = Ports(known_ports(connection) | {port.code for port in places.ports})
    progress = Progress()
    each_chunk(source, options.chunk_rows, options, lambda _, chunk: check(chunk, ports), progress, stop)
    state = "rejected" if progress.error_count else "valid"
    rows = 0 if progress.error_count else progress.rows
    return Result(None, state, rows, 0, progress.errors, progress.error_count)


def each_chunk(
    source: Source,
    chunk_rows: int,
    options: Options,
    process: Callable[[int, Chunk], CheckedChunk | None],
    progress: Progress,
    stop: Callable[[], bool],
) -> int:
    """Cuts the source and has `process` do the chunks, `options.workers` at once; returns how many there are.

    Never more than one chunk a worker waits in memory. The first exception of a chunk ends the rest.
    """
    chunk_count = 0
    pending: set[Future[CheckedChunk | None]] = set()
    with ThreadPoolExecutor(options.workers, thread_name_prefix="chunk") as executor:
        try:
            for chunk_no, chunk in enumerate(chunks_or_fault(source, chunk_rows)):
                if stop():
                    raise Stopped(
                        "stopped between two chunks; what is in stays, the same load goes on from there"
                    )
                chunk_count += 1
                pending.add(executor.submit(process, chunk_no, chunk))
                if len(pending) > options.workers:
                    collect(pending, progress, FIRST_COMPLETED)
            collect(pending, progress, ALL_COMPLETED)
        except BaseException:
            executor.shutdown(wait=True, cancel_futures=True)
            raise
    return chunk_count


def collect(pending: set[Future[CheckedChunk | None]], progress: Progress, until: str) -> None:
    """Takes what has ended out of `pending` and into `progress`; raises what a chunk raised."""
    ended, _ = wait(pending, return_when=until)
    pending -= ended
    for future in ended:
        checked = future.result()
        if checked is not None:
            progress.note(checked)


def chunks_or_fault(source: Source, chunk_rows: int) -> Iterator[Chunk]:
    """The source's chunks; where the file turns out wrong as a whole, a last one that says so."""
    try:
        yield from source.chunks(chunk_rows)
    except FileRejected as rejected:
        yield Chunk.of_fault(rejected.error)
