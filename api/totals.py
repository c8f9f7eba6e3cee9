"""What answers are made of: sum and count of the prices a day, and the version of the data they are of.

A question is put to libpq itself, of a statement that is prepared once a connection, and its arrays are
read as they come: the driver's own way takes 50 us of a processor more each time, a quarter of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from operator import add
from struct import Struct, unpack_from
from typing import NamedTuple
from weakref import WeakSet

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from database.queries import query

# PostgreSQL's numbers for types: of a statement's parameters (text, text, date, date, boolean), and of an
# array's elements.
STATEMENTS = {
    b"data_version": (),
    b"lane_totals": (25, 25, 1082, 1082),
    b"region_totals": (25, 25, 1082, 1082, 16),
}
ELEMENTS = {21: "h", 23: "i", 20: "q"}
BINARY = pq.Format.BINARY
DUPLICATE = psycopg.errors.DuplicatePreparedStatement.sqlstate.encode()
# Fewer prices than this make no average (the original service's rule).
PRICES_MIN = 3
MONTH_0 = date(2000, 1, 1).toordinal()  # what PostgreSQL counts days from
# Days in a row are a slice of it; what reaches beyond is taken one by one.
DAYS = tuple(range(367))
Integers = tuple[int, ...]
prepared: WeakSet[psycopg.Connection] = WeakSet()


class DataVersion(NamedTuple):
    """`number` rises with each batch that is published or withdrawn, and with places that are corrected;
    `changed_at`, in microseconds, tells this database's versions from those of another that was restored to
    an earlier day."""

    number: int
    changed_at: int


class Totals(NamedTuple):
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
    connection: psycopg.Connection, *, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two ports or regions, of the days from `date_from` to `date_to`. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [date_from.isoformat().encode(), date_to.isoformat().encode()]
    first, last = date_from.toordinal(), date_to.toordinal()
    months = [days[0][:8] + b"01", days[1]]
    totals = totals_of(execute(connection, b"lane_totals", codes + months), first, last)
    if not (totals.orig_found and totals.dest_found):
        totals = totals_of(execute(connection, b"region_totals", [*codes, *days, b"f"]), first, last)
    return totals


def read_region_totals(
    connection: psycopg.Connection, *, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two regions, also where a port is called as one of them is. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [date_from.isoformat().encode(), date_to.isoformat().encode()]
    result = execute(connection, b"region_totals", [*codes, *days, b"t"])
    return totals_of(result, date_from.toordinal(), date_to.toordinal())


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
    sums: Sequence[int] = (0,) * length
    counts = sums
    value = result.get_value
    for row in range(result.ntuples):
        month = value(row, 4)
        days = integers(value(row, 5))
        if month is None or not days:
            continue
        day_sums, day_counts = integers(value(row, 6)), integers(value(row, 7))
        if days != DAYS[days[0] : days[0] + len(days)]:  # not one after the other
            days, day_sums, day_counts = filled(days, day_sums, day_counts)
        start = MONTH_0 + int.from_bytes(month, signed=True) + days[0] - 1 - first
        day_sums, day_counts = (newest_first(each, start, length) for each in (day_sums, day_counts))
        if counts is sums:  # what most questions find: one row of totals
            sums, counts = day_sums, day_counts
        else:
            sums, counts = tuple(map(add, sums, day_sums)), tuple(map(add, counts, day_counts))
    return Totals(version_of(result), value(0, 2) == b"\1", value(0, 3) == b"\1", sums, counts)


def filled(days: Integers, sums: Integers, counts: Integers) -> tuple[Integers, Integers, Integers]:
    """The same with every day between the first and the last, in their order."""
    found = dict(zip(days, zip(sums, counts, strict=True), strict=True))
    between = range(min(days), max(days) + 1)
    pairs = [found.get(day, (0, 0)) for day in between]
    return tuple(between), tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def newest_first(values: Integers, start: int, length: int) -> Integers:
    """Of a range of so many days, in whose place `start` the first of `values` stands, maybe before it."""
    inside = values[max(0, -start) : max(0, length - start)]
    before = min(max(0, start), length)
    return ((0,) * before + inside + (0,) * (length - before - len(inside)))[::-1]


def integers(array: bytes | None) -> Integers:
    """An array of one dimension without nulls, in PostgreSQL's binary form: a head of 20 bytes, which are the
    number of dimensions, whether there are nulls, the elements' type, how many there are, and their first
    index; then each element behind its length."""
    if not array or len(array) == 12:  # null, or an empty one, which has no dimension
        return ()
    kind, count = unpack_from(">8xii", array)
    return layout(kind, count).unpack_from(array, 20)


@cache
def layout(kind: int, count: int) -> Struct:
    return Struct(">" + f"4x{ELEMENTS[kind]}" * count)
