"""A Parquet file of billions of rows in some 100 KB: one group of equal rows, which its footer names often.

The footer is Thrift's compact protocol (Thrift: "thrift-compact-protocol.md"; Parquet: "parquet.thrift").
"""

from __future__ import annotations

import struct
from datetime import date
from io import BytesIO

import polars as pl

ROWS, ROW_GROUPS = 3, 4  # fields of FileMetaData
BOOLEANS, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = {1, 2}, 3, {4, 5, 6}, 7, 8, {9, 10}, 12
FAR_APART = "fields whose numbers lie far apart, which Parquet has none of"
ONE_STRUCT = bytes([1 << 4 | STRUCT])
MANY_STRUCTS = bytes([0xF << 4 | STRUCT])


def parquet_bomb(rows_a_group: int, groups: int) -> bytes:
    """Good rows, all the same."""
    row = {"orig_code": "CNSGH", "dest_code": "NLRTM", "day": date(2021, 1, 1), "price": 7}
    frame = pl.select(pl.repeat(pl.lit(value), rows_a_group).alias(name) for name, value in row.items())
    group = BytesIO()
    frame.write_parquet(group, row_group_size=rows_a_group, statistics=False)
    content = group.getvalue()
    (footer_size,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - footer_size : -8]
    fields = fields_of(footer)
    (rows_begin, rows_end), (groups_begin, groups_end) = fields[ROWS], fields[ROW_GROUPS]
    assert footer[groups_begin : groups_begin + 1] == ONE_STRUCT
    many = footer[groups_begin + 1 : groups_end] * groups
    footer = b"".join(
        [
            footer[:rows_begin],
            varint(2 * rows_a_group * groups),
            footer[rows_end:groups_begin],
            MANY_STRUCTS + varint(groups) + many,
            footer[groups_end:],
        ]
    )
    return content[: -8 - footer_size] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def fields_of(data: bytes) -> dict[int, tuple[int, int]]:
    """Where the values of a struct's fields lie."""
    fields, at, number = {}, 0, 0
    while data[at]:
        kind, step = data[at] & 0xF, data[at] >> 4
        assert step, FAR_APART
        number += step
        end = end_of(data, at + 1, kind)
        fields[number] = at + 1, end
        at = end
    return fields


def end_of(data: bytes, at: int, kind: int) -> int:
    """Where a value ends that begins at `at`."""
    if kind in BOOLEANS:
        return at
    if kind in {BYTE, DOUBLE}:
        return at + (1 if kind == BYTE else 8)
    if kind in INTEGERS:
        return read_varint(data, at)[1]
    if kind == BINARY:
        size, at = read_varint(data, at)
        return at + size
    if kind in LISTS:
        count, kind = data[at] >> 4, data[at] & 0xF
        count, at = read_varint(data, at + 1) if count == 0xF else (count, at + 1)
        for _ in range(count):
            at = at + 1 if kind in BOOLEANS else end_of(data, at, kind)
        return at
    assert kind == STRUCT
    while data[at]:
        assert data[at] >> 4, FAR_APART
        at = end_of(data, at + 1, data[at] & 0xF)
    return at + 1


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])
