"""docs/formats.md, made of the cases: `make formats` writes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tests.loader.cases.addresses import ADDRESS_CASES
from tests.loader.cases.case import TAKEN, Case
from tests.loader.cases.delimited import CSV_CASES
from tests.loader.cases.dumps import DUMP_CASES, OF_IMPORT_CASES, OF_LOAD_CASES
from tests.loader.cases.mistaken import MISTAKEN_CASES
from tests.loader.cases.ndjson import NDJSON_CASES
from tests.loader.cases.packed import PACKING_CASES
from tests.loader.cases.parquet import PARQUET_CASES

PAGE_HEAD = """\
# What is taken and what is refused

A format is told by how the bytes begin, never by a name: on disk, through a pipe, in S3 and over HTTP alike. Each line
below is tried, plain or packed as it says (`tests/loader/test_format_cases.py`); `make formats` writes this page anew
from the same cases. Of what is refused no row goes in. Its fault begins with the words shown.

**The header alone tells the separator.** Commas, semicolons, tabs and bars are taken where the header, parted by one of
them, is the four columns. Prices are whole numbers, so no comma in a value can be a decimal point: such a price is
refused with its row. A first line `sep=;` is passed over.
"""  # noqa: E501


@dataclass(frozen=True)
class Group:
    """Cases that are given to one of the `commands`, `http` among them."""

    name: str
    cases: list[Case]
    commands: tuple[str, ...]


GROUPS = [
    Group("CSV", CSV_CASES, ("load", "http")),
    Group("NDJSON", NDJSON_CASES, ("load", "http")),
    Group("Parquet", PARQUET_CASES, ("load", "http")),
    Group("gzip and zstd", PACKING_CASES, ("load", "http")),
    Group("Dumps", DUMP_CASES, ("import", "http")),
    Group("What is sent by mistake", MISTAKEN_CASES, ("load", "import", "http")),
    Group("What the other command takes", OF_LOAD_CASES, ("import",)),
    Group("And the other way round", OF_IMPORT_CASES, ("load",)),
]
SPELLED = {"load": "to `loader load`", "import": "to `loader import`", "http": "over HTTP"}


def page() -> str:
    """docs/formats.md."""
    return "\n".join([PAGE_HEAD, *lines_of_page()])


def lines_of_page() -> Iterator[str]:
    for group in GROUPS:
        given = f"Given {' or '.join(SPELLED[command] for command in group.commands)}:"
        yield from [f"## {group.name}", "", given, ""]
        yield from ["| given | tried | | fault begins |", "|---|---|---|---|"]
        for case in group.cases:
            yield row(case.given, ", ".join(case.packings), *ending(case.outcome))
        yield ""
    yield from ["## Names", "", "| given | | fault begins behind the name |", "|---|---|---|"]
    for case in ADDRESS_CASES:
        yield row(case.given, *ending(case.outcome))
    yield ""


def ending(outcome: str) -> tuple[str, str]:
    return (TAKEN, "") if outcome == TAKEN else ("refused", outcome)


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(page())
