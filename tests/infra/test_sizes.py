"""The table of what differs between the stacks: it is up to date, and they do differ where they should."""

import pytest

from stacks.mock_engine import ROOT, STACKS, declared, run_stack
from stacks.sizes import document, sizes

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
    "Pulumi refuses to delete database and bucket": ("no", "no", "yes"),
    "A deleted database leaves a snapshot": ("no", "yes", "yes"),
    "A deleted database leaves its backups": ("no", "no", "yes"),
    "Changes that restart the database": ("at once", "in the weekly window", "in the weekly window"),
    "A new copy starts with": ("the sample", "nothing", "nothing"),
    "Batches kept": ("30 days, 7 after deletion", "30 days, 7 after deletion", "365 days, 30 after deletion"),
    "Images kept": ("20", "20", "100"),
    "API tasks": ("1 to 2", "2 to 4", "3 to 30"),
    "An API task": ("0.25 vCPU, 0.5 GiB", "0.25 vCPU, 0.5 GiB", "1 vCPU, 2 GiB"),
    "API on spare capacity": ("yes", "no", "no"),
    "Loader tasks": ("0 to 2", "1 to 4", "2 to 50"),
    "A loader task": ("1 vCPU, 2 GiB", "1 vCPU, 2 GiB", "2 vCPU, 4 GiB"),
    "Disk of a loader task": ("21 GiB", "21 GiB", "50 GiB"),
    "Loader on spare capacity": ("yes", "no", "no"),
    "Stopped at night and at weekends": ("yes", "no", "no"),
    "A bastion for people": ("no", "no", "no"),
    "Logs of the services": ("7 days", "14 days", "90 days"),
    "Reached over": ("HTTP", "HTTPS", "HTTPS"),
    "Requests of an address in 5 minutes": ("any number", "20000", "20000"),
    "Record of requests": ("no", "7 days", "90 days"),
    "Reading batches takes a token": ("yes", "yes", "yes"),
    "How new API tasks take over": ("rolling", "rolling", "rolling"),
    "Alarms": ("no", "yes, told to nobody yet", "yes, by email"),
    "Dashboard": ("no", "yes", "yes"),
    "Tasks counted and measured one by one": ("no", "yes", "yes"),
    "AWS refuses to delete the load balancer": ("no", "no", "yes"),
}


@pytest.fixture(scope="module")
def table() -> dict[str, dict[str, str]]:
    return sizes({stack: declared(stack) for stack in STACKS})


def test_the_stacks_differ_in_size_and_nothing_else(table: dict[str, dict[str, str]]) -> None:
    assert {row: tuple(cells.values()) for row, cells in table.items()} == EXPECTED, document(table)


def test_the_table_in_the_documentation_is_the_one_that_is_declared(table: dict[str, dict[str, str]]) -> None:
    assert (ROOT / "docs/stacks.md").read_text() == document(table), "docs/stacks.md: run `make stacks`"


def test_an_aurora_stack_has_a_table_too() -> None:
    cells = {row: cells["aurora"] for row, cells in sizes({"aurora": declared("aurora")}).items()}

    assert cells["Database engine"] == "aurora-postgresql 18"
    assert cells["Database server"] == "0 to 4 ACU"
    assert cells["Database storage"] == "as needed"
    assert cells["Standby in another zone"] == "no"


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        ("none", "nothing"),
        ("s3://elsewhere/monday.sql", "a dump"),
        ("arn:aws:rds:eu-west-1:123456789012:snapshot:monday", "a snapshot"),
    ],
)
def test_the_table_says_what_a_new_copy_starts_with(seed: str, said: str) -> None:
    table = sizes({"dev": run_stack("dev", changes={"seed": seed})})

    assert table["A new copy starts with"]["dev"] == said
