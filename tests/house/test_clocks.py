"""No test asserts speed: a slow machine passes all of them (`tests.house.clocks`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.clocks import timed
from tests.house.files import ROOT, our_files

SEEDED = {
    "a clock's difference": """
import time

def test_it_is_quick():
    began = time.monotonic()
    work()
    assert time.monotonic() - began < 2
""",
    "by way of a name and a constant": """
import time

QUICK_S = 0.5

def test_it_is_quick():
    began = time.perf_counter()
    work()
    needed = time.perf_counter() - began
    assert max(needed, 0) <= 2 * QUICK_S
""",
    "seconds that another tells": """
def test_it_is_quick():
    answer = load()
    assert 0 < answer["publish_seconds"] < 0.05
""",
    "the other way round": """
def test_it_is_quick():
    assert 5 > slowest_s
""",
    "against a constant of seconds, whatever the name": """
FRESH_S = 0.1

def test_it_is_quick():
    assert delays[len(delays) // 2] < FRESH_S
""",
    "about so many": """
import pytest

def test_it_is_so_late():
    assert late_s == pytest.approx(10, abs=1)
""",
    "a wait that is short": """
def test_it_comes_soon():
    wait_until(lambda: come, timeout_s=5)
""",
}
SOUND = """
import time

DEADLINE_S, POLL_S = 60, 0.1

def test_it_ends_at_all():
    began = time.monotonic()
    wait_until(lambda: come)
    assert time.monotonic() - began < DEADLINE_S
    assert time.monotonic() - began >= 0.2
    assert slow_s > 5 * quick_s
    assert timeouts.DRAIN_S < timeouts.STOP_S
    assert clock.seconds_left == 10
    assert late_s == pytest.approx(other_s, rel=0.1)
"""


def test_no_test_asserts_speed() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in our_files(ROOT / "tests", "*.py")
        for fault in timed(path)
    ]
    assert found == [], (
        "measure it in `make bench`, or ask for an order, a ratio, or a bound of half a minute"
    )


@pytest.mark.parametrize("source", SEEDED.values(), ids=SEEDED.keys())
def test_a_timed_test_is_found(source: str, tmp_path: Path) -> None:
    module = tmp_path / "test_seeded.py"
    module.write_text(source)
    assert len(timed(module)) == 1


def test_what_waits_or_compares_two_measurements_is_no_timed_test(tmp_path: Path) -> None:
    module = tmp_path / "test_sound.py"
    module.write_text(SOUND)
    assert timed(module) == []
