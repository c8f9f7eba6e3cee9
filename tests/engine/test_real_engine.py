"""The program on Pulumi's real engine: the `pulumi` command, the project's files, and the life of each stack.

Where AWS would answer, the plugin of these tests does: `provider.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from stacks.mock_engine import STACKS, run_stack
from tests.engine.__main__ import main
from tests.engine.commands import brought_up, operations, refused, succeed
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
        return brought_up(Stack(tmp_path_factory.mktemp("up") / name, name))

    return bring_up


@pytest.fixture(scope="module")
def previewed(up: BringUp) -> Callable[[str], str]:
    """What a preview of a stack that is up says, with the policy pack. A change in it is a failure."""
    return cache(lambda name: succeed(up(name), "preview", "--expect-no-changes", *PACK))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack that holds nothing, and is left so."""
    return Stack(tmp_path_factory.mktemp("empty") / "dev", "dev")


def test_a_preview_of_a_stack_that_exists_nowhere_lists_what_would_be_created(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As `make preview OFFLINE=1` does."""
    status = main("dev", "preview", "--diff", *PACK, "--color", "never")
    said = capfd.readouterr()
    assert status == 0, said.out + said.err
    assert "+ aws:rds/instance:Instance: (create)" in said.out
    assert 'instanceClass                     : "db.t4g.micro"' in said.out


@pytest.mark.parametrize("name", STACKS)
def test_the_engine_holds_what_the_mock_engine_saw_declared(name: str, up: BringUp) -> None:
    held = {
        (resource["type"], resource["urn"].rpartition("::")[2])
        for resource in up(name).held()
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
def test_a_second_preview_finds_nothing_to_change_and_no_broken_rule_of_the_policy_pack(
    name: str, previewed: Callable[[str], str]
) -> None:
    said = previewed(name)
    assert "rates@v" in said
    assert "found" not in said


def test_a_preview_warns_of_names_that_stand_for_the_companys_own(previewed: Callable[[str], str]) -> None:
    said = previewed("prod")
    assert "warning: Pulumi.prod.yaml still has names with `example`" in said
    assert "rates:alarmEmail, rates:domain, rates:domainZoneId" in said


def test_another_rollout_changes_the_service_alone_and_replaces_nothing(up: BringUp) -> None:
    assert operations(up("staging"), apiRollout="canary") == {"aws:ecs/service:Service": "update"}


def test_a_domain_replaces_neither_service_nor_load_balancer(up: BringUp) -> None:
    done = operations(up("dev"), domain="a.acme.dev", domainZoneId="Z1")
    assert done["aws:ecs/service:Service"] == "update"
    assert {kind for kind, operation in done.items() if operation == "replace"} == {
        "aws:lb/listenerRule:ListenerRule"
    }
    assert done.keys() & {"aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"} == set()


def test_another_size_changes_the_database_alone_and_other_addresses_make_a_new_network(up: BringUp) -> None:
    assert operations(up("dev"), databaseInstanceClass="db.t4g.large") == {
        "aws:rds/instance:Instance": "update"
    }
    assert operations(up("dev"), vpcCidr="10.9.0.0/16")["aws:ec2/vpc:Vpc"] == "replace"


def test_a_destroy_of_prod_is_refused_before_anything_is_gone(up: BringUp) -> None:
    stack = up("prod")
    before = stack.held()
    assert "because it is protected" in refused(stack, "destroy", "--yes")
    assert stack.held() == before
    assert "aws:rds/instance:Instance" in {each["type"] for each in before if each.get("protect")}


def test_bad_settings_are_named_all_at_once_and_without_a_traceback(empty: Stack) -> None:
    bad = {"zones": "7", "natGateway": "single", "databaseInstanceClass": "large"}
    said = refused(empty, "preview", empty.changed(**bad))
    assert "the configuration of stack dev cannot be used:" in said
    assert "rates:zones is '7': allowed is 2 to 4" in said
    assert "rates:databaseInstanceClass is 'large'" in said
    assert "rates:natGateway is not a setting; did you mean natGateways?" in said
    assert "Traceback" not in said


def test_a_setting_of_a_wrong_type_is_refused_by_pulumi_itself(empty: Stack) -> None:
    said = refused(empty, "preview", empty.changed(databaseMultiAz="maybe"))
    assert "configuration key 'databaseMultiAz' must be of type 'boolean'" in said


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


def test_what_is_advised_against_is_said_and_not_stopped(empty: Stack) -> None:
    said = succeed(empty, "preview", empty.changed(databaseBackupDays="0"), *PACK)
    assert "found backups of 0 days" in said
