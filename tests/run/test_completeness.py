"""What cannot run on a machine is listed by name there, and fails a run that must be complete."""

from pathlib import Path

import pytest

from tests.run.sample import run_pytest

# As `make test` runs them.
SEVERAL = ("-n", "1")
LACKING = """
import pytest

@pytest.mark.needs({part!r})
def test_that_needs_it():
    pass

def test_that_needs_nothing():
    pass
"""
SKIPPING = """
import pytest

def test_that_skips():
    pytest.skip("no reason")
"""


@pytest.mark.parametrize(("part", "options"), [("no-such-program", ()), ("reference", SEVERAL)])
def test_a_test_that_lacks_its_part_is_listed_by_name(
    tmp_path: Path, part: str, options: tuple[str, ...]
) -> None:
    status, output = run_pytest(tmp_path, LACKING.format(part=part), *options)
    assert status == 0
    assert output.count(f"test_sample.py::test_that_needs_it (needs {part})") == 1
    assert "1 passed" in output


@pytest.mark.parametrize(("part", "options"), [("no-such-program", ()), ("reference", SEVERAL)])
def test_a_complete_run_fails_for_a_test_that_lacks_its_part(
    tmp_path: Path, part: str, options: tuple[str, ...]
) -> None:
    status, output = run_pytest(tmp_path, LACKING.format(part=part), *options, RATES_TESTS_COMPLETE="1")
    assert status == 1
    assert f"this run must be complete and lacks {part}" in output
    assert "1 passed, 1 error" in output


@pytest.mark.parametrize(
    ("part", "declared"),
    [
        ("reference", {"REFERENCE_DUMP": ""}),
        ("no-such-program", {"RATES_TESTS_ABSENT": "other no-such-program"}),
    ],
)
def test_a_complete_run_may_say_what_it_lacks(tmp_path: Path, part: str, declared: dict[str, str]) -> None:
    status, output = run_pytest(tmp_path, LACKING.format(part=part), RATES_TESTS_COMPLETE="1", **declared)
    assert status == 0
    assert f"test_that_needs_it (needs {part})" in output


def test_a_skipped_test_fails_a_complete_run_only(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SKIPPING)[0] == 0
    assert run_pytest(tmp_path, SKIPPING, *SEVERAL, RATES_TESTS_COMPLETE="1")[0] == 1
