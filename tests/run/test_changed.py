"""`make test CHANGED=1` finds the tests of what differs: by imports, and by processes and files named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.build_files import copy_of_the_repository
from tests.house.files import our_files
from tests.run.changed import (
    SECONDS_MAX,
    Graph,
    distances,
    is_test,
    ranked_tests,
    users_of,
    within_budget,
)

QUICK, LONG = Path("tests/api/test_quick.py"), Path("tests/api/test_long.py")


@pytest.fixture(scope="module")
def users() -> Graph:
    return users_of(our_files())


def near(users: Graph, changed: str) -> dict[str, int]:
    return {str(path): steps for path, steps in distances({Path(changed)}, users).items() if is_test(path)}


@pytest.mark.parametrize(
    ("changed", "test", "steps"),
    [
        ("loader/dump.py", "tests/loader/test_dump.py", 1),  # imports it
        ("api/wsgi.py", "tests/api/test_rates.py", 2),  # asks `Service`, which starts it
        ("loader/__main__.py", "tests/loader/test_command_line.py", 2),  # starts it by `-m`
        ("loader/sql/next_chunk.sql", "tests/loader/test_schedule.py", 2),  # of `schedule`, which asks it
        ("api/sql/lane_totals.sql", "tests/api/test_totals.py", 2),
        ("delivery/images.yml", "tests/delivery/test_build_files.py", 1),
        ("Pulumi.prod.yaml", "tests/infra/test_program.py", 2),
        ("tests/api/conftest.py", "tests/api/test_rates.py", 1),
    ],
)
def test_a_test_is_as_near_as_the_steps_to_what_differs(
    users: Graph, changed: str, test: str, steps: int
) -> None:
    assert near(users, changed)[test] <= steps


@pytest.mark.parametrize("changed", ["infra/database.py", "loader/withdraw.py", "storage/messages.py"])
def test_the_test_of_the_same_name_is_first_however_it_gets_there(users: Graph, changed: str) -> None:
    """`infra` is run as a program, which imports its parts."""
    first, *_ = ranked_tests({Path(changed)}, users)
    own = Path("tests", changed).with_name(f"test_{Path(changed).name}")
    assert first == own


def test_what_nothing_reaches_is_not_run(users: Graph) -> None:
    found = near(users, "infra/timeouts.py")
    assert "tests/infra/test_timeouts.py" in found
    assert not [test for test in found if test.startswith("tests/loader/")]


def test_the_furthest_are_left_out_where_all_would_take_too_long() -> None:
    seconds = {str(LONG): SECONDS_MAX}
    chosen, left_out = within_budget([QUICK, LONG], seconds)
    assert (chosen[1:], left_out) == ([QUICK], [LONG])
    assert within_budget([LONG, QUICK], seconds)[0][1:] == [LONG], "the nearest one is run, however long"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


def test_files_that_differ_from_main_are_found_committed_or_not(tmp_path: Path) -> None:
    copy_of_the_repository(tmp_path)
    git = ("git", "-c", "user.name=tests", "-c", "user.email=tests@example.com")
    run(tmp_path, *git, "init", "--quiet", "--initial-branch=main")
    run(tmp_path, *git, "add", "--all")
    run(tmp_path, *git, "commit", "--quiet", "--message=all")

    def changed() -> subprocess.CompletedProcess[str]:
        return run(tmp_path, sys.executable, "-m", "tests.run.changed")

    unchanged = changed()
    assert unchanged.stdout == ""
    assert unchanged.stderr == "nothing differs from main: there is no test to run\n"

    run(tmp_path, *git, "switch", "--quiet", "--create=branch")
    with (tmp_path / "local/log.py").open("a") as module:
        module.write("# committed\n")
    run(tmp_path, *git, "commit", "--quiet", "--all", "--message=one")
    (tmp_path / "tests/access/test_new.py").write_text("def test_new():\n    pass\n")

    found = changed()
    assert found.stderr.startswith("2 files differ from main: ")
    assert {"tests/house", "tests/access/test_new.py"} <= {*found.stdout.split()}
    assert "tests/local/test_stack.py" in found.stdout + found.stderr, "there or named as left out"
    assert "tests/api/test_rates.py" not in found.stdout + found.stderr
