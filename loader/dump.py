"""The first stage for a database dump: reads the `COPY` sections of a plain `pg_dump` of the three tables.

Nothing of a dump is ever executed. Its statements are passed over where they are of a known kind, and what
is not known, a table, a column, a statement, is refused by name and line. Prices may stand before the ports
they name, so the file is read twice: once for its structure, regions and ports, once for its prices.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from loader.chunks import COLUMNS
from loader.errors import FileRejected, RowError
from loader.formats.compression import Stream, UnreadableStream
from loader.formats.content import HEAD_BYTES, Peekable, content_of
from loader.formats.delimited import DelimitedChunk, Layout, delimited_chunks
from loader.formats.lines import LineReader
from loader.inputs import Address, Input, find_input
from loader.publish import Places, Port, Region

TABLES = {
    "regions": ("slug", "name", "parent_slug"),
    "ports": ("code", "name", "parent_slug"),
    "prices": COLUMNS,
}
# Regions and ports are kept in memory, and with the plan of a batch. UN/LOCODE has about 120,000.
PLACES_MAX = 200_000
SECTIONS_MAX = 1_000
# How the custom format begins, which pg_restore reads and nobody else.
ARCHIVE = b"PGDMP"
COMMENT = "--"
NAME = r'(?:"[^"]+"|\w+)'
COPY = re.compile(rf"COPY (?P<qualified>(?:{NAME}\.)?(?P<table>{NAME})) \((?P<columns>.*)\) FROM stdin;")
END_OF_COPY = b"\\."
# Statements that carry no data; the schema here is the migrations', so they are read past.
PASSED_OVER = re.compile(
    r"(SET|RESET|SELECT pg_catalog\.(set_config|setval)|CREATE (UNLOGGED )?TABLE|CREATE (UNIQUE )?INDEX"
    r"|CREATE (SCHEMA|SEQUENCE|EXTENSION)|ALTER (TABLE|SCHEMA|SEQUENCE)|COMMENT ON|GRANT|REVOKE)\b"
)
# What may hold a semicolon that ends nothing; after two dashes, nothing counts.
QUOTE_OR_COMMENT = re.compile(r"""'|"|\$(?:[^\W\d]\w*)?\$|--""")
ENCODING = re.compile(r"SET client_encoding = '(?P<encoding>[^']*)'")
# psql's own commands that newer dumps wrap themselves in.
META_COMMAND = re.compile(r"\\(restrict|unrestrict) \w+")
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

    def __post_init__(self) -> None:
        self.file = self.address if isinstance(self.address, Input) else find_input(self.address)
        self.position = 0
        self.content_position = 0  # of what comes out where it is compressed
        self._qualified_names: dict[str, str] = {}
        self._read_structure()
        if not (self.places.regions or self.places.ports or any(one.line_count for one in self.sections)):
            self.file.reject("no row of regions, ports or prices is in it; expected a plain pg_dump of them")
        check_tree(self)

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def size(self) -> int:
        return self.file.size

    def content_hash(self) -> bytes:
        return self.file.content_hash()

    def chunks(self, rows_max: int) -> Iterator[DelimitedChunk]:
        """The rows of the prices, as the dump has them: tabs between, no quotes."""
        with self.file.open() as stored:
            lines = self._lines(stored)
            for section in self.sections:
                while lines.line < section.first_line and lines.take(section.first_line - lines.line):
                    pass
                layout = Layout(section.columns, separator="\t", quoted=False)
                for chunk in delimited_chunks(lines, layout, rows_max, rows=section.line_count):
                    self.position, self.content_position = stored.tell(), lines.position
                    yield chunk
            self.file.refuse_if_changed(stored)

    def _read_structure(self) -> None:
        with self.file.open() as stored:
            lines = self._lines(stored)
            while (line_no := lines.line) and (line := lines.take(1)):
                text = self._decode(line_no, line)
                if text.startswith("COPY "):
                    self._read_section(line_no, text, lines)
                elif text.strip() and not text.startswith(COMMENT) and not META_COMMAND.fullmatch(text):
                    self._pass_over(line_no, text, lines)

    def _lines(self, stored: Stream) -> LineReader:
        try:
            content, _ = content_of(stored, self.size)
            archive = content.peek(len(ARCHIVE)) == ARCHIVE
        except UnreadableStream as error:
            self.file.reject(str(error))
        if archive:
            self.file.reject("an archive of pg_dump; expected a plain dump (pg_dump --format=plain)")
        return LineReader(content, self.name)

    def _read_section(self, copy_line: int, text: str, lines: LineReader) -> None:
        table, columns = self._known_section(copy_line, text)
        if table == "prices":  # all but all of the dump, and nothing in it is needed yet
            if len(self.sections) == SECTIONS_MAX:
                self._refuse(copy_line, f"more than {SECTIONS_MAX:,} times rows of prices")
            ended = lines.skip_past(END_OF_COPY)
            self.sections.append(Section(table, columns, copy_line + 1, lines.line - copy_line - 2))
        else:
            ended = self._read_places(table, columns, lines)
        if not ended:
            self._refuse(copy_line, f"the dump ends inside the rows of {table}: the line \\. is missing")

    def _read_places(self, table: str, columns: tuple[str, ...], lines: LineReader) -> bool:
        """Says whether the section has its end."""
        while (line_no := lines.line) and (line := lines.take(1)):
            if line.rstrip(b"\r\n") == END_OF_COPY:
                return True
            self._read_place(table, columns, line_no, line)
        return False

    def _known_section(self, line_no: int, text: str) -> tuple[str, tuple[str, ...]]:
        match = COPY.fullmatch(text)
        if match is None:
            self._refuse(
                line_no, f"not a COPY that is known: {text[:80]!r}; expected COPY table (…) FROM stdin;"
            )
        table = match["table"].strip('"')
        columns = tuple(name.strip().strip('"') for name in match["columns"].split(","))
        if table not in TABLES:
            self._refuse(line_no, f"table {table!r} is not known; expected {', '.join(TABLES)}")
        expected = TABLES[table]
        if sorted(columns) != sorted(expected):
            found = ", ".join(columns)
            self._refuse(line_no, f"table {table} has columns {found}; expected {', '.join(expected)}")
        earlier = self._qualified_names.setdefault(table, match["qualified"])
        if earlier != match["qualified"]:
            self._refuse(line_no, f"table {table} is there twice: {earlier} and {match['qualified']}")
        return table, columns

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

    def _pass_over(self, line_no: int, text: str, lines: LineReader) -> None:
        """Reads to the end of a statement that carries no data."""
        if not PASSED_OVER.match(text):
            hint = "; make the dump without --inserts" if text.startswith("INSERT ") else ""
            self._refuse(line_no, f"a statement that is not known: {text[:80]!r}{hint}")
        encoding = ENCODING.match(text)
        if encoding is not None and encoding["encoding"] != "UTF8":
            reason = f"the dump is in {encoding['encoding']}; expected UTF8 (pg_dump --encoding=UTF8)"
            self._refuse(line_no, reason)
        quote = open_quote_after(text, None)
        ended = quote is None and text.endswith(";")
        while not ended and (following_no := lines.line) and (following := lines.take(1)):
            inner = self._decode(following_no, following)
            quote = open_quote_after(inner, quote)
            ended = quote is None and inner.endswith(";")
        if ended:
            return
        self._refuse(line_no, f"the dump ends inside a statement: {text[:80]!r}")

    def _decode(self, line_no: int, line: bytes) -> str:
        try:
            return line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            self._refuse(line_no, f"not UTF-8: byte 0x{error.object[error.start]:02x}")

    def _refuse(self, line_no: int, reason: str, column: str | None = None) -> NoReturn:
        raise FileRejected(RowError(self.name, line_no, column, None, reason))


def is_dump(content: Peekable) -> bool:
    """Whether it begins as no file of prices does, but as a dump: with a comment, a command, a statement."""
    head = content.peek(HEAD_BYTES)
    line = head.lstrip().partition(b"\n")[0].decode(errors="replace").rstrip("\r")
    known = META_COMMAND.fullmatch(line) or PASSED_OVER.match(line)
    return head.startswith(ARCHIVE) or line.startswith((COMMENT, "COPY ")) or known is not None


def open_quote_after(text: str, quote: str | None) -> str | None:
    """The quote that is open where `text` ends, `quote` being open where it begins: ', ", $…$ or none."""
    at = 0
    while True:
        if quote is None:
            match = QUOTE_OR_COMMENT.search(text, at)
            if match is None or match.group() == "--":
                return None
            at, quote = match.end(), match.group()
        end = text.find(quote, at)
        if end < 0:
            return quote
        at, quote = end + len(quote), None


def check_tree(dump: Dump) -> None:
    """Raises FileRejected unless every parent in the dump is a region of it, nothing stands twice, no region
    is its own ancestor, and no region has a port's code."""
    parents = {region.slug: region.parent_slug for region in dump.places.regions}
    codes = {port.code for port in dump.places.ports}
    faults = [
        f"region {slug!r} is there twice" for slug in repeated(region.slug for region in dump.places.regions)
    ]
    faults += [f"port {code!r} is there twice" for code in repeated(port.code for port in dump.places.ports)]
    faults += [f"{code!r} is a region and a port" for code in sorted(parents.keys() & codes)]
    named = [(f"region {slug!r}", parent) for slug, parent in parents.items() if parent is not None]
    named += [(f"port {port.code!r}", port.parent_slug) for port in dump.places.ports]
    faults += [
        f"{child} lies in region {parent!r}, which is not there"
        for child, parent in named
        if parent not in parents
    ]
    faults += [f"region {slug!r} lies in itself" for slug in parents if lies_in_itself(slug, parents)]
    if faults:
        raise FileRejected(RowError(dump.name, 1, None, None, "; ".join(faults[:10])))


def repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def lies_in_itself(slug: str, parents: dict[str, str | None]) -> bool:
    above, seen = parents[slug], set()
    while above is not None and above not in seen:
        if above == slug:
            return True
        seen.add(above)
        above = parents.get(above)
    return False


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
