"""The page of all settings: up to date, and complete."""

from stacks.mock_engine import ROOT, STACKS, read_yaml
from stacks.settings import document, groups


def test_the_page_in_the_documentation_is_what_the_stack_files_say() -> None:
    assert (ROOT / "docs/settings.md").read_text() == document(), "docs/settings.md: run `make stacks`"


def test_every_setting_is_below_a_heading() -> None:
    found = groups((ROOT / "Pulumi.yaml").read_text())

    assert "" not in found
    assert [key for keys in found.values() for key in keys] == list(read_yaml("Pulumi.yaml")["config"])


def test_a_key_above_the_first_heading_is_not_lost() -> None:
    assert groups("name: x\nconfig:\n  a:\n    type: b\n  # One\n  c:\n") == {"": ["a"], "One": ["c"]}


def test_every_row_has_all_its_cells() -> None:
    rows = [line for line in document().splitlines() if line.startswith("|")]

    assert {line.replace("\\|", "").count("|") for line in rows} == {len(STACKS) + 5}


def test_what_a_stack_says_stands_in_its_column() -> None:
    (row,) = [line for line in document().splitlines() if line.startswith("| `zones` |")]

    assert row.endswith("|  |  | `3` |")
