"""`GET /batches/ID/errors`: all that is wrong with a batch, in pages of JSON, or whole as CSV."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlencode

import falcon
import msgspec

from api.as_csv import CONTENT_TYPE, is_preferred, spelled
from api.bearers import Bearers
from api.compression import packed, respond_json
from api.errors import BadParameter
from api.known import KnownBatches, RowFault, batch_id
from api.ledger import FIRST, BatchStatus, Fault, Place
from api.pages import next_link
from api.parameters import Parameter, by_name, number_parameter, read_parameters
from api.threads import Threads

LISTED, LISTED_MAX = 100, 1_000
# So many are read, spelled out and sent at a time.
CSV_ROWS = 1_000
# What a spreadsheet takes for the beginning of a formula, as OWASP has it ("CSV Injection"): in a field, and
# behind a semicolon, which separates fields where a comma separates decimals; full-width ones too.
FORMULA = re.compile(r'(^|;"*)(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])')
# The header that tells how many faults there are beside those in the file.
NOT_LISTED = "Faults-Not-Listed"
PLACE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


class BatchFaults(msgspec.Struct, frozen=True):
    """In the order of the file; `next` is the address of those that follow, null where there are none.

    Of each chunk the first faults are kept one by one; `not_listed` says how many more were counted, which
    the batch has by kind.
    """

    errors: list[RowFault]
    next: str | None
    not_listed: int


@dataclass(frozen=True)
class BatchErrors:
    known: KnownBatches
    bearers: Bearers
    threads: Threads

    def on_get(self, request: falcon.Request, response: falcon.Response, batch: str) -> None:
        """A page of JSON, or all of them as CSV to whoever prefers that."""
        self.bearers.admit_reader(request, response)
        if is_preferred(request):
            respond_csv(self.known, self.threads, request, response, batch)
            return
        given = read_parameters(request, PARAMETERS)
        limit = given["limit"]
        status = self.known.status(batch_id(batch))
        found: list[tuple[Place, Fault]] = []
        not_listed = 0
        if isinstance(status, BatchStatus):
            found = self.known.ledger.next_faults(status.batch_no, given["after"], limit + 1)
            not_listed = self.known.ledger.not_listed(status.batch_no)
        following = None
        if len(found) > limit:
            place = found[limit - 1][0]
            query = urlencode({"limit": limit, "after": f"{place.chunk_no}-{place.error_no}"})
            following = f"/batches/{batch_id(batch)}/errors?{query}"
            response.set_header("Link", next_link(following))
        errors = [RowFault(*fault) for _, fault in found[:limit]]
        respond_json(request, response, BatchFaults(errors, following, not_listed))

    on_head = on_get


@dataclass(frozen=True)
class BatchErrorsFile:
    """`GET /batches/ID/errors.csv`."""

    known: KnownBatches
    bearers: Bearers
    threads: Threads

    def on_get(self, request: falcon.Request, response: falcon.Response, batch: str) -> None:
        """All of them, for who cannot say what they accept."""
        self.bearers.admit_reader(request, response)
        respond_csv(self.known, self.threads, request, response, batch)

    on_head = on_get


def respond_csv(
    known: KnownBatches, threads: Threads, request: falcon.Request, response: falcon.Response, batch: str
) -> None:
    """Raises Busy where too many are served for long already."""
    read_parameters(request)
    status = known.status(batch_id(batch))
    batch_no = status.batch_no if isinstance(status, BatchStatus) else None
    not_listed = 0 if batch_no is None else known.ledger.not_listed(batch_no)
    pages = csv_of(known, batch_no, not_listed)
    pages = packed(request, response, pages)
    # Of a HEAD nothing is sent, and nobody would close it. Before any other header: a refusal is no file.
    response.stream = pages if request.method == "HEAD" else Lasting(threads, pages)
    response.content_type = CONTENT_TYPE
    response.downloadable_as = f"errors-{batch_id(batch)}.csv"
    response.set_header(NOT_LISTED, str(not_listed))


class Lasting:
    """Pages that may take their reader long; the server closes them, whether or not all were sent."""

    def __init__(self, threads: Threads, pages: Generator[bytes]) -> None:
        self._pages, self._taken = pages, ExitStack()
        self._taken.enter_context(threads.lasting())

    def __iter__(self) -> Iterator[bytes]:
        return self._pages

    def close(self) -> None:
        self._taken.close()


def csv_of(known: KnownBatches, batch_no: int | None, not_listed: int) -> Generator[bytes]:
    """Page by page, with no connection in between: whoever reads it may take their time. A last line says how
    many faults are not listed, where there are such."""
    yield spelled([Fault._fields])
    after = FIRST
    while batch_no is not None:
        page = known.ledger.next_faults(batch_no, after, CSV_ROWS)
        if page:
            yield spelled([defused(fault) for _, fault in page])
            after = page[-1][0]
        if len(page) < CSV_ROWS:
            break
    if not_listed:
        reason = f"… and {not_listed:,} more faults are not listed; the batch has them by kind (error_kinds)"
        yield spelled([(None, None, None, None, reason)])


def defused(fault: Fault) -> list[object]:
    """With an apostrophe before what would be a formula: who opens the file may not have sent its rows."""
    return [FORMULA.sub(r"\1'", value) if isinstance(value, str) else value for value in fault]


def read_place(name: str, text: str) -> Place:
    match = PLACE.fullmatch(text)
    if match is None:
        reason = f"{name} is {text[:100]!r}; it is taken from the address that `next` gives."
        raise BadParameter(reason, code="invalid_after")
    return Place(int(match[1]), int(match[2]))


PARAMETERS = by_name(
    Parameter(
        "after",
        "Where the page before ended, taken from the address in `next`.",
        {"type": "string", "pattern": f"^{PLACE.pattern}$"},
        read_place,
        default=FIRST,
        codes=("invalid_after",),
    ),
    number_parameter("limit", "How many at most.", LISTED_MAX, LISTED),
)
