"""The whole program, for every stack: who owns what, tags, names of many copies in one account, outputs."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from infra.dashboard import NONE
from stacks.mock_engine import (
    IMAGES,
    NO_IMAGES,
    PLACE,
    PROJECT,
    ROOT,
    SECRET_ARN,
    SHAPES,
    Resource,
    Run,
    declared,
    infra,
    run_program,
    run_stack,
    stack_config,
)

# Inputs by which a program names a thing itself, in an account and region or, as buckets, in the world.
NAMES = {
    "aliasName",
    "bucket",
    "clusterIdentifier",
    "dashboardName",
    "finalSnapshotIdentifier",
    "identifier",
    "name",
    "repositoryName",
    "roleName",
    "targetDbClusterSnapshotIdentifier",
    "targetDbSnapshotIdentifier",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_program_declares_a_network_a_database_and_storage(shape: str) -> None:
    run = declared(shape)

    assert len(run.all("ec2:Vpc")) == 1
    assert len(run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")) == 1
    assert run.one("s3/bucket:Bucket", "-batches")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_resource_belongs_to_a_component_under_the_stack(shape: str) -> None:
    run = declared(shape)

    for resource in run.resources:
        parent = run.stack if "pulumi:pulumi:Stack::" in resource.parent else run.named(resource.parent).type
        if resource.type.startswith("pulumi:providers:"):
            assert parent == run.stack, resource.name
        elif resource.type.startswith(f"{PROJECT}:"):
            assert parent == run.stack or parent.startswith(f"{PROJECT}:"), resource.name
        else:
            assert parent.startswith(f"{PROJECT}:"), resource.name


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_carries_the_tags_of_its_copy(shape: str) -> None:
    run = declared(shape)
    provider = run.one("providers:aws")

    assert default_tags(run) == {
        "Project": "rates",
        "Stack": run.stack,
        "Owner": "rates",
        "ManagedBy": "pulumi",
    }
    # Default tags reach whatever their provider makes; awsx hands it on to all inside.
    for resource in run.resources:
        if resource.type.startswith("aws:"):
            assert resource.provider.startswith(provider.urn), resource.name
        elif resource.type.startswith("awsx:"):
            assert resource.providers["aws"].startswith(provider.urn), resource.name


def test_the_owner_in_the_tags_is_the_stacks() -> None:
    run = run_stack("dev", changes={"owner": "anna@example.com"})

    assert default_tags(run)["Owner"] == "anna@example.com"


def test_a_copy_says_its_last_day_in_the_tags_and_outputs() -> None:
    run = run_stack("dev", changes={"expires": "2030-01-31"})

    assert default_tags(run)["Expires"] == "2030-01-31"
    assert run.exports["expires"] == "2030-01-31"


def default_tags(run: Run) -> dict[str, str]:
    # Pulumi passes the nested inputs of a provider as JSON.
    return json.loads(run.one("providers:aws").inputs["defaultTags"])["tags"]


@pytest.mark.parametrize("profile", ["dev", "prod"])
def test_two_copies_of_a_stack_share_no_physical_name(profile: str) -> None:
    # A domain leads to one stack.
    zone = {"domainZoneId": "Z0123456789ABC"}
    one = run_stack(f"{profile}-1", profile, {"domain": "one.rates.dev"} | zone)
    other = run_stack(f"{profile}-2", profile, {"domain": "two.rates.dev"} | zone)

    assert set(physical_names(one)) & set(physical_names(other)) == set()
    assert all(resource.name.startswith("rates-" + one.stack) for resource in one.resources)
    assert [resource.name.replace("-1", "-2", 1) for resource in one.resources] == [
        resource.name for resource in other.resources
    ]


def physical_names(run: Run) -> Iterator[tuple[str, str]]:
    """What is named by hand. What is not, Pulumi names after the resource, plus a random end."""
    for resource in run.resources:
        for key in NAMES & resource.inputs.keys():
            yield resource.type, resource.inputs[key]
    for definition in run.all("TaskDefinition"):
        yield definition.type, definition.inputs["family"]


def test_nothing_is_tied_to_a_region_but_by_the_configuration() -> None:
    images = {key: image.replace("eu-west-1", "ap-southeast-2") for key, image in IMAGES.items()}
    config = stack_config("prod", images) | {"aws:region": "ap-southeast-2"}
    run = run_program(infra, Run("prod"), config)

    assert run.one("providers:aws").inputs["region"] == "ap-southeast-2"
    texts = [text for resource in run.resources for text in texts_in(resource.inputs)]
    assert "com.amazonaws.ap-southeast-2.s3" in texts
    assert [text for text in texts if "eu-west-1" in text] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_no_password_is_in_what_is_declared_or_exported(shape: str) -> None:
    run = declared(shape)
    keys = {key for resource in run.resources for key in keys_in(resource.inputs)}

    assert {key for key in keys if "password" in key.lower()} == {"manageMasterUserPassword"}
    assert not [resource for resource in run.resources if "random" in resource.type]
    assert [key for key in run.exports if "password" in key.lower()] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_the_outputs_are_what_others_need_to_join_and_no_secret(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}"
    zones = range(1, 4 if shape == "prod" else 3)
    tasks = "private" if shape in ("staging", "prod") else "public"

    domains = {"staging": "rates-staging.example.com", "prod": "rates.example.com"}
    address = f"https://{domains[shape]}" if shape in domains else f"http://{name}.elb.example"

    assert run.exports == {
        "owner": "rates",
        "expires": "never",
        "production": shape == "prod",
        "address": address,
        "curl": f"curl '{address}/rates?date_from=2021-01-20&date_to=2021-01-31"
        "&orig_code=china_main&dest_code=northern_europe'",
        "services": "running",
        "bastion": "none: set bastion to true for a way to the database",
        "dashboard": "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1"
        f"#dashboards/dashboard/{name}"
        if shape in ("staging", "prod")
        else NONE,
        **{
            f"{service}Service": {
                "cluster": name,
                "service": f"{name}-{service}",
                "taskDefinition": f"arn:aws:ecs:{PLACE}:{name}-{service}",
            }
            for service in ("api", "loader")
        },
        # What they say: `test_delivery.py` and `test_review.py`.
        **{key: run.exports[key] for key in ("pipeline", "pipelineAddress", "reviewRoleArn")},
        "vpcId": f"{name}-vpc",
        "publicSubnetIds": [f"{name}-public-{zone}" for zone in zones],
        "taskSubnetIds": [f"{name}-{tasks}-{zone}" for zone in zones],
        "databaseHost": f"{name}-database.rds.example",
        "databasePort": 5432,
        "databaseName": "rates",
        "databaseMasterSecretArn": SECRET_ARN,
        "databaseClientSecurityGroupId": f"{name}-database-clients-id",
        "batchBucket": f"{name}-batches-id",
        "batchQueueUrl": f"https://sqs.example/{name}-batches",
        "batchDeadLetterQueueUrl": f"https://sqs.example/{name}-batches-dead",
        "apiTokensSecretArn": f"arn:aws:secretsmanager:{PLACE}:{name}-tokens",
        "callbackSecretArn": f"arn:aws:secretsmanager:{PLACE}:{name}-callbacks",
        "apiRepositoryUrl": f"registry.example/{name}-api",
        "loaderRepositoryUrl": f"registry.example/{name}-loader",
    }


def test_the_first_update_makes_all_but_the_services_and_says_what_is_missing() -> None:
    first, deployed = run_stack("dev", changes=NO_IMAGES), declared("dev")

    assert first.exports["services"].startswith("none yet: push both images")
    assert first.exports.keys() == deployed.exports.keys()
    assert [each.type for each in first.resources if "ecs/service" in each.type] == []
    assert {each.urn for each in first.resources} < {each.urn for each in deployed.resources}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_key_rotates_and_can_be_had_back_for_a_week(shape: str) -> None:
    keys = declared(shape).all("kms/key:Key")

    # One more for messages, and one for the pipeline.
    assert len(keys) == (5 if shape in ("staging", "prod") else 3)
    for key in keys:
        assert (key.inputs["enableKeyRotation"], key.inputs["deletionWindowInDays"]) == (True, 7)


def test_no_module_of_the_program_shadows_the_standard_library() -> None:
    """Pulumi puts the folder first on the import path."""
    modules = {path.stem for path in (ROOT / "infra").glob("*.py")}

    assert modules & sys.stdlib_module_names == set()


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_open_to_the_world_but_the_load_balancer(shape: str) -> None:
    run = declared(shape)
    rules = [resource for resource in run.resources if "IngressRule" in resource.type]

    assert rules
    opened = [rule.inputs for rule in rules if is_open(rule)]
    # Over plain HTTP, clients are told to come again: `test_domain.py`.
    ports = {(80, 80), (443, 443)} if shape in ("staging", "prod") else {(80, 80)}
    assert {(rule["fromPort"], rule["toPort"]) for rule in opened} == ports
    (group_id,) = {rule["securityGroupId"] for rule in opened}
    assert [group_id] == run.one("lb/loadBalancer:LoadBalancer").inputs["securityGroups"]
    for group in run.all("SecurityGroup"):
        assert group.inputs.get("ingress", []) == [], group.name
    servers = run.all("rds/instance:Instance") + run.all("rds/clusterInstance:ClusterInstance")
    assert servers
    assert [server.name for server in servers if server.inputs["publiclyAccessible"] is not False] == []


def is_open(rule: Resource) -> bool:
    return bool(rule.inputs.keys() & {"cidrIpv4", "cidrIpv6", "prefixListId"})


def keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(inner)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(inner)
