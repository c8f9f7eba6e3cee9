"""What becomes of a dump's statements beside its rows: passed over, in silence or told of, or refused.

None is ever run: the schema here is the migrations', and all that is wanted of a dump are its rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = r'(?:"(?:[^"]|"")+"|\w+)'
QUALIFIED = rf"{NAME}(?:\.{NAME})?"
TABLE_WORDS = r"(?:(?:TABLE|ONLY|IF EXISTS|IF NOT EXISTS) )*"
# What every dump has, or what only says how tables are kept.
USUAL = re.compile(
    r"(?:SET|RESET|BEGIN|START TRANSACTION|COMMIT|ANALYZE|COMMENT ON|GRANT|REVOKE|SECURITY LABEL)\b"
    r"|(?:ALTER|DROP)\b|SELECT (?:\* FROM )?pg_catalog\."
    r"|CREATE (?:UNLOGGED TABLE|UNIQUE INDEX|TABLE|INDEX|SCHEMA|SEQUENCE|EXTENSION)\b"
    r"|CREATE (?:DATABASE|ROLE|TABLESPACE)\b",
    re.IGNORECASE,
)
# What a database has besides: who sends the dump may miss it.
MORE_WORDS = "CONSTRAINT|DATA|EVENT|FOREIGN|MATERIALIZED|OPERATOR|PROCEDURAL|TEXT|SEARCH|TRUSTED|USER"
CREATION = rf"CREATE (?:OR REPLACE )?(?:(?:{MORE_WORDS}) )*[A-Z]+"
BESIDES = re.compile(
    rf"(?:{CREATION}|REFRESH MATERIALIZED VIEW|INSERT INTO|UPDATE|DELETE FROM|TRUNCATE)\b", re.IGNORECASE
)
INSERT = re.compile(rf"INSERT INTO {TABLE_WORDS}(?P<table>{QUALIFIED})", re.IGNORECASE)
CHANGE = re.compile(
    rf"(?:DROP TABLE|TRUNCATE|DELETE FROM|UPDATE) {TABLE_WORDS}(?P<table>{QUALIFIED})", re.IGNORECASE
)
# After it, rows that stand above it are not there either.
UNDOING = re.compile(r"DROP (?:DATABASE|SCHEMA|OWNED)\b", re.IGNORECASE)
# A table whose rows are also another's.
PARTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"ALTER TABLE {TABLE_WORDS}(?P<whole>{QUALIFIED}) ATTACH PARTITION (?P<part>{QUALIFIED})",
        rf"CREATE (?:UNLOGGED )?TABLE (?P<part>{QUALIFIED}) PARTITION OF (?P<whole>{QUALIFIED})",
        rf"CREATE (?:UNLOGGED )?TABLE (?P<part>{QUALIFIED}) .*INHERITS \((?P<whole>{QUALIFIED})",
    )
)
ENCODING = re.compile(
    r"(?:SET (?:(?:SESSION|LOCAL) )?client_encoding ?(?:=|TO) ?|SET NAMES |\\encoding "
    r"|SELECT (?:pg_catalog\.)?set_config ?\( ?'client_encoding' ?, ?)(?P<name>'[^']*'|\"[^\"]*\"|[\w-]+)",
    re.IGNORECASE,
)
# psql's own commands that dumps have: what newer ones wrap themselves in, and whose database follows.
COMMAND = re.compile(r"\\(?:(?:un)?restrict \w+|encoding \S+)")
CONNECT = re.compile(r"\\c(?:onnect)? (?P<database>.+)")


@dataclass(frozen=True)
class Table:
    """A name as the dump has it; `own` is without schema and quotes."""

    qualified: str

    @property
    def own(self) -> str:
        return self.parts[-1]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part.strip('"').replace('""', '"') for part in re.findall(NAME, self.qualified))


def part_of(text: str) -> tuple[Table, Table] | None:
    """(a table, the one whose rows its rows are as well), where a statement says so of two."""
    for pattern in PARTS:
        if found := pattern.match(text):
            return Table(found["part"]), Table(found["whole"])
    return None


def kind_of(text: str) -> str | None:
    """What is told of a statement that is passed over, "" where nothing is; None where it is not known."""
    if USUAL.match(text):
        return ""
    found = BESIDES.match(text)
    return " ".join(found.group().upper().split()) if found else None


def encoding_in(text: str) -> str | None:
    """The client's encoding from here on, as the dump spells it."""
    found = ENCODING.match(text)
    return found["name"].strip("'\"") if found else None
