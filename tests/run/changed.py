"""`python -m tests.run.changed [BASE]`: the test files of what differs from BASE (main), a line each.

A test file is near to a module that it imports, or that it starts as a process, and further from what these
import in turn. First comes the one of the same name (`tests/infra/test_database.py` for `infra/database.py`),
then the nearest, as many as take SECONDS_MAX together; the rest is named on stderr.
`make test CHANGED=1` runs them.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.house.files import ROOT, our_files, parsed
from tests.run.order import QUICK_S, seconds_of_files

# Of tests, which two processors then run within a minute.
SECONDS_MAX = 75
# Checks of every file, whatever differs.
ALWAYS = "tests/house"
# What a stack's file says is read by the program and by the commands about stacks.
READ_BY = {"Pulumi": ("infra", "stacks")}

Graph = Mapping[Path, set[Path]]


def main(base: str = "main") -> int:
    changed = changed_files(base)
    if not changed:
        sys.stderr.write(f"nothing differs from {base}: there is no test to run\n")
        return 0
    ranked = ranked_tests(changed, users_of(our_files()))
    chosen, left_out = within_budget(ranked, seconds_of_files())
    for path in chosen:
        sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"{len(changed)} files differ from {base}: {len(chosen)} test files are near enough\n")
    if left_out:
        sys.stderr.write(f"not run, as they are further away: {' '.join(map(str, left_out))}\n")
    return 0


def ranked_tests(changed: set[Path], users: Graph) -> list[Path]:
    """All that are reached, and those of the same name, the nearest first."""
    own = {path for path in map(own_test, changed) if (ROOT / path).is_file()}
    near = distances(changed, users) | dict.fromkeys(own, 0)
    return sorted(filter(is_test, near), key=lambda path: (near[path], *strangeness(path, changed), path))


def own_test(path: Path) -> Path:
    return Path("tests", path.parent, f"test_{path.stem}.py")


def changed_files(base: str) -> set[Path]:
    """What differs from where this branch left `base`, committed or not, new files too; from the root."""
    fork = git("merge-base", "HEAD", resolved(base)).strip()
    named = git("diff", "--name-only", fork) + git("ls-files", "--others", "--exclude-standard")
    return {Path(line) for line in named.splitlines()}


def resolved(base: str) -> str:
    """A clone may have the branch as the remote's only."""
    known = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", base], cwd=ROOT, capture_output=True, check=False
    )
    return base if known.returncode == 0 else f"origin/{base}"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def is_test(path: Path) -> bool:
    return path.parts[0] == "tests" and path.name.startswith("test_") and path.suffix == ".py"


def strangeness(test: Path, changed: set[Path]) -> tuple[bool, bool]:
    """Of files as near, `test_totals.py` is first for a change of `totals.py`, then the package's own."""
    named_after = test.stem.removeprefix("test_") in {path.stem for path in changed}
    of_the_package = test.parts[1] in {path.parts[0] for path in changed}
    return not named_after, not of_the_package


def within_budget(ranked: list[Path], seconds: Mapping[str, float]) -> tuple[list[Path], list[Path]]:
    """(what is run, what is not): the nearest file always is."""
    chosen: list[Path] = [Path(ALWAYS)]
    left_out, spent = [], 0.0
    for path in ranked:
        if path.is_relative_to(ALWAYS):
            continue
        cost = seconds.get(str(path), QUICK_S / 2)
        if spent + cost > SECONDS_MAX and len(chosen) > 1:
            left_out.append(path)
        else:
            chosen.append(path)
            spent += cost
    return chosen, left_out


# --- who uses what -----------------------------------------------------------------------------------------


def distances(changed: set[Path], users: Graph) -> dict[Path, int]:
    """How many steps each file is away from the nearest one that changed: 0 for these."""
    found = dict.fromkeys(changed, 0)
    edge, step = changed, 0
    while edge:
        step += 1
        edge = {user for path in edge for user in users.get(path, ())} - found.keys()
        found |= dict.fromkeys(edge, step)
    return found


def users_of(paths: list[Path]) -> Graph:
    """Each file of the project, and the modules that import, start or name it."""
    files = {path.relative_to(ROOT) for path in paths}
    python = frozenset(path for path in files if path.suffix == ".py")
    users: dict[Path, set[Path]] = defaultdict(set)
    by_name: dict[str, set[Path]] = defaultdict(set)
    for path in files - python:
        by_name[path.name].add(path)
        by_name[path.stem].add(path)
    for module in python:
        nodes = list(ast.walk(parsed(ROOT / module)))
        texts = list(strings(nodes))
        for used in {*imported(nodes, python), *started(texts, python), *conftests(module, python)}:
            users[used].add(module)
        for text in texts:
            for named in by_name.get(text.rpartition("/")[2], ()):
                if named.parts[0] in {module.parts[0], module.parts[-2]} or len(named.parts) == 1:
                    users[named].add(module)
    for path in files - python:
        folders = READ_BY.get(path.name.partition(".")[0], () if path in users else path.parts[:1])
        users[path] |= {module for module in python if module.parts[0] in folders}
    return users


def imported(nodes: list[ast.AST], python: frozenset[Path]) -> Iterator[Path]:
    """Modules of ours that are imported, at the top or later, and the packages that they are in."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                dotted = [each.name for each in names]
            case ast.ImportFrom(module=str(module), level=0, names=names):
                dotted = [module, *(f"{module}.{each.name}" for each in names)]
            case _:
                continue
        for name in dotted:
            yield from files_of(name, python)


def started(texts: list[str], python: frozenset[Path]) -> Iterator[Path]:
    """Modules that are named in a string, as for another process: "api.wsgi:app", or "loader" after "-m"."""
    before = ""
    for text in texts:
        name = text.removeprefix("python:").partition(":")[0]
        if "." in name and all(part.isidentifier() for part in name.split(".")):
            yield from files_of(name, python)
        elif before == "-m" and text.isidentifier():
            yield from files_of(f"{text}.__main__", python)
        before = text


def conftests(module: Path, python: frozenset[Path]) -> Iterator[Path]:
    """pytest imports them for each test below their folder."""
    if is_test(module):
        yield from (folder / "conftest.py" for folder in module.parents if folder / "conftest.py" in python)


@cache
def files_of(name: str, python: frozenset[Path]) -> frozenset[Path]:
    """The files of a module and of the packages around it; of another name, of a function say, none."""
    parts = name.split(".")
    folders = [Path(*parts[:length]) for length in range(1, len(parts) + 1)]
    return python & {file for each in folders for file in (each.with_suffix(".py"), each / "__init__.py")}


def strings(nodes: list[ast.AST]) -> Iterator[str]:
    """Also of bytes, as statements for libpq are named."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
