"""The way for people to the database: no open port, no right to the data, and a command to paste."""

import json
import shlex
from typing import Any

import pytest

from stacks.mock_engine import STACKS, Resource, Run, declared, run_stack

BASTION = {"bastion": "true"}
PUBLIC_KEY = f"ssh-ed25519 {'A' * 68} anna@example.com"
RIGHTS = {
    "ssm:UpdateInstanceInformation": "arn:aws:ec2:eu-west-1:123456789012:instance/*",
    "ssmmessages:CreateControlChannel": "*",
    "ssmmessages:CreateDataChannel": "*",
    "ssmmessages:OpenControlChannel": "*",
    "ssmmessages:OpenDataChannel": "*",
}


def of_bastion(run: Run, kind: str) -> list[Resource]:
    return [each for each in run.all(kind) if "-bastion" in each.name]


def rights(run: Run) -> dict[str, Any]:
    """By action, on what."""
    (policy,) = of_bastion(run, "iam/rolePolicy:RolePolicy")
    return {
        action: statement["Resource"]
        for statement in json.loads(policy.inputs["policy"])["Statement"]
        for action in statement["Action"]
    }


def faults(run: Run) -> list[str]:
    """What would let in somebody whom Session Manager does not, or out of it more than is needed."""
    (instance,), (template,) = of_bastion(run, "ec2/instance:Instance"), of_bastion(run, "LaunchTemplate")
    own = f"rates-{run.stack}-bastion-id"
    groups = instance.inputs["vpcSecurityGroupIds"]
    entries = [
        rule
        for rule in run.resources
        if "IngressRule" in rule.type and rule.inputs["securityGroupId"] in groups
    ]
    exits = [
        (rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs.get("cidrIpv4"))
        for rule in run.all("SecurityGroupEgressRule")
        if rule.inputs["securityGroupId"] == own
    ]
    metadata = template.inputs["metadataOptions"]
    (disk,) = template.inputs["blockDeviceMappings"]
    return [
        fault
        for fault, found in {
            "a port is open": bool(entries),
            "other groups": groups != [own, run.exports["databaseClientSecurityGroupId"]],
            "other ways out": exits != [(443, 443, "0.0.0.0/0")],
            "old metadata": (metadata["httpTokens"], metadata["httpPutResponseHopLimit"]) != ("required", 1),
            "a readable disk": disk["ebs"]["encrypted"] != "true",
            "other rights": rights(run) != RIGHTS,
            "a key pair": "keyName" in instance.inputs or "keyName" in template.inputs,
        }.items()
        if found
    ]


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("key", ["", PUBLIC_KEY])
def test_no_port_is_open_and_it_may_do_what_session_manager_needs_and_nothing_else(
    stack: str, key: str
) -> None:
    assert faults(run_stack(stack, changes=BASTION | {"bastionPublicKey": key})) == []


@pytest.mark.parametrize(
    ("kind", "key", "value", "fault"),
    [
        ("ec2/instance:Instance", "vpcSecurityGroupIds", ["rates-dev-bastion-id"], "other groups"),
        ("ec2/instance:Instance", "keyName", "anna", "a key pair"),
        ("SecurityGroupEgressRule", "fromPort", 22, "other ways out"),
        (
            "LaunchTemplate",
            "metadataOptions",
            {"httpTokens": "optional", "httpPutResponseHopLimit": 1},
            "old metadata",
        ),
        (
            "LaunchTemplate",
            "metadataOptions",
            {"httpTokens": "required", "httpPutResponseHopLimit": 2},
            "old metadata",
        ),
        ("LaunchTemplate", "blockDeviceMappings", [{"ebs": {"encrypted": "false"}}], "a readable disk"),
        (
            "iam/rolePolicy:RolePolicy",
            "policy",
            '{"Statement": [{"Action": ["rds-db:connect"], "Resource": "*"}]}',
            "other rights",
        ),
    ],
)
def test_a_wider_door_would_be_found(kind: str, key: str, value: Any, fault: str) -> None:
    run = run_stack("dev", changes=BASTION)
    (resource,) = of_bastion(run, kind)
    resource.inputs[key] = value

    assert faults(run) == [fault]


def test_an_open_port_would_be_found() -> None:
    run = run_stack("dev", changes=BASTION)
    run.one("SecurityGroupIngressRule", "-http").inputs["securityGroupId"] = "rates-dev-bastion-id"

    assert faults(run) == ["a port is open"]


def test_only_ec2_acts_in_its_role_and_it_comes_after_its_rights() -> None:
    run = run_stack("dev", changes=BASTION)
    (role,), (policy,) = of_bastion(run, "iam/role:Role"), of_bastion(run, "iam/rolePolicy:RolePolicy")
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]

    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert policy.urn in run.one("ec2/instance:Instance").dependencies


@pytest.mark.parametrize(("stack", "kind"), [("dev", "public"), ("prod", "private")])
def test_it_lies_among_the_tasks_with_an_address_of_its_own_only_where_there_is_no_other_way_out(
    stack: str, kind: str
) -> None:
    inputs = run_stack(stack, changes=BASTION).one("ec2/instance:Instance").inputs

    assert inputs["subnetId"] == f"rates-{stack}-{kind}-1"
    assert inputs["associatePublicIpAddress"] is (kind == "public")


def test_it_is_small_and_runs_the_newest_amazon_linux_for_its_processor() -> None:
    inputs = run_stack("dev", changes=BASTION).one("LaunchTemplate").inputs

    assert inputs["instanceType"] == "t4g.nano"
    assert inputs["imageId"] == (
        "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    )


def test_a_public_key_is_let_in_for_the_images_own_user_and_another_one_makes_a_new_server() -> None:
    run = run_stack("dev", changes=BASTION | {"bastionPublicKey": PUBLIC_KEY})
    inputs = run.one("ec2/instance:Instance").inputs
    head, _, body = inputs["userData"].partition("\n")

    assert head == "#cloud-config"
    assert json.loads(body) == {"ssh_authorized_keys": [PUBLIC_KEY]}
    assert inputs["userDataReplaceOnChange"] is True


def test_without_a_key_nobody_is_let_in_but_through_session_manager() -> None:
    assert "userData" not in run_stack("dev", changes=BASTION).one("ec2/instance:Instance").inputs


def test_the_stack_says_how_to_reach_the_database_from_a_laptop() -> None:
    words = shlex.split(run_stack("dev", changes=BASTION).exports["bastion"])
    options = dict(zip(words[3::2], words[4::2], strict=True))

    assert words[:3] == ["aws", "ssm", "start-session"]
    assert options["--region"] == "eu-west-1"
    assert options["--target"] == "rates-dev-bastion-id"
    assert options["--document-name"] == "AWS-StartPortForwardingSessionToRemoteHost"
    assert json.loads(options["--parameters"]) == {
        "host": ["rates-dev-database.rds.example"],
        "portNumber": ["5432"],
        "localPortNumber": ["15432"],
    }


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_without_one_has_no_server_and_says_which_setting_makes_one(stack: str) -> None:
    run = declared(stack)

    assert run.all("ec2/instance:Instance") == []
    assert run.exports["bastion"] == "none: set bastion to true for a way to the database"
