"""Plans a batch: opens it in the ledger and cuts its content into chunks that any worker may do.

`accepted` has the batch, `cut` its chunks. Each is written down in a transaction of its own, with where to go
on from: a planner that dies takes nothing with it, and the first chunks are done while the last are cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg

from database.connect import translated_errors
from database.errors import DatabaseUnavailable, SchemaMissing
from database.queries import query
from loader.accepted import is_there, open_accepted
from loader.check import Ports, check
from loader.chunks import FaultChunk
from loader.content import Content, decode_content, encode_content
from loader.cut import Cut, Cuts, cutting, cutting_on
from loader.errors import FileRejected, LoaderError, Stopped, one_line
from loader.inputs import StoredContent
from loader.ledger import Batch, claim_chunk, find_batch, record_event, write_chunk
from loader.planned import ATTEMPTS_MAX, forget_chunk_objects
from loader.publish import give_up
from storage.bucket import Bucket
from storage.errors import ObjectChanged, ObjectMissing, StorageUnavailable
from storage.layout import chunk_key
from storage.manifest import Manifest
from storage.messages import DoChunk
from telemetry.log import bound, get_logger
from telemetry.metrics import emit

log = get_logger("rates.plan")


def log_reason(reason: str) -> None:
    log.warning("batch given up", reason=reason)


class NothingToPlan(Exception):
    """The batch has ended, or somebody wants it back."""


class Unplannable(Exception):
    """The batch cannot be gone on with; the message says why, to whoever sent it."""


@dataclass(frozen=True)
class Progress:
    """A row of `plans`; `content` is None until somebody has looked at it. `failure` is what the last try
    ended with, where that was nothing that is expected."""

    content: Content | None
    attempts: int
    complete: bool
    chunk_count: int
    next_byte: int
    next_line: int
    failure: str | None


def plan_batch(
    connection: psycopg.Connection,
    bucket: Bucket,
    manifest: Manifest,
    *,
    send: Callable[[list[DoChunk]], None],
    stop: Callable[[], bool],
    given_up: Callable[[str], None] = log_reason,
) -> Batch | None:
    """Opens the batch and plans what is not planned yet, calling `send` after each commit.

    Returns the batch as it is then: loading and planned whole, or ended; failed where its object is gone or
    another, or ATTEMPTS_MAX tries led nowhere: what those before the last ended with is raised. None where
    another planner is at it, or its content has not come. Of a file that is wrong from the start no chunk is
    sent, nor of a dump without prices: so the caller has to see whether the batch can be ended. Where this
    call gives it up, `given_up` is told why.

    `connection` is in autocommit. Raises Stopped, DatabaseUnavailable and StorageUnavailable: the same call
    goes on later.
    """
    with translated_errors(), bound(batch=manifest.batch, request_id=manifest.request_id):
        if find_batch(connection, manifest.key) is None and not is_there(bucket, manifest):
            return None
        batch = open_accepted(connection, manifest, etag_of(bucket, manifest))
        if not goes_on(batch):
            return batch
        with planning_lock(connection, batch) as mine:
            if not mine:
                return None
            try:
                Planning(connection, bucket, manifest, batch, send, stop).run()
            except NothingToPlan:
                return ended_meanwhile(connection, bucket, batch)
            except Unplannable as reason:
                if give_up(connection, batch, str(reason)):
                    given_up(str(reason))
        return find_batch(connection, batch.key)


def etag_of(bucket: Bucket, manifest: Manifest) -> str | None:
    """Of an object that its sender has put there, past the API; None of others, and while it is not there."""
    if manifest.sha256 is not None:
        return None
    try:
        return bucket.look(manifest.content).etag
    except ObjectMissing:
        return None


def goes_on(batch: Batch) -> bool:
    return batch.state == "loading" and batch.withdrawn_by is None


def ended_meanwhile(connection: psycopg.Connection, bucket: Bucket, batch: Batch) -> Batch | None:
    """What was put into the bucket after its end, nobody else knows of; a batch that failed may go on."""
    found = find_batch(connection, batch.key)
    if found is None or not (goes_on(found) or found.state == "failed"):
        forget_chunk_objects(bucket, batch.id)
    return found


@contextmanager
def planning_lock(connection: psycopg.Connection, batch: Batch) -> Generator[bool]:
    """Whether this session is the one that plans the batch, as long as the block and the session last."""
    key = {"batch_no": batch.batch_no}
    locked = connection.execute(query("loader", "lock_plan"), key).fetchone() == (True,)
    try:
        yield locked
    finally:
        if locked and not connection.closed:
            connection.execute(query("loader", "unlock_plan"), key)


@dataclass
class Planning:
    """One try to plan a batch, by the only one who does."""

    connection: psycopg.Connection
    bucket: Bucket
    manifest: Manifest
    batch: Batch
    send: Callable[[list[DoChunk]], None]
    stop: Callable[[], bool]

    def run(self) -> None:
        began = time.monotonic()
        progress = self.find_progress()
        if progress is not None and progress.complete:
            return
        progress = self.begin()
        try:
            with translated_errors():
                chunk_count = self.plan_chunks(progress, progress.content or self.look())
        except (Stopped, StorageUnavailable):
            self.execute("take_back_plan")
            raise
        except (DatabaseUnavailable, SchemaMissing, NothingToPlan, Unplannable):
            raise
        except ObjectMissing as error:
            raise Unplannable(f"its content is no longer there: {error}") from error
        except ObjectChanged as error:
            raise Unplannable(f"its content was replaced before all of it was read: {error}") from error
        except Exception as error:
            self.record_failure(one_line(error))
            raise
        seconds = round(time.monotonic() - began, 3)
        record_event(self.connection, self.batch, "planned", seconds)
        emit("batch planned", {"plan_seconds": (seconds, "Seconds")}, chunks=chunk_count)

    def find_progress(self) -> Progress | None:
        return progress_of(self.execute("find_plan").fetchone())

    def look(self) -> Content:
        """The object as it is now, which it has to stay; which format it has, nobody knows yet."""
        found = self.bucket.look(self.manifest.content)
        accepted = self.manifest.size
        if self.manifest.etag not in {None, found.etag}:
            raise ObjectChanged(f"s3://{self.bucket.name}/{found.key} is another object by now")
        if accepted not in {None, found.size}:
            raise Unplannable(f"its content has {found.size:,} bytes, {accepted:,} were accepted")
        source = self.manifest.source
        content = Content(self.bucket.name, found.key, found.etag, found.size, source, kind="delimited")
        self.execute("set_plan_content", content=encode_content(content))
        self.execute("set_object_etag", etag=found.etag)
        if self.manifest.sha256 is None:
            # Its sender put it into the bucket, past the API, which counts what goes through it. Once, since
            # nobody looks again.
            emit(
                "batch accepted",
                {"batches_accepted": (1, "Count"), "accepted_bytes": (found.size, "Bytes")},
                bearer=self.manifest.accepted_by,
            )
        return content

    def begin(self) -> Progress:
        """Counts this try."""
        progress = progress_of(self.execute("begin_plan").fetchone())
        if progress is None:
            raise NothingToPlan
        if progress.attempts > ATTEMPTS_MAX:
            raise tried_in_vain(progress.failure or "no worker lived to see its end")
        return progress

    def plan_chunks(self, progress: Progress, known: Content) -> int:
        """Returns how many the batch has."""
        # Only lines that are prices and nothing else can be read from where they were cut last.
        reads_on = progress.next_byte > 0 and not known.sections
        chunk_count = progress.chunk_count if reads_on else 0
        begin = (progress.next_byte, progress.next_line) if reads_on else None
        try:
            with self.cutting(known, begin) as (content, cuts):
                if content != known:
                    self.execute("set_plan_content", content=encode_content(content))
                for cut in cuts:
                    if self.stop():
                        raise Stopped("between two chunks")
                    if chunk_count >= progress.chunk_count:
                        self.plan_chunk(chunk_count, cut)
                    chunk_count += 1
                    if chunk_count == progress.chunk_count:
                        refuse_other_cuts(progress, cut)
        except FileRejected as rejected:
            self.put_fault(chunk_count, FaultChunk(rejected.error))
            chunk_count += 1
        self.execute("complete_plan", chunk_count=chunk_count, bytes_read=known.size)
        return chunk_count

    def cutting(
        self, known: Content, begin: tuple[int, int] | None
    ) -> AbstractContextManager[tuple[Content, Cuts]]:
        """From a byte and its line on, or from the start, also where the first chunks are planned already."""
        file = StoredContent(self.bucket, known.key, known.etag, known.size, known.source)
        if begin is None:
            return cutting(file, known, self.batch.chunk_rows)
        return cutting_on(file, known, self.batch.chunk_rows, byte=begin[0], line=begin[1])

    def plan_chunk(self, chunk_no: int, cut: Cut) -> None:
        begin, end, object_key = cut.begin_byte, cut.end_byte, None
        if cut.take_out is not None:
            data = cut.take_out()
            object_key = chunk_key(self.batch.id, chunk_no)
            self.bucket.put(object_key, data)
            begin, end = 0, len(data)
        planned = self.execute(
            "plan_chunk",
            chunk_no=chunk_no,
            first_line=cut.first_line,
            begin_byte=begin,
            end_byte=end,
            object_key=object_key,
            next_byte=cut.end_byte,
            next_line=cut.next_line,
            bytes_read=cut.bytes_read,
        )
        if planned.fetchone() is None:
            raise NothingToPlan
        self.send([DoChunk(self.batch.id, chunk_no)])

    def put_fault(self, chunk_no: int, fault: FaultChunk) -> None:
        """What could not be read of the file is a chunk too, which is in at once."""
        try:
            with self.connection.transaction():
                if claim_chunk(self.connection, self.batch, chunk_no, fault, wait=True) == "mine":
                    write_chunk(self.connection, self.batch, chunk_no, fault, check(fault, Ports(set())))
        except LoaderError as error:  # withdrawn, or a load of the same batch has found something else there
            found = find_batch(self.connection, self.batch.key)
            raise (Unplannable(str(error)) if found and goes_on(found) else NothingToPlan) from error

    def record_failure(self, failure: str) -> None:
        """Raises Unplannable after the last try."""
        row = self.execute("record_plan_failure", failure=failure).fetchone()
        if row is not None and row[0] >= ATTEMPTS_MAX:
            log.exception("planning failed", attempts=row[0])
            raise tried_in_vain(failure)

    def execute(self, name: str, **values: object) -> psycopg.Cursor:
        values["batch_no"] = self.batch.batch_no
        return self.connection.execute(query("loader", name), values)


def tried_in_vain(ended_with: str) -> Unplannable:
    return Unplannable(f"cutting its content into chunks was tried {ATTEMPTS_MAX} times: {ended_with}")


def refuse_other_cuts(progress: Progress, cut: Cut) -> None:
    """What goes on behind the chunks that are planned must be cut as they were, also by a worker of another
    version: else rows would be left out, or be there twice, and nobody would know."""
    if cut.next_line != progress.next_line:
        raise Unplannable(
            f"its first {progress.chunk_count:,} chunks ended before line {progress.next_line:,}, and end"
            f" before line {cut.next_line:,} if cut again"
        )


def progress_of(row: tuple | None) -> Progress | None:
    return None if row is None else Progress(decode_content(row[0]) if row[0] else None, *row[1:])
