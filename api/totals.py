"""What answers are made of: sum and count of the prices a day, and the version of the data they are of.

A question is put to libpq itself, of a statement that is prepared once a connection, and its arrays are
read as they come: the driver's own way takes 50 us of a processor more each time, a quarter of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
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
    "data_version": (),
    "lane_totals": (25, 25, 1082, 1082),
    "region_totals": (25, 25, 1082, 1082, 16),
}
ELEMENTS = {21: "h", 23: "i", 20: "q"}
BINARY = pq.Format.BINARY
DUPLICATE = psycopg.errors.DuplicatePreparedStatement.sqlstate.encode()
# Fewer prices than this make no average (the original service's rule).
PRICES_MIN = 3
MONTH_0 = date(2000, 1, 1).toordinal()  # what PostgreSQL counts days from
prepared: WeakSet[psycopg.Connection] = WeakSet()


class DataVersion(NamedTuple):
    """`number` rises with each batch that is published or withdrawn; `changed_at`, in microseconds, tells
    this database's versions from those of another that was restored to an earlier day."""

    number: int
    changed_at: int


class Totals(NamedTuple):
    """`by_day` has sum in USD and count of each day with prices, by the day's ordinal; days around the range
    may be among them. `orig_found` and `dest_found` say whether there is such a place."""

    version: DataVersion
    orig_found: bool
    dest_found: bool
    by_day: dict[int, tuple[int, int]]

    def days(self, date_from: date, date_to: date) -> list[tuple[date, int, int]]:
        """Day, sum and count of the days of this range that have prices, newest first."""
        found = [(date.fromordinal(day), *total) for day, total in self.by_day.items() if total[1] > 0]
        return sorted((row for row in found if date_from <= row[0] <= date_to), reverse=True)


def read_version(connection: psycopg.Connection) -> DataVersion:
    return version_of(execute(connection, "data_version", []))


def read_totals(
    connection: psycopg.Connection, *, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two ports or regions, of the days from `date_from` to `date_to`. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [date_from.isoformat().encode(), date_to.isoformat().encode()]
    totals = totals_of(execute(connection, "lane_totals", [*codes, days[0][:8] + b"01", days[1]]))
    if not (totals.orig_found and totals.dest_found):
        totals = totals_of(execute(connection, "region_totals", [*codes, *days, b"f"]))
    return totals


def read_region_totals(
    connection: psycopg.Connection, *, orig_code: str, dest_code: str, date_from: date, date_to: date
) -> Totals:
    """Between two regions, also where a port is called as one of them is. Raises `psycopg.Error`."""
    codes = [orig_code.encode(), dest_code.encode()]
    days = [date_from.isoformat().encode(), date_to.isoformat().encode()]
    return totals_of(execute(connection, "region_totals", [*codes, *days, b"t"]))


def execute(connection: psycopg.Connection, statement: str, parameters: list[bytes]) -> pq.abc.PGresult:
    """Its rows, in binary. Raises `psycopg.Error`, OperationalError where the connection is broken."""
    server = connection.pgconn
    if connection not in prepared:
        for name, types in STATEMENTS.items():
            result = server.prepare(name.encode(), query("api", name), types)
            # It may be there, where the others were waited for in vain.
            if result.error_field(pq.DiagnosticField.SQLSTATE) != DUPLICATE:
                raise_failed(server, result, pq.ExecStatus.COMMAND_OK)
        prepared.add(connection)
    result = server.exec_prepared(statement.encode(), parameters, None, BINARY)
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


def totals_of(result: pq.abc.PGresult) -> Totals:
    by_day: dict[int, tuple[int, int]] = {}
    for row in range(result.ntuples):
        first_day = result.get_value(row, 4)
        days, sums, counts = (integers(result.get_value(row, column)) for column in (5, 6, 7))
        if first_day is None:
            continue
        before = MONTH_0 + int.from_bytes(first_day, signed=True) - 1
        found = dict(zip([before + day for day in days], zip(sums, counts, strict=True), strict=True))
        for day in by_day.keys() & found.keys():
            found[day] = (found[day][0] + by_day[day][0], found[day][1] + by_day[day][1])
        by_day.update(found)
    return Totals(
        version_of(result), result.get_value(0, 2) == b"\1", result.get_value(0, 3) == b"\1", by_day
    )


def integers(array: bytes | None) -> Sequence[int]:
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
