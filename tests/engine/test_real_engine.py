"""The program on Pulumi's real engine: the `pulumi` command, the project's files, and the life of each stack.

Where AWS would answer, the plugin of these tests does: `provider.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stacks.mock_engine import IMAGES, STACKS, run_stack
from tests.engine.stack import ROOT, Stack

pytestmark = pytest.mark.needs("pulumi")

BringUp = Callable[[str], Stack]

PACK = ("--policy-pack", "infra/policy_pack")
BROKEN_PROGRAM = """
import pulumi_aws as aws

group = aws.ec2.SecurityGroup("database")
aws.vpc.SecurityGroupIngressRule(
    "database",
    security_group_id=group.id,
    cidr_ipv4="0.0.0.0/0",
    ip_protocol="tcp",
    from_port=5432,
    to_port=5432,
)
aws.ecr.Repository("api", force_delete=True)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> BringUp:
    """A stack that is up. Tests share it, and leave it as it is."""

    @cache
    def bring_up(name: str) -> Stack:
        stack = deployed(tmp_path_factory.mktemp("up") / name, name)
        succeed(stack, "up", "--yes", "--skip-preview", *PACK)
        return stack

    return bring_up


def deployed(folder: Path, name: str) -> Stack:
    """A stack with the settings of a deploy, which names the images that run."""
    stack = Stack(folder, name)
    succeed(stack, "config", "set-all", *(f"--plaintext={key}={value}" for key, value in IMAGES.items()))
    return stack


def succeed(stack: Stack, *command: str) -> str:
    ended = stack.pulumi(*command)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def refused(stack: Stack, *command: str) -> str:
    ended = stack.pulumi(*command)
    assert ended.returncode != 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def state(stack: Stack) -> list[dict[str, Any]]:
    return json.loads(succeed(stack, "stack", "export"))["deployment"].get("resources", [])


def operations(stack: Stack) -> dict[str, str]:
    """What a preview would do, by type; a resource that stays as it is has no entry."""
    steps = json.loads(succeed(stack, "preview", "--json"))["steps"]
    return {
        step["urn"].split("::")[2].rpartition("$")[2]: step["op"] for step in steps if step["op"] != "same"
    }


def test_a_preview_of_a_stack_that_exists_nowhere_lists_what_would_be_created() -> None:
    command = [sys.executable, "-m", "tests.engine", "dev", "preview", "--diff", *PACK, "--color", "never"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "+ aws:rds/instance:Instance: (create)" in ended.stdout
    assert 'instanceClass                     : "db.t4g.micro"' in ended.stdout


@pytest.mark.parametrize("name", STACKS)
def test_the_engine_holds_what_the_mock_engine_saw_declared(name: str, up: BringUp) -> None:
    held = {
        (resource["type"], resource["urn"].rpartition("::")[2])
        for resource in state(up(name))
        # The mock engine looks into no component of awsx, and has stack and default providers apart.
        if "$awsx:ec2:Vpc$" not in resource["urn"]
        and resource["type"] != "pulumi:pulumi:Stack"
        and "::default" not in resource["urn"]
    }
    assert held == {(resource.type, resource.name) for resource in run_stack(name).resources}


@pytest.mark.parametrize("name", STACKS)
def test_what_is_up_exports_all_that_it_promises(name: str, up: BringUp) -> None:
    outputs = json.loads(succeed(up(name), "stack", "output", "--json", "--show-secrets"))
    assert outputs.keys() == run_stack(name).exports.keys()
    assert [key for key, value in outputs.items() if value in (None, "", [])] == []


@pytest.mark.parametrize("name", STACKS)
def test_a_second_preview_finds_nothing_to_change(name: str, up: BringUp) -> None:
    succeed(up(name), "preview", "--expect-no-changes")


def test_a_preview_warns_of_names_that_stand_for_the_companys_own(up: BringUp) -> None:
    said = succeed(up("prod"), "preview")
    assert "warning: Pulumi.prod.yaml still has names with `example`" in said
    assert "rates:alarmEmail, rates:domain, rates:domainZoneId" in said


def test_another_rollout_or_a_domain_replaces_neither_service_nor_load_balancer(tmp_path: Path) -> None:
    stack = deployed(tmp_path / "dev", "dev")
    succeed(stack, "config", "set", "alarms", "true")
    succeed(stack, "up", "--yes", "--skip-preview")
    succeed(stack, "config", "set", "apiRollout", "canary")
    assert operations(stack) == {"aws:ecs/service:Service": "update"}
    succeed(stack, "config", "set-all", "--plaintext=domain=a.acme.dev", "--plaintext=domainZoneId=Z1")
    done = operations(stack)
    assert done["aws:ecs/service:Service"] == "update"
    assert {kind for kind, operation in done.items() if operation == "replace"} == {
        "aws:lb/listenerRule:ListenerRule"
    }
    assert done.keys() & {"aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"} == set()


def test_a_destroy_of_prod_is_refused_before_anything_is_gone(up: BringUp) -> None:
    stack = up("prod")
    before = state(stack)
    assert "because it is protected" in refused(stack, "destroy", "--yes")
    assert state(stack) == before
    assert "aws:rds/instance:Instance" in {each["type"] for each in before if each.get("protect")}


def test_another_size_changes_the_database_alone_and_dev_is_destroyed_to_the_last_resource(
    tmp_path: Path,
) -> None:
    stack = deployed(tmp_path / "dev", "dev")
    succeed(stack, "up", "--yes", "--skip-preview")
    succeed(stack, "config", "set", "databaseInstanceClass", "db.t4g.large")
    assert operations(stack) == {"aws:rds/instance:Instance": "update"}
    succeed(stack, "config", "set", "vpcCidr", "10.9.0.0/16")
    assert operations(stack)["aws:ec2/vpc:Vpc"] == "replace"
    succeed(stack, "destroy", "--yes", "--skip-preview")
    assert state(stack) == []


def test_another_seed_makes_no_new_database_and_puts_nothing_in_a_second_time(tmp_path: Path) -> None:
    """AWS makes a new database for another snapshot: `provider.py`."""
    stack = deployed(tmp_path / "dev", "dev")
    snapshot = "arn:aws:rds:eu-west-1:123456789012:snapshot:"
    succeed(stack, "config", "set", "seed", f"{snapshot}monday")
    succeed(stack, "up", "--yes", "--skip-preview")
    succeed(stack, "config", "set", "seed", f"{snapshot}tuesday")
    assert operations(stack) == {}
    succeed(stack, "config", "set", "seed", "none")
    assert operations(stack) == {"aws:rds/snapshotCopy:SnapshotCopy": "delete"}
    succeed(stack, "config", "set", "seed", "s3://dumps/monday.sql")
    succeed(stack, "up", "--yes", "--skip-preview")
    succeed(stack, "config", "set", "seed", "s3://dumps/tuesday.sql")
    assert operations(stack) == {}


def test_bad_settings_are_named_all_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "dev", "dev")
    for setting in (("zones", "7"), ("natGateway", "single"), ("databaseInstanceClass", "large")):
        succeed(stack, "config", "set", *setting)
    said = refused(stack, "preview")
    assert "the configuration of stack dev cannot be used:" in said
    assert "rates:zones is '7': allowed is 2 to 4" in said
    assert "rates:databaseInstanceClass is 'large'" in said
    assert "rates:natGateway is not a setting; did you mean natGateways?" in said
    assert "Traceback" not in said


def test_a_setting_of_a_wrong_type_is_refused_by_pulumi_itself(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "dev", "dev")
    succeed(stack, "config", "set", "databaseMultiAz", "maybe")
    assert "configuration key 'databaseMultiAz' must be of type 'boolean'" in refused(stack, "preview")


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_keeps_the_rules_of_the_policy_pack(name: str, up: BringUp) -> None:
    said = succeed(up(name), "preview", *PACK)
    assert "rates@v" in said
    assert "found" not in said


def test_a_program_that_breaks_rules_of_the_policy_pack_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / "infra"
    program.mkdir()
    (program / "__main__.py").write_text(BROKEN_PROGRAM)
    (program / "policy_pack").symlink_to(ROOT / "infra/policy_pack")
    stack = Stack(tmp_path / "prod", "prod", program)
    said = refused(stack, "preview", *PACK)
    assert "found 0.0.0.0/0: allowed in a load balancer's security group alone" in said
    assert "found a provider without the tags Project, Stack, Owner, ManagedBy" in said
    assert "found forceDelete: allowed is false in production" in said


def test_what_is_advised_against_is_said_and_not_stopped(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "dev", "dev")
    succeed(stack, "config", "set", "databaseBackupDays", "0")
    assert "found backups of 0 days" in succeed(stack, "preview", *PACK)
