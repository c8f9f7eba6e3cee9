"""The first stage for a database dump: reads the `COPY` sections of a plain `pg_dump` of the three tables.

Nothing of a dump is ever executed. What else a database has is passed over and told; what is not known, or
would change rows that were read, is refused by name and line. Prices may stand before the ports they name, so
the file is read twice: once for its structure, regions and ports, once for its prices.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec
import psycopg
from psycopg._encodings import pg2pyenc

from loader.chunks import COLUMNS
from loader.errors import FileRejected, RowError
from loader.formats.compression import Stream, UnreadableStream
from loader.formats.content import HEAD_BYTES, Peekable, content_of, format_of
from loader.formats.delimited import DelimitedChunk, Layout, delimited_chunks
from loader.formats.lines import BYTE_ORDER_MARK, LineReader
from loader.inputs import Address, Input, find_input
from loader.passing_over import (
    CHANGE,
    COMMAND,
    CONNECT,
    INSERT,
    QUALIFIED,
    UNDOING,
    Table,
    encoding_in,
    kind_of,
    part_of,
)
from loader.places import PLACES_MAX, Places, Port, Region, faults_of
from loader.statements import Statement, Statements

TABLES = {
    "regions": ("slug", "name", "parent_slug"),
    "ports": ("code", "name", "parent_slug"),
    "prices": COLUMNS,
}
FAULTS_SHOWN = 10
SECTIONS_MAX = 1_000
# The command that writes a dump with nothing else in it.
PLAIN_DUMP = "pg_dump --data-only -t regions -t ports -t prices"
COPY = re.compile(
    rf"COPY (?P<table>{QUALIFIED})(?: \((?P<columns>.*)\))? FROM stdin(?P<options>.*)", re.IGNORECASE
)
END_OF_COPY = b"\\."
# The comments between which pg_dump and pg_dumpall write: where the first is there, so is the last.
FIRST_LINES = {
    f"-- PostgreSQL {what} dump": f"-- PostgreSQL {what} dump complete"
    for what in ("database", "database cluster")
}
# How a dump begins and no file of prices does.
BEGINNING = re.compile(
    r"--|/\*|\\(restrict|encoding|c)|SELECT (\* FROM )?pg_catalog\."
    r"|(COPY|SET|RESET|BEGIN|CREATE|ALTER|DROP|COMMENT ON|GRANT|REVOKE|INSERT INTO)[\s;]",
    re.IGNORECASE,
)
COPY_BEGINS = re.compile(r"COPY\b", re.IGNORECASE)
CREATED = re.compile(rf"CREATE (?:UNLOGGED )?TABLE (?P<table>{QUALIFIED})", re.IGNORECASE)
UTF_8, ASCII = "utf-8", "ascii"
ESCAPED = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class Section:
    """A COPY section: its rows are the lines from `first_line`, `line_count` of them."""

    table: str
    columns: tuple[str, ...]
    first_line: int
    line_count: int


@dataclass
class Dump:
    """A dump whose structure has been read. Raises FileRejected when made of a file that is not one."""

    address: Address | Input
    places: Places = field(default_factory=Places)
    sections: list[Section] = field(default_factory=list)
    # What is told of what was passed over: rows by table, statements by kind.
    passed_over: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.file = self.address if isinstance(self.address, Input) else find_input(self.address)
        self.position = 0
        self.content_position = 0  # of what comes out where it is compressed
        self._names: dict[str, tuple[str, ...]] = {}
        self._wholes: dict[tuple[str, ...], Table] = {}
        self._database: tuple[str, ...] = ()
        self._codec, self._encoding = UTF_8, "UTF-8"
        self._created: set[tuple[str, ...]] = set()
        self._prices = hashlib.sha256()
        self._last_lines: list[str] = []
        self._has_first_line = False
        self._read_structure()
        if not (self.places.regions or self.places.ports or any(one.line_count for one in self.sections)):
            self.file.reject(f"no row of regions, ports or prices is in it; expected {PLAIN_DUMP}")
        if faults := faults_of(self.places):
            self.file.reject("; ".join(faults[:FAULTS_SHOWN]))

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def size(self) -> int:
        return self.file.size

    def told(self) -> str:
        """What of the dump is passed over, in a line; empty where all that is there is usual."""
        return ", ".join(f"{what} ({count:,})" for what, count in self.passed_over.items())

    @property
    def dump_rows(self) -> int:
        """How many prices it has."""
        return sum(section.line_count for section in self.sections)

    def content_hash(self) -> bytes:
        """SHA-256 of its rows, whatever else pg_dump wrote: since 2025 a word of its own into each dump."""
        places = msgspec.json.encode(
            (sorted(self.places.regions, key=repr), sorted(self.places.ports, key=repr))
        )
        return hashlib.sha256(self._prices.digest() + places).digest()

    def stored_hash(self) -> bytes:
        """SHA-256 of its bytes."""
        return self.file.content_hash()

    def chunks(self, rows_max: int) -> Iterator[DelimitedChunk]:
        """The rows of the prices, as the dump has them: tabs between, no quotes."""
        with self.file.open() as stored:
            lines = self._lines(stored)
            for section in self.sections:
                lines.skip_to(section.first_line)
                layout = Layout(section.columns, separator="\t", quoted=False)
                for chunk in delimited_chunks(lines, layout, rows_max, rows=section.line_count):
                    self.position, self.content_position = stored.tell(), lines.position
                    yield chunk
            self.file.refuse_if_changed(stored)

    def _read_structure(self) -> None:
        with self.file.open() as stored:
            lines = self._lines(stored)
            for statement in Statements(lines, self._decode, self._note_comment):
                if not statement.ended:
                    self._refuse(statement.line, f"the dump ends inside a statement: {statement.text[:80]!r}")
                if statement.text.startswith("\\"):
                    self._obey(statement)
                elif COPY_BEGINS.match(statement.text):
                    self._read_section(statement, lines)
                else:
                    self._pass_over(statement)
            self._refuse_if_cut(lines)

    def _lines(self, stored: Stream) -> LineReader:
        try:
            content, _ = content_of(stored, self.size)
            head = content.peek(HEAD_BYTES)
        except UnreadableStream as error:
            self.file.reject(str(error))
        if head.strip() and not is_dump(content):
            self._refuse_as_none(content)
        if head.startswith(BYTE_ORDER_MARK):
            content.read(len(BYTE_ORDER_MARK))
        otherwise = f"make the dump with {PLAIN_DUMP}"
        return LineReader(content, self.name, position=content.position, otherwise=otherwise)

    def _refuse_as_none(self, content: Peekable) -> NoReturn:
        """Says what the file is, where that can be told."""
        kind = format_of(content)
        begins = content.peek(HEAD_BYTES).partition(b"\n")[0].decode(errors="replace").strip()[:80]
        if kind == "csv" and not {*COLUMNS} <= {*re.findall(r"\w+", begins)}:
            self.file.reject(f"the file is no dump: it begins with {begins!r}; expected a plain pg_dump")
        name = {"parquet": "Parquet", "ndjson": "NDJSON", "csv": "CSV"}[kind]
        self.file.reject(f"the file is {name}, which `loader load` takes; expected a plain pg_dump")

    def _note_comment(self, text: str) -> None:
        last_line = FIRST_LINES.get(text.strip())
        if last_line is not None:
            self._has_first_line = True
            self._last_lines.append(last_line)
        elif text.strip() in self._last_lines:
            self._last_lines.remove(text.strip())

    def _refuse_if_cut(self, lines: LineReader) -> None:
        if self._last_lines:
            self._refuse(lines.line, f"the dump was cut: its last line is missing, {self._last_lines[-1]!r}")
        without_rows = sorted(({parts[-1] for parts in self._created} & TABLES.keys()) - self._names.keys())
        if without_rows and not self._has_first_line:
            reason = f"the dump makes table {without_rows[0]} and has no COPY of its rows: it was cut"
            self._refuse(lines.line, reason)

    def _obey(self, command: Statement) -> None:
        """What a command of psql's says of what follows; none is run."""
        connect = CONNECT.fullmatch(command.text)
        if connect is not None:
            self._database = (connect["database"],)
        elif COMMAND.fullmatch(command.text):
            self._note_encoding(command)
        else:
            self._refuse(command.line, f"a command of psql's that is not known: {command.text[:80]!r}")

    def _read_section(self, statement: Statement, lines: LineReader) -> None:
        copy = COPY.fullmatch(statement.text)
        if copy is None or not statement.is_last:
            self._refuse_copy(statement)
        table, rows_from = self._whole_of(Table(copy["table"])), lines.line
        if table.own not in TABLES:
            self._refuse_as_part(statement, copy)
            ended = lines.skip_past(END_OF_COPY, any_length=True)
            self.passed_over[f"rows of {copy['table']}"] += lines.line - rows_from - ended
        else:
            columns = self._known_columns(statement, copy, table)
            ended = self._read_rows(statement, table.own, columns, lines)
        if not ended:
            reason = f"the dump ends inside the rows of {copy['table']}: the line \\. is missing"
            self._refuse(statement.line, reason)

    def _refuse_as_part(self, statement: Statement, copy: re.Match[str]) -> None:
        """Of a table that the dump does not make, it cannot be told whether its rows are those of a part."""
        columns = sorted(columns_of(copy))
        if Table(copy["table"]).parts in self._created or columns not in map(sorted, TABLES.values()):
            return
        reason = f"rows of {copy['table']}, which may be a part of another table"
        self._refuse(statement.line, f"{reason}; make the dump with --load-via-partition-root, or whole")

    def _read_rows(
        self, statement: Statement, table: str, columns: tuple[str, ...], lines: LineReader
    ) -> bool:
        """Says whether they have their end."""
        if table != "prices":
            return self._read_places(table, columns, lines)
        # All but all of the dump, and nothing in it is needed yet.
        if len(self.sections) == SECTIONS_MAX:
            self._refuse(statement.line, f"more than {SECTIONS_MAX:,} times rows of prices")
        first = lines.line
        self._prices.update(repr(columns).encode())
        ended = lines.skip_past(END_OF_COPY, self._prices.update)
        self.sections.append(Section(table, columns, first, lines.line - first - ended))
        return ended

    def _whole_of(self, table: Table) -> Table:
        """The table that it is a part of, or itself."""
        seen: set[tuple[str, ...]] = set()
        while table.parts in self._wholes and table.parts not in seen:
            seen.add(table.parts)
            table = self._wholes[table.parts]
        return table

    def _read_places(self, table: str, columns: tuple[str, ...], lines: LineReader) -> bool:
        """Says whether the section has its end."""
        while (line_no := lines.line) and (line := lines.take(1)):
            if line.rstrip(b"\r\n") == END_OF_COPY:
                return True
            self._read_place(table, columns, line_no, line)
        return False

    def _known_columns(self, statement: Statement, copy: re.Match[str], table: Table) -> tuple[str, ...]:
        if copy["columns"] is None or copy["options"]:
            self._refuse_copy(statement)
        columns = columns_of(copy)
        expected = TABLES[table.own]
        if sorted(columns) != sorted(expected):
            found = ", ".join(columns)
            reason = f"table {table.own} has columns {found}; expected {', '.join(expected)}"
            self._refuse(statement.line, reason)
        name = (*self._database, table.qualified)
        earlier = self._names.setdefault(table.own, name)
        if earlier != name:
            both = " and ".join(" of database ".join(reversed(each)) for each in (earlier, name))
            self._refuse(statement.line, f"table {table.own} is there twice: {both}")
        return columns

    def _refuse_copy(self, statement: Statement) -> NoReturn:
        reason = f"not a COPY that is known: {statement.text[:80]!r}; expected COPY table (…) FROM stdin;"
        self._refuse(statement.line, reason)

    def _read_place(self, table: str, columns: tuple[str, ...], line_no: int, line: bytes) -> None:
        fields = self._decode(line_no, line).split("\t")
        if len(fields) != len(columns):
            self._refuse(line_no, f"a row of {table} has {len(fields)} columns, expected {len(columns)}")
        if len(self.places.regions) + len(self.places.ports) == PLACES_MAX:
            self._refuse(line_no, f"more than {PLACES_MAX:,} regions and ports")
        row = {name: unescape(value) for name, value in zip(columns, fields, strict=True)}
        for name in TABLES[table]:
            value = row[name]
            if (value is None or value == "") and (table, name) != ("regions", "parent_slug"):
                self._refuse(line_no, f"a row of {table} has no {name}", column=name)
            if value is not None and "\0" in value:
                self._refuse(line_no, f"a NUL byte in {name}", column=name)
        if table == "regions":
            self.places.regions.append(Region(row["slug"] or "", row["name"] or "", row["parent_slug"]))
        else:
            self.places.ports.append(Port(row["code"] or "", row["name"] or "", row["parent_slug"] or ""))

    def _pass_over(self, statement: Statement) -> None:
        """What carries no row of the three tables; what would add or change one is refused."""
        text = statement.text
        self._refuse_if_changing(statement)
        self._note_encoding(statement)
        if part := part_of(text):
            self._wholes[part[0].parts] = part[1]
        if created := CREATED.match(text):
            self._created.add(Table(created["table"]).parts)
        kind = kind_of(text)
        if kind is None:
            shown = f"a statement that is not known: {text[:80]!r}"
            self._refuse(statement.line, f"{shown}; make the dump with {PLAIN_DUMP}")
        if kind:
            self.passed_over[kind] += 1

    def _refuse_if_changing(self, statement: Statement) -> None:
        text = statement.text
        insert, change = INSERT.match(text), CHANGE.match(text)
        if insert and Table(insert["table"]).own in TABLES:
            self._refuse(
                statement.line, f"rows as statements: {text[:80]!r}; make the dump without --inserts"
            )
        changed = change is not None and Table(change["table"]).own in self._names
        if changed or (self._names and UNDOING.match(text)):
            reason = f"a statement that would change the rows above it: {text[:80]!r}"
            self._refuse(statement.line, f"{reason}; make the dump with {PLAIN_DUMP}")

    def _note_encoding(self, statement: Statement) -> None:
        name = encoding_in(statement.text)
        if name is None:
            return
        try:
            self._codec, self._encoding = pg2pyenc(name.encode()), name
        except psycopg.NotSupportedError:
            reason = f"the dump is in {name}, which is not known; expected UTF8 (pg_dump --encoding=UTF8)"
            self._refuse(statement.line, reason)
        if self._codec == ASCII:  # no encoding: the bytes are whatever they were sent as
            self._codec, self._encoding = UTF_8, "UTF-8"

    def _decode(self, line_no: int, line: bytes) -> str:
        try:
            return line.decode(self._codec).rstrip("\r\n")
        except UnicodeDecodeError as error:
            name = "UTF-8" if self._codec == UTF_8 else self._encoding
            self._refuse(line_no, f"not {name}: byte 0x{error.object[error.start]:02x}")

    def _refuse(self, line_no: int, reason: str, column: str | None = None) -> NoReturn:
        raise FileRejected(RowError(self.name, line_no, column, None, reason))


def is_dump(content: Peekable) -> bool:
    """Whether it begins as no file of prices does, but as a dump: with a comment, a command, a statement."""
    head = content.peek(HEAD_BYTES).removeprefix(BYTE_ORDER_MARK)
    line = head.lstrip().partition(b"\n")[0].decode(errors="replace").rstrip("\r")
    return BEGINNING.match(line) is not None


def columns_of(copy: re.Match[str]) -> tuple[str, ...]:
    return tuple(name.strip().strip('"') for name in (copy["columns"] or "").split(","))


def unescape(text: str) -> str | None:
    """A field of COPY's text format; `\\N` alone is null (PostgreSQL: COPY, "Text Format")."""
    if text == r"\N":
        return None
    return ESCAPED.sub(unescape_one, text)


def unescape_one(match: re.Match[str]) -> str:
    octal, hexadecimal, character = match.groups()
    if octal is not None:
        return chr(int(octal, 8) & 0xFF)
    if hexadecimal is not None:
        return chr(int(hexadecimal, 16))
    return ESCAPES.get(character, character)
