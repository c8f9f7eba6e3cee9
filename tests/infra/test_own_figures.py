"""What alarms and the dashboard show of the programs is what the programs really count.

CloudWatch takes any name: a graph of a figure that nobody counts is empty, and its alarm never sounds.
"""

import re

import pytest

from infra.metrics import API, LOADER, OWN
from loader.schedule import COUNTED
from stacks import usage
from stacks.mock_engine import ROOT, declared
from tests.infra.test_dashboard import shown

# As `telemetry.metrics.emit` takes it: `"name": (value, unit)`, or set on its own.
FIGURE = re.compile(r'"(\w+)"(?:: |\] = )\(')


def counted(program: str) -> set[str]:
    """The figures in the modules of a program that count some."""
    texts = [path.read_text() for path in (ROOT / program).rglob("*.py")]
    named = {name for text in texts if "from telemetry.metrics" in text for name in FIGURE.findall(text)}
    return named | ({f"batches_{state}" for state in COUNTED} if program == LOADER else set())


@pytest.mark.parametrize("stack", ["prod", "staging"])
@pytest.mark.parametrize("program", [API, LOADER])
def test_what_is_shown_and_watched_of_a_program_is_what_it_counts(program: str, stack: str) -> None:
    of_it = {"service": program, "stack": stack}
    run = declared(stack)
    seen = {name for namespace, name, dimensions in shown(run) if (namespace, dimensions) == (OWN, of_it)}
    assert seen
    assert seen <= counted(program)


def test_all_that_is_counted_is_in_the_cost() -> None:
    assert len(counted(API)) == usage.FIGURES_API
    assert len(counted(LOADER)) == usage.FIGURES_LOADER
