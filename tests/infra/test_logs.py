"""Every log group has a key and an end, those of AWS's own naming too, and no copy reads another's."""

import fnmatch
import json

import pytest

from stacks.mock_engine import AURORA, PLACE, SHAPES, Run, declared, run_stack

GROUP = "cloudwatch/logGroup:LogGroup"
ARN = "arn:aws:logs:eu-west-1:123456789012:log-group:"


def groups(run: Run) -> dict[str, float]:
    """The days for which each is kept, by its name at AWS."""
    return {group.inputs["name"]: group.inputs["retentionInDays"] for group in run.all(GROUP)}


def patterns(run: Run) -> list[str]:
    """The groups that the key is for."""
    _account, logs = json.loads(run.one("kms/keyPolicy:KeyPolicy", "-logs").inputs["policy"])["Statement"]
    assert logs["Principal"] == {"Service": "logs.eu-west-1.amazonaws.com"}
    return logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]


def test_every_log_has_its_place_and_its_days() -> None:
    assert groups(declared("dev")) == {
        "/aws/rds/instance/rates-dev-database/postgresql": 7,
        "/aws/rds/instance/rates-dev-database/upgrade": 7,
        "/rates-dev/api": 7,
        "/rates-dev/loader": 7,
    }
    assert groups(declared("prod")) == {
        "/aws/ecs/containerinsights/rates-prod/performance": 7,
        "/aws/rds/instance/rates-prod-database/postgresql": 90,
        "/aws/rds/instance/rates-prod-database/upgrade": 90,
        "/rates-prod/api": 90,
        "/rates-prod/delivery-check": 90,
        "/rates-prod/delivery-deploy": 90,
        "/rates-prod/delivery-images": 90,
        "/rates-prod/flow": 30,
        "/rates-prod/loader": 90,
    }
    assert "/aws/rds/cluster/rates-dev-database/postgresql" in groups(declared("aurora"))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_log_group_ends_and_has_the_key_once_it_may_be_used(shape: str) -> None:
    run = declared(shape)
    key_policy = run.one("kms/keyPolicy:KeyPolicy", "-logs")

    for group in run.all(GROUP):
        assert group.inputs["retentionInDays"] > 0
        assert group.inputs["kmsKeyId"] == f"arn:aws:kms:{PLACE}:rates-{run.stack}-logs"
        assert key_policy.urn in group.dependencies
        assert [each for each in patterns(run) if fnmatch.fnmatchcase(ARN + group.inputs["name"], each)]


def test_a_log_that_aws_would_make_itself_is_there_before_what_writes_it() -> None:
    prod = declared("prod")
    dependencies = {
        "rds/instance:Instance": ["-postgresql", "-upgrade"],
        "ecs/cluster:Cluster": ["-insights"],
    }
    for kind, logs in dependencies.items():
        assert {prod.one(GROUP, log).urn for log in logs} <= set(prod.one(kind).dependencies)
    aurora = declared("aurora")
    assert aurora.one(GROUP, "-postgresql").urn in aurora.one("rds/cluster:Cluster").dependencies


@pytest.mark.parametrize("changes", [{}, AURORA])
def test_whatever_the_database_exports_has_a_group_of_ours(changes: dict[str, str]) -> None:
    run = run_stack("dev", changes=changes)
    (database,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")
    kind = "cluster" if changes else "instance"
    identifier = database.inputs.get("clusterIdentifier") or database.inputs["identifier"]

    exported = {
        f"/aws/rds/{kind}/{identifier}/{log}" for log in database.inputs["enabledCloudwatchLogsExports"]
    }
    assert {group for group in groups(run) if group.startswith("/aws/rds/")} == exported


def test_insights_count_each_task_where_the_stack_asks_for_it_and_are_off_elsewhere() -> None:
    for shape, value in {"dev": "disabled", "staging": "enhanced", "prod": "enhanced"}.items():
        cluster = declared(shape).one("ecs/cluster:Cluster").inputs
        assert cluster["settings"] == [{"name": "containerInsights", "value": value}]
        assert cluster["name"] == f"rates-{shape}", "the name of its log group is made of it"


def test_the_key_of_the_logs_is_for_these_groups() -> None:
    assert patterns(declared("prod")) == [
        f"{ARN}/rates-prod/*",
        f"{ARN}/aws/rds/instance/rates-prod-database/postgresql",
        f"{ARN}/aws/rds/instance/rates-prod-database/upgrade",
        f"{ARN}/aws/ecs/containerinsights/rates-prod/performance",
    ]


@pytest.mark.parametrize("other", ["dev-alice", "dev-database", "dev2", "de", "dev-api"])
def test_the_key_of_one_copy_is_for_no_log_of_a_copy_whose_name_starts_the_same(other: str) -> None:
    one, other_run = run_stack("dev", "prod"), run_stack(other, "prod")

    for reader, writer in ((one, other_run), (other_run, one)):
        for group in groups(writer):
            assert not [each for each in patterns(reader) if fnmatch.fnmatchcase(ARN + group, each)], group
