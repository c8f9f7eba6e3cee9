"""The end of copies on Pulumi's real engine: what is past its last day goes, and only when told."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from stacks.copies import Wanted, make_copy
from stacks.reap import Pulumi, reap
from tests.engine.stack import Stack

pytestmark = pytest.mark.needs("pulumi")

MADE = datetime.date(2030, 1, 1)
TODAY = datetime.date(2030, 1, 20)
PAST, LATER = 14, 30  # days


def copied(stack: Stack, name: str, days: int) -> Stack:
    """A copy of dev that is up."""
    make_copy(stack.project, Wanted(name, "dev", "anna@example.com", days), MADE)
    return brought_up(stack.beside(name))


def brought_up(stack: Stack) -> Stack:
    ended = stack.pulumi("up", "--yes", "--skip-preview")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return stack


def reaped(stack: Stack, destroy: bool = False) -> int:
    with patch.dict(os.environ, stack.environment(), clear=True):
        return reap(stack.project, TODAY, destroy)


def state(stack: Stack) -> list[dict[str, Any]]:
    said = stack.pulumi("stack", "export")
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout)["deployment"].get("resources", [])


def stacks(stack: Stack) -> set[str]:
    with patch.dict(os.environ, stack.environment(), clear=True):
        return {each["name"] for each in Pulumi(stack.project).read("stack", "ls", "--json")}


def test_what_is_past_its_last_day_is_listed_and_goes_when_told_and_nothing_else_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prod = brought_up(Stack(tmp_path / "stacks", "prod"))
    past, kept = copied(prod, "dev-past", PAST), copied(prod, "dev-kept", LATER)
    guarded = copied(prod, "dev-guarded", PAST)
    (bucket,) = [each["urn"] for each in state(guarded) if each["type"] == "aws:s3/bucket:Bucket"]
    guarded.pulumi("state", "protect", bucket, "--yes").check_returncode()
    prod.beside("dev-empty")
    before = {each: state(each) for each in (prod, past, kept, guarded)}
    # The file of a copy may be on another person's machine only.
    (prod.project / "Pulumi.dev-past.yaml").unlink()
    capfd.readouterr()

    assert reaped(prod) == 0

    said = capfd.readouterr().out
    assert "dev-past (anna@example.com): past its last day, 2030-01-15, by 5 days\n  goes with it: " in said
    assert " 1 rds.Instance, " in said
    assert "dev-kept (anna@example.com): 11 days left, until 2030-01-31\n" in said
    assert "by 5 days, but protected, so never destroyed here: s3.Bucket rates-dev-guarded-batches\n" in said
    assert "prod (rates): production, never destroyed here\n" in said
    assert "dev-empty (owner unknown): holds nothing\n" in said
    assert said.endswith("nothing was destroyed. `make reap DESTROY=1` destroys dev-past\n")
    assert {each: state(each) for each in before} == before

    assert reaped(prod, destroy=True) == 0

    assert "dev-past: is gone\n" in capfd.readouterr().out
    assert stacks(prod) == {"dev-empty", "dev-guarded", "dev-kept", "prod"}
    del before[past]
    assert {each: state(each) for each in before} == before


def test_a_copy_that_cannot_be_destroyed_is_named_and_the_next_one_goes_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dev = Stack(tmp_path / "stacks", "dev")
    copied(dev, "dev-busy", PAST)
    copied(dev, "dev-next", PAST)
    # As somebody's `pulumi up` that is under way holds it.
    lock = tmp_path / "stacks/state/.pulumi/locks/organization/rates/dev-busy/someone.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(
        json.dumps({"pid": 1, "username": "anna", "hostname": "h", "timestamp": f"{TODAY}T10:00:00Z"})
    )
    capfd.readouterr()

    assert reaped(dev, destroy=True) == 1

    said = capfd.readouterr()
    assert "locked" in said.out + said.err
    assert "dev-busy: pulumi destroy failed\n" in said.out
    assert "dev-next: is gone\n" in said.out
    assert said.err.endswith("make reap: failed with dev-busy: what Pulumi said is above\n")
    assert stacks(dev) == {"dev", "dev-busy"}
