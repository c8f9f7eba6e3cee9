"""The table of what differs between the stacks: it is up to date, and they do differ where they should."""

import pytest

from tests.infra.engine import ROOT, STACKS, declared
from tests.infra.sizes import document, sizes

# From the cheapest that works to what customers rely on.
EXPECTED = {
    "Availability zones": ("2", "2", "3"),
    "NAT gateways": ("0", "1", "3"),
    "Subnets of the tasks": ("public", "private", "private"),
    "Log of refused connections": ("no", "7 days", "30 days"),
    "Database engine": ("postgres 18", "postgres 18", "postgres 18"),
    "Database server": ("db.t4g.micro", "db.t4g.small", "db.r8g.large"),
    "Standby in another zone": ("no", "yes", "yes"),
    "Database storage": ("20 GiB, grows to 50", "50 GiB, grows to 200", "400 GiB, grows to 2000"),
    "Backups kept": ("1 day", "7 days", "14 days"),
    "AWS refuses to delete the database": ("no", "no", "yes"),
    "Pulumi refuses to delete the database": ("no", "no", "yes"),
    "A deleted database leaves a snapshot": ("no", "yes", "yes"),
    "A deleted database leaves its backups": ("no", "no", "yes"),
    "Changes that restart the database": ("at once", "in the weekly window", "in the weekly window"),
}


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, str]]:
    return sizes({stack: declared(stack) for stack in STACKS})


def test_the_stacks_differ_in_size_and_nothing_else(table: dict[str, dict[str, str]]) -> None:
    assert {row: tuple(cells.values()) for row, cells in table.items()} == EXPECTED, document(table)


def test_the_table_in_the_documentation_is_the_one_that_is_declared(table: dict[str, dict[str, str]]) -> None:
    assert (ROOT / "docs/stacks.md").read_text() == document(table), document(table)


def test_an_aurora_stack_has_a_table_too() -> None:
    cells = {row: cells["aurora"] for row, cells in sizes({"aurora": declared("aurora")}).items()}

    assert cells["Database engine"] == "aurora-postgresql 18"
    assert cells["Database server"] == "0 to 4 ACU"
    assert cells["Database storage"] == "as needed"
    assert cells["Standby in another zone"] == "no"
