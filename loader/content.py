"""What a batch's content is and how it is read, as its planner found out: kept in `plans.content`, with
`failure`, what the last try to plan it ended with.

`plan` writes it down once a batch, `planned` reads every chunk by it, `publish` gets the places of a dump.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from loader.chunks import COLUMNS
from loader.places import Places


class Section(msgspec.Struct, frozen=True):
    """Rows of a dump from `first_line` on, with their columns from left to right."""

    first_line: int
    columns: tuple[str, ...]


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """The object of a batch, held fast by its `etag`; `size` is in bytes as it is stored.

    `source` is what the sender calls it. `columns`, `separator` and `quoted` say how a line of delimited
    content is read; a dump has `sections` instead of columns, and `places`, which go in with its prices.
    """

    bucket: str
    key: str
    etag: str
    size: int
    source: str
    kind: Literal["delimited", "ndjson", "parquet"]
    columns: tuple[str, ...] = COLUMNS
    separator: str = ","
    quoted: bool = True
    sections: tuple[Section, ...] = ()
    places: Places = msgspec.field(default_factory=Places)

    @property
    def from_dump(self) -> bool:
        return bool(self.sections or self.places.regions or self.places.ports)

    def columns_at(self, line: int) -> tuple[str, ...]:
        """From left to right, in the rows that this line begins."""
        begun = [section.columns for section in self.sections if section.first_line <= line]
        return begun[-1] if begun else self.columns


def encode_content(content: Content) -> str:
    """As JSON, for `plans.content`."""
    return msgspec.json.encode(content).decode()


def decode_content(value: Any) -> Content:
    """What psycopg has read out of `plans.content`."""
    return msgspec.convert(value, Content)
