"""The end of copies on Pulumi's real engine: what is past its last day goes, and only when told.

All but one are of a small program, which has of the real one what `make reap` looks at.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from stacks.copies import Wanted, make_copy
from stacks.reap import Pulumi, reap
from tests.engine.commands import brought_up, operations
from tests.engine.stack import Stack

pytestmark = pytest.mark.needs("pulumi")

MADE = datetime.date(2030, 1, 1)
TODAY = datetime.date(2030, 1, 20)
PAST, LATER = 14, 30  # days


SMALL_PROGRAM = """
import pulumi
import pulumi_aws as aws

config, name = pulumi.Config(), f"{pulumi.get_project()}-{pulumi.get_stack()}"
production = config.require_bool("production")
key = aws.kms.Key(f"{name}-batches", opts=pulumi.ResourceOptions(protect=production))
aws.s3.Bucket(f"{name}-batches", opts=pulumi.ResourceOptions(protect=production))
aws.rds.Instance(f"{name}-database", instance_class="db.t4g.micro", kms_key_id=key.arn)
pulumi.export("owner", config.require("owner"))
pulumi.export("expires", config.get("expires") or "never")
pulumi.export("production", production)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "__main__.py").write_text(SMALL_PROGRAM)
    return folder


def copied(stack: Stack, name: str, days: int, **settings: str) -> Stack:
    """A copy of dev that is up."""
    make_copy(stack.project, Wanted(name, "dev", "anna@example.com", days), MADE)
    return brought_up(stack.beside(name), **settings)


def reaped(stack: Stack, destroy: bool = False) -> int:
    with patch.dict(os.environ, stack.environment(), clear=True):
        return reap(stack.project, TODAY, destroy)


def stacks(stack: Stack) -> set[str]:
    with patch.dict(os.environ, stack.environment(), clear=True):
        return {each["name"] for each in Pulumi(stack.project).read("stack", "ls", "--json")}


def test_what_is_past_its_last_day_is_listed_and_goes_when_told_and_nothing_else_does(
    tmp_path: Path, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prod = brought_up(Stack(tmp_path / "stacks", "prod", program))
    past, kept = copied(prod, "dev-past", PAST), copied(prod, "dev-kept", LATER)
    guarded = copied(prod, "dev-guarded", PAST)
    (bucket,) = [each["urn"] for each in guarded.held() if each["type"] == "aws:s3/bucket:Bucket"]
    guarded.pulumi("state", "protect", bucket, "--yes").check_returncode()
    prod.beside("dev-empty")
    before = {each: each.held() for each in (prod, past, kept, guarded)}
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
    assert {each: each.held() for each in before} == before

    assert reaped(prod, destroy=True) == 0

    assert "dev-past: is gone\n" in capfd.readouterr().out
    assert stacks(prod) == {"dev-empty", "dev-guarded", "dev-kept", "prod"}
    del before[past]
    assert {each: each.held() for each in before} == before


def test_a_copy_that_cannot_be_destroyed_is_named_and_the_next_one_goes_all_the_same(
    tmp_path: Path, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dev = Stack(tmp_path / "stacks", "dev", program)
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


def test_a_copy_of_the_real_program_is_seeded_once_and_goes_to_the_last_resource(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """AWS makes a new database for another snapshot: `provider.py`."""
    dev = Stack(tmp_path / "stacks", "dev")
    snapshot = "arn:aws:rds:eu-west-1:123456789012:snapshot:"
    past = copied(dev, "dev-past", PAST, seed=f"{snapshot}monday")
    assert operations(past, seed=f"{snapshot}tuesday") == {}
    assert operations(past, seed="none") == {"aws:rds/snapshotCopy:SnapshotCopy": "delete"}
    brought_up(past, seed="s3://dumps/monday.sql")
    assert operations(past, seed="s3://dumps/tuesday.sql") == {}
    capfd.readouterr()

    assert reaped(dev, destroy=True) == 0

    # Pulumi lets no stack go that holds something.
    assert "dev-past: is gone\n" in capfd.readouterr().out
    assert stacks(dev) == {"dev"}
