"""The chain of stages over one batch: cut → check → write, several chunks at once, then publish or reject."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import UUID

import psycopg

from database.connect import connect, translated_errors
from database.queries import query
from loader.check import CheckedChunk, Ports, check
from loader.chunks import CHUNK_BYTES_MAX, CHUNK_ROWS, Chunk, FaultChunk
from loader.errors import ErrorKind, FileRejected, RowError, Stopped, UsageError
from loader.formats.lines import LINE_BYTES_MAX
from loader.kinds import error_kinds
from loader.ledger import (
    Batch,
    Order,
    chunk_transaction,
    claim_chunk,
    done_chunks,
    find_batch,
    known_ports,
    open_batch,
    refuse_other_content,
    write_chunk,
)
from loader.others import batch_to_replace, beside_dump, dump_in_the_way
from loader.places import Places
from loader.progress import Progress
from loader.publish import end_batch
from loader.sources import Source
from storage.manifest import CONTENT

# By itself a load takes no more: with more, memory grows, and the server is what it waits for.
WORKERS_MAX = 4
# How many chunks a worker may be ahead of the slowest one: their bad rows wait in memory for its.
AHEAD_MAX = 4
# Chunks at work, in the order of the source: each with its number, and how far the source was read for it.
Pending: TypeAlias = dict[Future[CheckedChunk | None], tuple[int, int]]


@dataclass(frozen=True)
class Options:
    """How to load; `key` names the batch, by default its content does.

    Raises UsageError for a key that is none.
    """

    key: str | None = None
    workers: int | None = None  # by default, as many as suit this machine and the server
    chunk_rows: int = CHUNK_ROWS
    dry_run: bool = False
    replace: str | None = None  # the id or key of the batch whose place it takes; "" where there is but one
    add: bool = False  # of a dump: its prices count beside those of another

    def __post_init__(self) -> None:
        if self.key is not None and not (self.key.strip() and self.key.isprintable()):
            raise UsageError(f"{self.key!r} is not a key: it needs characters, and each of them printable")


@dataclass(frozen=True)
class Result:
    """What became of a batch: `state` is published, rejected, or valid after a dry run that found no fault.

    `rows` went in (or, in a dry run, would have); `repeat` says that they had before this call. `errors` are
    the first faults, `error_kinds` all of them by kind. `bad_rows` have one fault or several; None where
    another call found some of them. `replaced` is the batch whose place it has taken.
    """

    batch: UUID | None
    state: str
    rows: int
    seconds: float
    errors: list[RowError]
    error_count: int
    error_kinds: list[ErrorKind] = field(default_factory=list)
    repeat: bool = False
    bad_rows: int | None = 0
    replaced: UUID | None = None


def load(
    source: Source,
    options: Options,
    *,
    places: Places | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> Result:
    """Loads a source as one batch: all of its rows, or none and the reasons.

    A repeat of a published batch does nothing; one cut short goes on where it was. `places` count as known
    while the rows are checked and go in when the batch is published. `stop` is asked before each chunk.
    `progress` can be watched meanwhile, and says what becomes of the bad rows.

    Raises UsageError (key taken), Stopped, DatabaseUnavailable: after the last two, the same call goes on.
    """
    began = time.monotonic()
    load_or_check = check_only if options.dry_run else load_batch
    progress = progress or Progress()
    try:
        with translated_errors():
            result = load_or_check(source, options, places or Places(), progress, stop)
    except (Stopped, KeyboardInterrupt) as cut_short:
        raise Stopped(what_stays(cut_short, options, progress)) from cut_short
    return replace(result, seconds=round(time.monotonic() - began, 3))


def what_stays(cut_short: BaseException, options: Options, progress: Progress) -> str:
    how = "stopped between two chunks" if isinstance(cut_short, Stopped) else "interrupted"
    if options.dry_run:
        return f"{how}; nothing was written"
    count = len(progress.chunks_in)
    chunks = "1 chunk is in and stays" if count == 1 else f"{count:,} chunks are in and stay"
    return f"{how}; {chunks}, the same load goes on from there"


@contextmanager
def connection_a_thread() -> Generator[Callable[[], psycopg.Connection]]:
    """Gives each thread that asks a connection of its own, the same every time, and closes them in the end.

    Not a pool: that waits and tries again, and then no longer knows why there was no connection.
    """
    own = threading.local()
    with ExitStack() as opened:

        def own_connection() -> psycopg.Connection:
            if not hasattr(own, "connection"):
                own.connection = opened.enter_context(closing(connect("rates-loader", autocommit=True)))
            return own.connection

        yield own_connection


def load_batch(
    source: Source, options: Options, places: Places, progress: Progress, stop: Callable[[], bool]
) -> Result:
    with connect("rates-loader", autocommit=True) as connection:
        batch = open_batch(connection, order_of(connection, source, options))
        if batch.state == "published":
            return Result(batch.id, batch.state, batch.row_count, 0, [], 0, repeat=True)
        load = Load(
            batch,
            done=done_chunks(connection, batch),
            ports=Ports(known_ports(connection) | {port.code for port in places.ports}),
            progress=progress,
        )
        options = replace(options, workers=options.workers or workers_for(connection))
    with connection_a_thread() as own_connection:

        def do_chunk(chunk_no: int, chunk: Chunk) -> CheckedChunk | None:
            return load.do(own_connection(), chunk_no, chunk)

        chunk_count = each_chunk(source, batch.chunk_rows, options, do_chunk, progress, stop)
        while progress.busy:  # what another load of the batch was at, in case it did not come to its end
            load.wait = True
            progress.busy.clear()
            each_chunk(source, batch.chunk_rows, options, do_chunk, progress, stop)
    progress.stage = "publishing"
    with connect("rates-loader", autocommit=True) as connection:
        from_dump = source.dump_rows is not None
        ending = end_batch(
            connection, batch, chunk_count=chunk_count, places=places, from_dump=from_dump, stop=stop
        )
    if ending.same is not None:
        return Result(ending.same.id, "published", ending.same.row_count, 0, [], 0, repeat=True)
    bad_rows = progress.bad_rows if progress.error_count == ending.error_count else None
    return Result(
        batch.id,
        ending.state,
        ending.row_count,
        0,
        ending.errors,
        ending.error_count,
        ending.error_kinds,
        bad_rows=bad_rows,
        replaced=batch.replaces if ending.state == "published" else None,
    )


def order_of(connection: psycopg.Connection, source: Source, options: Options) -> Order:
    """Of a batch that is new, or known by its key. Raises UsageError and FileRejected where it may not be."""
    content_hash = source.content_hash()
    order = Order(
        options.key or f"{CONTENT}{content_hash.hex()}",
        content_hash,
        source.name,
        options.chunk_rows,
        adds=options.add,
    )
    known = find_batch(connection, order.key)
    if known is None or known.content_hash != content_hash:
        by_bytes = of_same_bytes(connection, source, options, order)
        if by_bytes is not None:
            order, known = by_bytes
    if known is not None and known.state == "published":
        return order
    if options.replace is not None:
        is_dump = source.dump_rows is not None
        begun_for = known.replaces if known is not None and known.state != "rejected" else None
        replaced = batch_to_replace(
            connection, options.replace, source=source.name, is_dump=is_dump, begun_for=begun_for
        )
        return replace(order, replaces=replaced)
    if source.dump_rows and not options.add:
        other = dump_in_the_way(connection, source.dump_rows)
        if other is not None:
            raise FileRejected(RowError(source.name, 1, None, None, beside_dump(other)))
    return order


def of_same_bytes(
    connection: psycopg.Connection, source: Source, options: Options, order: Order
) -> tuple[Order, Batch] | None:
    """The batch of the same bytes, of whose content nothing else is known: who sent it knew no more."""
    stored_hash = source.stored_hash()
    if stored_hash is None:
        return None
    key = options.key or f"{CONTENT}{stored_hash.hex()}"
    known = find_batch(connection, key)
    if known is None or known.content_hash != stored_hash:
        return None
    return replace(order, key=key, content_hash=stored_hash), known


@dataclass
class Load:
    """The chunks of one batch, as this call does them; several calls for one batch share them out."""

    batch: Batch
    done: dict[int, tuple[bytes, int]]
    ports: Ports
    progress: Progress
    wait: bool = False

    def __post_init__(self) -> None:
        if any(error_count for _, error_count in self.done.values()):
            self.progress.faulty = True

    def do(self, connection: psycopg.Connection, chunk_no: int, chunk: Chunk) -> CheckedChunk | None:
        """Checks and writes a chunk, unless it is in or another call is at it: then it is at most checked."""
        if chunk_no not in self.done:
            checked = self.write(connection, chunk_no, chunk)
            if checked is not None or self.wait:  # waited for are those that have been checked before
                return checked
        else:
            content_hash, error_count = self.done[chunk_no]
            refuse_other_content(self.batch, chunk_no, chunk, content_hash)
            if not error_count:
                return None
        return check(chunk, self.ports, keep_bad_rows=True) if self.progress.rejects is not None else None

    def write(self, connection: psycopg.Connection, chunk_no: int, chunk: Chunk) -> CheckedChunk | None:
        with chunk_transaction(connection):
            match claim_chunk(connection, self.batch, chunk_no, chunk, wait=self.wait):
                case "in":
                    return None
                case "busy":
                    self.progress.busy.add(chunk_no)
                    return None
            checked = check(chunk, self.ports, keep_bad_rows=self.progress.rejects is not None)
            ledger_only = self.progress.faulty
            write_chunk(connection, self.batch, chunk_no, chunk, checked, ledger_only=ledger_only)
        return checked


def workers_for(connection: psycopg.Connection) -> int:
    """A chunk more at once than there are cores, since the server has one of them most of the time.

    Fewer where the server would not take twice as many connections.
    """
    row = connection.execute(query("loader", "server_room")).fetchone()
    room = row[0] if row else 0
    return max(1, min(WORKERS_MAX, 1 + cores(), room // 2))


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_only(
    source: Source, options: Options, places: Places, progress: Progress, stop: Callable[[], bool]
) -> Result:
    """A dry run: reads the known ports and all of the source, writes nothing."""
    with connect("rates-loader", autocommit=True) as connection:
        ports = Ports(known_ports(connection) | {port.code for port in places.ports})
        options = replace(options, workers=options.workers or workers_for(connection))

    def check_chunk(_: int, chunk: Chunk) -> CheckedChunk:
        return check(chunk, ports, keep_bad_rows=progress.rejects is not None)

    each_chunk(source, options.chunk_rows, options, check_chunk, progress, stop)
    state = "rejected" if progress.error_count else "valid"
    rows = 0 if progress.error_count else progress.rows
    errors = [error for _, error in progress.first_errors]
    kinds = error_kinds(progress.kinds)
    return Result(None, state, rows, 0, errors, progress.error_count, kinds, bad_rows=progress.bad_rows)


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
    cut = CutByBytes(chunk_rows)
    pending: Pending = {}
    workers = options.workers or 1
    progress.begin("loading", source.size)
    with ThreadPoolExecutor(workers, thread_name_prefix="chunk") as executor:
        try:
            for chunk_no, chunk in enumerate(chunks_or_fault(source, chunk_rows)):
                if stop():
                    raise Stopped("between two chunks")
                chunk_count += 1
                progress.rows_cut_at = progress.rows_cut_at or cut.rows_before(chunk)
                pending[executor.submit(process, chunk_no, chunk)] = chunk_no, source.position
                while len(pending) > workers or too_far_ahead(pending, chunk_no, workers):
                    collect(pending, progress, FIRST_COMPLETED)
            collect(pending, progress, ALL_COMPLETED)
        except BaseException:
            executor.shutdown(wait=True, cancel_futures=True)
            progress.ended |= {
                chunk_no
                for future, (chunk_no, _) in pending.items()
                if not future.cancelled() and future.exception() is None
            }
            raise
    return chunk_count


class CutByBytes:
    """Notices chunks that have fewer rows than were asked for, since more would be above CHUNK_BYTES_MAX."""

    def __init__(self, chunk_rows: int) -> None:
        self._chunk_rows = chunk_rows
        self._before: tuple[str, int] | None = None  # file and first line of a chunk that may be one

    def rows_before(self, chunk: Chunk) -> int | None:
        """How many rows the chunk before this one has, if it is one."""
        file, first_line = self._before or (None, 0)
        # A section of a dump has fewer rows at its end, as has what comes before a fault.
        data = getattr(chunk, "data", None)
        full = data is None or len(data) > CHUNK_BYTES_MAX - LINE_BYTES_MAX
        self._before = (chunk.file, chunk.first_line) if full else None
        rows = chunk.first_line - first_line
        return rows if file == chunk.file and rows < self._chunk_rows else None


def too_far_ahead(pending: Pending, chunk_no: int, workers: int) -> bool:
    first_no, _ = next(iter(pending.values()), (chunk_no, 0))
    return chunk_no - first_no > workers * AHEAD_MAX


def collect(pending: Pending, progress: Progress, until: str) -> None:
    """Takes what has ended out of `pending` and into `progress`; raises what a chunk raised."""
    ended, _ = wait(pending, return_when=until)
    for future in [future for future in pending if future in ended]:  # of several faults, the first is told
        progress.note(*pending[future], future.result())
        del pending[future]  # last, so that whatever interrupts this, the chunk is counted


def chunks_or_fault(source: Source, chunk_rows: int) -> Iterator[Chunk]:
    """The source's chunks; where the file turns out wrong as a whole, a last one that says so."""
    try:
        yield from source.chunks(chunk_rows)
    except FileRejected as rejected:
        yield FaultChunk(rejected.error)
