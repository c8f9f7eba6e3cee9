"""What answers are made of: sum and count of the prices a day, and the version of the data they are of.

A question is put to libpq itself, of a statement that is prepared once a connection, and its arrays are
read as they come: the driver's own way takes 50 us of a processor more each time, a quarter of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache, lru_cache
from operator import add
from struct import Struct, pack, unpack
from typing import NamedTuple
from weakref import WeakSet

import msgspec
import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from database.queries import query

# PostgreSQL's numbers for types: of a statement's parameters (text, text, date, date, boolean).
STATEMENTS = {
    b"data_version": (),
    b"lane_totals": (25, 25, 1082, 1082),
    b"region_totals": (25, 25, 1082, 1082, 16),
}
# Of an array's elements, by type: how `struct` calls each, and how many bytes each takes behind its length.
ELEMENTS = {
    pack(">i", 21): ("h", 6),
    pack(">i", 23): ("i", 8),
    pack(">i", 20): ("q", 12),
}
HEAD_BYTES = 20
# Days in a row, as elements of an array of `smallint`.
DAY_BYTES = 6
IN_A_ROW = b"".join(pack(">ih", 2, day) for day in range(32))
BINARY = pq.Format.BINARY
DUPLICATE = psycopg.errors.DuplicatePreparedStatement.sqlstate.encode()
# Fewer prices than this make no average (the original service's rule).
PRICES_MIN = 3
MONTH_0 = date(2000, 1, 1).toordinal()  # what PostgreSQL counts days from
Integers = tuple[int, ...]
prepared: WeakSet[psycopg.Connection] = WeakSet()


class DataVersion(NamedTuple):
    """`number` rises with each batch that is published or withdrawn, and with places that are corrected;
    `changed_at`, in microseconds, tells this database's versions from those of another that was restored to
    an earlier day."""

    number: int
    changed_at: int


class Totals(msgspec.Struct, gc=False):
    """`sums` in USD and `counts` of the prices of each day of the range, the newest first. `orig_found` and
    `dest_found` say whether there is such a place."""

    version: DataVersion
    orig_found: bool
    dest_found: bool
    sums: Sequence[int]
    counts: Sequence[int]

    def days(self, date_to: date) -> list[tuple[date, int, int]]:
        """Day, sum and count of those that have prices; `date_to` is the range's last day."""
        last = date_to.toordinal()
        return [
            (date.fromordinal(last - back), price_sum, count)
            for back, (price_sum, count) in enumerate(zip(self.sums, self.counts, strict=True))
            if count > 0
        ]


def read_version(connection: psycopg.Connection) -> DataVersion:
    return version_of(execute(connection, b"data_version", []))


def read_totals(
    connection: psycopg.Connection, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two ports or regions, of the days from `date_from` to `date_to`. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [spelled(date_from), spelled(date_to)]
    first, last = date_from.toordinal(), date_to.toordinal()
    months = [days[0][:8] + b"01", days[1]]
    totals = totals_of(execute(connection, b"lane_totals", codes + months), first, last)
    if not (totals.orig_found and totals.dest_found):
        totals = totals_of(execute(connection, b"region_totals", [*codes, *days, b"f"]), first, last)
    return totals


def read_region_totals(
    connection: psycopg.Connection, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two regions, also where a port is called as one of them is. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [spelled(date_from), spelled(date_to)]
    result = execute(connection, b"region_totals", [*codes, *days, b"t"])
    return totals_of(result, date_from.toordinal(), date_to.toordinal())


@lru_cache(maxsize=1024)  # everybody asks for the same few days
def spelled(day: date) -> bytes:
    return day.isoformat().encode()


def execute(connection: psycopg.Connection, statement: bytes, parameters: list[bytes]) -> pq.abc.PGresult:
    """Its rows, in binary. Raises `psycopg.Error`, OperationalError where the connection is broken."""
    server = connection.pgconn
    if connection not in prepared:
        for name, types in STATEMENTS.items():
            result = server.prepare(name, query("api", name.decode()), types)
            # It may be there, where the others were waited for in vain.
            if result.error_field(pq.DiagnosticField.SQLSTATE) != DUPLICATE:
                raise_failed(server, result, pq.ExecStatus.COMMAND_OK)
        prepared.add(connection)
    result = server.exec_prepared(statement, parameters, None, BINARY)
    raise_failed(server, result, pq.ExecStatus.TUPLES_OK)
    return result


def raise_failed(server: pq.abc.PGconn, result: pq.abc.PGresult, wanted: pq.ExecStatus) -> None:
    if result.status == wanted:
        return
    if server.status != pq.ConnStatus.OK:
        raise psycopg.OperationalError(server.get_error_message())
    raise error_from_result(result)


def version_of(result: pq.abc.PGresult) -> DataVersion:
    number, changed_at = result.get_value(0, 0), result.get_value(0, 1)
    return DataVersion(int.from_bytes(number or b""), int.from_bytes(changed_at or b"", signed=True))


def totals_of(result: pq.abc.PGresult, first: int, last: int) -> Totals:
    """Of the days with these ordinals and between; others may stand in the result."""
    length = max(0, last - first + 1)
    nothing = sums = counts = (0,) * length
    value = result.get_value
    for row in range(result.ntuples):
        month, days = value(row, 1), value(row, 2)
        if month is None or not days:
            continue
        shift = MONTH_0 + int.from_bytes(month, signed=True) - 1 - first
        day_sums, day_counts = laid_out(days, value(row, 3) or b"", value(row, 4) or b"", shift, length)
        if counts is nothing:  # what most questions find: one row of totals
            sums, counts = day_sums, day_counts
        else:
            sums, counts = tuple(map(add, sums, day_sums)), tuple(map(add, counts, day_counts))
    version, orig_found, dest_found = label_of(value(0, 0) or b"")
    return Totals(version, orig_found, dest_found, sums, counts)


@lru_cache(maxsize=8)  # nearly always the same
def label_of(label: bytes) -> tuple[DataVersion, bool, bool]:
    """The version, and whether there are such places: many columns would cost much for each answer."""
    number, changed_at, orig_found, dest_found = unpack(">Qq??", label)
    return DataVersion(number, changed_at), orig_found, dest_found


def laid_out(days: bytes, sums: bytes, counts: bytes, shift: int, length: int) -> tuple[Integers, Integers]:
    """Sums and counts of a range of so many days, the newest first, out of arrays as PostgreSQL sends them.
    Day n of theirs is n + `shift` of the range, where 0 is the first."""
    row = in_a_row(days)
    if row is not None:
        day, count = row
        place = day + shift
        start, stop = max(0, -place), min(count, length - place)
        if start >= stop:
            return (0,) * length, (0,) * length
        after, before = (0,) * (length - place - stop), (0,) * (place + start)
        return (
            after + integers(sums, start, stop)[::-1] + before,
            after + integers(counts, start, stop)[::-1] + before,
        )
    # Days between have no prices, or they are in no order.
    count = int.from_bytes(days[12:16])
    pairs = zip(integers(sums, 0, count), integers(counts, 0, count), strict=True)
    by_day = dict(zip(integers(days, 0, count), pairs, strict=True))
    asked = [by_day.get(day, (0, 0)) for day in range(length - 1 - shift, -1 - shift, -1)]
    return tuple(pair[0] for pair in asked), tuple(pair[1] for pair in asked)


@lru_cache(maxsize=64)  # mostly whole months
def in_a_row(days: bytes) -> tuple[int, int] | None:
    """The first of an array's days and how many there are, where none is missing between."""
    in_order = days[HEAD_BYTES:]
    day, count = int.from_bytes(in_order[4:6]), len(in_order) // DAY_BYTES
    return (day, count) if in_order == IN_A_ROW[day * DAY_BYTES : (day + count) * DAY_BYTES] else None


def integers(array: bytes, start: int, stop: int) -> Integers:
    """These elements of an array of one dimension without nulls, in PostgreSQL's binary form: a head of 20
    bytes, of which 8 to 12 are the elements' type and 12 to 16 how many there are, then each element behind
    its length."""
    code, size = ELEMENTS[array[8:12]]
    return layout(code, stop - start).unpack_from(array, HEAD_BYTES + start * size)


@cache
def layout(code: str, count: int) -> Struct:
    return Struct(">" + f"4x{code}" * count)
