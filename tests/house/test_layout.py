"""How the project's files are named and what stands at their top."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

from tests.house.files import ROOT, modules, our_files

# Of the contract: what people and checks from outside call.
TARGETS = ("up", "env", "test", "check", "bench", "preview", "cost", "copy", "reap")
# A name that says nothing of what is inside.
VAGUE = re.compile(r"(^|_)(utils?|helpers?|commons?|managers?|misc)(_|$)")
# A machine's own folders, and hosts that packages come from: what works for one person only.
OF_ONE_MACHINE = re.compile(
    r"/(?:home|Users)/[a-z]\w*/|/work/(?:main|shared)|(?:pypi|pythonhosted|artifactory|nexus|jfrog)\.[a-z]{2,}",
    re.IGNORECASE,
)
# BSD's tools, a Mac's, do otherwise or not at all: `wc` has blanks before its number, which $((…)) drops.
ONLY_GNU = re.compile(
    r"(?<!\$\(\()\$\(wc |\bsed (-\w+ )*-i |\bdate (-d|--date)|\bbase64 -w|\bstat (-c|--format)"
    r"|\breadlink -f|\bxargs (-\w+ )*-[rd]|\bgrep (-\w+ )*-\w*P|\bsort -V|\bhead -n -|\bcp --|\bsha256sum"
)
THIS_FILE = "tests/house/test_layout.py"


def test_every_module_opens_with_what_it_is_for() -> None:
    found = modules()
    assert len(found) > 50
    assert [str(path) for path, tree in found.items() if not ast.get_docstring(tree)] == []


def test_no_file_has_a_name_that_could_be_any_files() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in our_files()
        if any(VAGUE.search(part.partition(".")[0]) for part in path.relative_to(ROOT).parts)
    ]
    assert vague == []


def test_no_module_of_the_pulumi_program_hides_one_of_pythons() -> None:
    """Its folder comes first on the import path."""
    hidden = {path.stem for path in modules("infra")} & sys.stdlib_module_names
    assert hidden - {"__main__"} == set()


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in our_files():
        name = str(path.relative_to(ROOT))
        text = path.read_bytes().decode(errors="replace")
        if name != THIS_FILE:
            found += [f"{name}: {match.group()}" for match in OF_ONE_MACHINE.finditer(text)]
    assert found == []


def test_what_people_type_works_with_bsds_tools_too() -> None:
    found = []
    for path in our_files():
        if path.suffix == ".md" or path.name == "Makefile":
            found += [f"{path}: {match.group()}" for match in ONLY_GNU.finditer(path.read_text())]
    assert found == []


def test_the_makefile_has_the_contracts_targets_and_lists_every_one() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    assert targets >= set(TARGETS)
    assert set(re.findall(r"^## ([a-z]+): \S", text, re.MULTILINE)) == targets - {"help"}
    assert set(re.findall(r"^\.PHONY: ([a-z]+)$", text, re.MULTILINE)) == targets


def test_the_changelog_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[?v?([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:1] == [version]
