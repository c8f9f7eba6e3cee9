"""The rules in plain Python, one row after the other as `rows` of a chunk reads them.

What `check` finds as columns must be what this finds: rows, faults, their kinds, and lines of rejects.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from typing import TypeAlias

from loader.check import Ports
from loader.chunks import COLUMNS, Chunk, Fault, ReadRow
from loader.errors import RowError
from loader.faults import (
    DAY_MAX,
    DAY_MIN,
    DAY_REASON,
    MISSING_REASON,
    NO_DAY_REASON,
    PRICE_MAX,
    PRICE_REASON,
)
from loader.faults import VALUE_CHARS_MAX as ERROR_CHARS_MAX
from loader.near_codes import PORT_REASON
from loader.rejects import VALUE_CHARS_MAX as REJECT_CHARS_MAX

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
PRICE = re.compile(r"[1-9][0-9]{0,9}")
ESCAPED = str.maketrans({"\0": "\\x00", "\n": "\\n", "\r": "\\r"})

Row: TypeAlias = tuple[str, str, date, int]


@dataclass
class Judged:
    """All of a chunk: every fault, the lines of each kind, and the bad rows as `csv` writes them."""

    rows: list[Row] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    kinds: dict[tuple[str | None, str | None, str], list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )
    bad_row_count: int = 0
    bad_rows_csv: bytes = b""


def judge_rows(chunk: Chunk, ports: Ports) -> Judged:
    judged, rejects = Judged(), StringIO(newline="")
    writer = csv.writer(rejects, lineterminator="\n")
    for read in chunk.rows():
        row, faults = judge(read, ports)
        if row is not None:
            judged.rows.append(row)
            continue
        judged.bad_row_count += 1
        for column, value, reason in faults:
            short = value and value[:ERROR_CHARS_MAX]
            judged.errors.append(RowError(chunk.file, read.line, column, short, reason))
            judged.kinds[column, short, reason].append(read.line)
        fields = [read.fields.get(name) or "" for name in COLUMNS]
        reasons = [reason if column is None else f"{column}: {reason}" for column, _, reason in faults]
        line = "" if read.fields else read.text
        values = [*fields, chunk.file, str(read.line), line, "; ".join(reasons)]
        writer.writerow([shown(value) for value in values])
    judged.bad_rows_csv = rejects.getvalue().encode()
    return judged


def judge(read: ReadRow, ports: Ports) -> tuple[Row | None, list[Fault]]:
    """The row that a line holds, or every fault it has."""
    if read.fault is not None:
        return None, [read.fault]
    fields = {name: read.fields[name] for name in COLUMNS}
    faults: list[Fault] = [(name, None, MISSING_REASON) for name in COLUMNS if fields[name] is None]
    orig_code, dest_code, day_text, price_text = (fields[name] or "" for name in COLUMNS)
    found = {"orig_code": orig_code in ports.codes, "dest_code": dest_code in ports.codes}
    faults += [
        (name, fields[name], PORT_REASON) for name in found if not found[name] and fields[name] is not None
    ]
    day, price = parse_day(day_text), parse_price(price_text)
    if not isinstance(day, date) and fields["day"] is not None:
        faults.append(("day", day_text, day))
    if price is None and fields["price"] is not None:
        faults.append(("price", price_text, PRICE_REASON))
    if faults or not isinstance(day, date) or price is None:
        return None, faults
    return (orig_code, dest_code, day, price), []


def parse_day(text: str) -> date | str:
    """The day, or why it is none."""
    if not DAY.fullmatch(text) or not DAY_MIN.year <= int(text[:4]) <= DAY_MAX.year:
        return DAY_REASON
    try:
        return date.fromisoformat(text)
    except ValueError:
        return NO_DAY_REASON


def parse_price(text: str) -> int | None:
    if not PRICE.fullmatch(text) or int(text) > PRICE_MAX:
        return None
    return int(text)


def shown(value: str) -> str:
    text = value if len(value) <= REJECT_CHARS_MAX else value[: REJECT_CHARS_MAX - 1] + "…"
    return text.translate(ESCAPED)
