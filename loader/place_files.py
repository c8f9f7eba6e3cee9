"""Regions and ports out of files of their own: CSV with a header, or a dump."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import NoReturn

from loader.dump import Dump, is_dump
from loader.errors import FileRejected, RowError
from loader.formats.compression import UnreadableStream
from loader.formats.content import content_of, format_of
from loader.formats.lines import LineReader, decode_line
from loader.inputs import Address, Input, find_input
from loader.places import PLACES_MAX, Places, Port, Region

REGIONS, PORTS = ("slug", "name", "parent_slug"), ("code", "name", "parent_slug")
EXPECTED = f"expected {','.join(REGIONS)} of regions or {','.join(PORTS)} of ports"


def read_places(addresses: Sequence[Address]) -> Places:
    """All of them together. Raises FileRejected where a file is none of these, and UsageError."""
    regions: list[Region] = []
    ports: list[Port] = []
    for address in addresses:
        places = read_file(find_input(address))
        regions += places.regions
        ports += places.ports
    return Places(regions, ports)


def read_file(file: Input) -> Places:
    try:
        with file.open() as stored:
            content, compressed = content_of(stored, file.size)
            if is_dump(content):
                return Dump(file).places
            if not compressed:
                file.refuse_if_cut()
            if (kind := format_of(content)) != "csv":
                file.reject(f"the file is {kind}; {EXPECTED}, as CSV")
            places = read_csv(file, LineReader(content, file.name, otherwise=EXPECTED))
            file.refuse_if_changed(stored)
    except UnreadableStream as error:
        file.reject(str(error))
    if not (places.regions or places.ports):
        file.refuse_as_empty()
    return places


def read_csv(file: Input, lines: LineReader) -> Places:
    _, header = next(rows_of(file, lines), (1, []))
    names = tuple(name.strip() for name in header)
    if sorted(names) not in (sorted(REGIONS), sorted(PORTS)):
        file.reject(f"the header is {','.join(names)[:100]!r}; {EXPECTED}")
    places = Places()
    for line, fields in rows_of(file, lines):
        if len(fields) != len(names):
            refuse(file, line, f"{len(fields)} columns, expected {len(names)}: {','.join(names)}")
        if len(places.regions) + len(places.ports) == PLACES_MAX:
            refuse(file, line, f"more than {PLACES_MAX:,} regions and ports")
        row = dict(zip(names, fields, strict=True))
        for name in names:
            if not row[name] and (name, "slug" in row) != ("parent_slug", True):
                refuse(file, line, "missing: a value is expected", column=name)
        if "slug" in row:
            places.regions.append(Region(row["slug"], row["name"], row["parent_slug"] or None))
        else:
            places.ports.append(Port(row["code"], row["name"], row["parent_slug"]))
    return places


def rows_of(file: Input, lines: LineReader) -> Iterator[tuple[int, list[str]]]:
    """Each line with its number and its fields. A field holds no line end."""
    while (line := lines.line) and (data := lines.take(1)):
        text, fault = decode_line(data.rstrip(b"\r\n"))
        if fault is not None:
            refuse(file, line, fault[2])
        try:
            yield line, next(csv.reader([text], strict=True), [])
        except csv.Error:
            refuse(file, line, "a quote is not closed on its line, or stands inside a field")


def refuse(file: Input, line: int, reason: str, column: str | None = None) -> NoReturn:
    raise FileRejected(RowError(file.name, line, column, None, reason))
