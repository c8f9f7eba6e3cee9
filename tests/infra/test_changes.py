"""What a change of settings touches: a deploy or a new size leaves data and address alone."""

from typing import Any

import pytest

from stacks.mock_engine import IMAGES, SHAPES, Resource, Run, declared, run_stack

PUBLIC_KEY = f"ssh-ed25519 {'A' * 68}"
SCHEDULE = "aws:scheduler/schedule:Schedule"
SNAPSHOT = "arn:aws:rds:eu-west-1:123456789012:snapshot:monday"

# Their thresholds follow the size.
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"


def touched(before: Run, after: Run) -> set[str]:
    """Types of what is new, gone or declared otherwise."""
    one, other = ({each.urn: each for each in run.resources} for run in (before, after))
    return {urn.split("::")[-2].rpartition("$")[2] for urn in one | other if one.get(urn) != other.get(urn)}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_deploy_of_new_images_touches_the_task_definitions_and_the_record_of_it_alone(stack: str) -> None:
    images = {key: image[:-64] + "c" * 64 for key, image in IMAGES.items()}

    assert touched(declared(stack), run_stack(stack, changes=images)) == {
        "aws:ecs/taskDefinition:TaskDefinition",
        "aws:ssm/parameter:Parameter",
    }


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"apiCpu": "2048", "apiMemoryMib": "4096"}, {"aws:ecs/taskDefinition:TaskDefinition"}),
        (
            {"apiTasksMin": "5", "apiTasksMax": "60"},
            # Of the service only the number of tasks, which is ignored.
            {"aws:ecs/service:Service", "aws:appautoscaling/target:Target", ALARM},
        ),
        ({"apiRequestsPerTask": "5"}, {"aws:appautoscaling/policy:Policy"}),
        ({"apiRollout": "canary"}, {"aws:ecs/service:Service"}),
        ({"apiRollout": "linear"}, {"aws:ecs/service:Service"}),
        (
            {"apiOrigins": "*", "apiLimit": "100/minute; 5000/day", "apiPrivateBatches": "false"},
            {"aws:ecs/taskDefinition:TaskDefinition"},
        ),
        ({"requestsPerAddress": "500"}, {"aws:wafv2/webAcl:WebAcl"}),
        ({"accessLogDays": "30"}, {"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"}),
        ({"loaderCpu": "4096", "loaderMemoryMib": "8192"}, {"aws:ecs/taskDefinition:TaskDefinition"}),
        ({"loaderBacklogPerTask": "5"}, {"aws:appautoscaling/policy:Policy"}),
        ({"loaderStorageGib": "200"}, {"aws:ecs/taskDefinition:TaskDefinition"}),
        ({"logDays": "30"}, {"aws:cloudwatch/logGroup:LogGroup"}),
        ({"batchDays": "400"}, {"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"}),
        (
            {"uploadOrigins": "https://app.example.com"},
            {"aws:s3/bucketCorsConfiguration:BucketCorsConfiguration"},
        ),
        ({"databaseInstanceClass": "db.r8g.xlarge"}, {"aws:rds/instance:Instance", ALARM}),
    ],
)
def test_a_new_size_touches_what_has_it_and_nothing_else(changes: dict[str, str], kinds: set[str]) -> None:
    assert touched(declared("prod"), run_stack("prod", changes=changes)) == kinds


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"awakeHours": "05-23"}, {"aws:appautoscaling/scheduledAction:ScheduledAction", SCHEDULE}),
        ({"timeZone": "Asia/Tokyo"}, {"aws:appautoscaling/scheduledAction:ScheduledAction", SCHEDULE}),
        (
            {"awakeHours": ""},
            {
                "aws:appautoscaling/scheduledAction:ScheduledAction",
                "aws:iam/role:Role",
                "aws:iam/rolePolicy:RolePolicy",
                "aws:scheduler/scheduleGroup:ScheduleGroup",
                "rates:sleep:Sleep",
                SCHEDULE,
            },
        ),
        (
            {"bastion": "true", "bastionPublicKey": PUBLIC_KEY},
            {
                "aws:ec2/instance:Instance",
                "aws:ec2/launchTemplate:LaunchTemplate",
                "aws:ec2/securityGroup:SecurityGroup",
                "aws:iam/instanceProfile:InstanceProfile",
                "aws:iam/role:Role",
                "aws:iam/rolePolicy:RolePolicy",
                "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
                "rates:bastion:Bastion",
            },
        ),
        ({"seed": "none"}, {"aws:s3/bucketObjectv2:BucketObjectv2", "rates:seed:SeedObject"}),
        (
            {"seed": "s3://elsewhere/monday.sql"},
            {"aws:s3/bucketObjectv2:BucketObjectv2", "aws:s3/objectCopy:ObjectCopy"},
        ),
        (
            {"seed": SNAPSHOT},
            {
                "aws:s3/bucketObjectv2:BucketObjectv2",
                "rates:seed:SeedObject",
                "aws:rds/snapshotCopy:SnapshotCopy",
                # Of the database only what it was made of, which is ignored.
                "aws:rds/instance:Instance",
            },
        ),
    ],
)
def test_hours_a_bastion_or_another_seed_touch_no_bucket_no_service_and_no_way_in(
    changes: dict[str, str], kinds: set[str]
) -> None:
    assert touched(declared("dev"), run_stack("dev", changes=changes)) == kinds


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": "none"}, {"seed": SNAPSHOT}),
        ({"seed": SNAPSHOT}, {"seed": "none"}),
        ({"seed": SNAPSHOT}, {"seed": SNAPSHOT.replace("monday", "tuesday")}),
    ],
)
def test_another_seed_leaves_of_the_database_all_but_what_is_ignored(
    one: dict[str, str], other: dict[str, str]
) -> None:
    before, after = (
        run_stack("dev", changes=changes).one("rds/instance:Instance") for changes in (one, other)
    )

    def known(resource: Resource) -> dict[str, Any]:
        return {key: value for key, value in resource.inputs.items() if key not in resource.ignore_changes}

    assert known(before) == known(after)


# What AWS or the clock owns, and what is put in once; nothing else is kept from Pulumi.
IGNORED = {
    ("aws:ecs/service:Service", "desiredCount"),
    ("aws:lb/listenerRule:ListenerRule", "actions"),
    ("aws:rds/cluster:Cluster", "snapshotIdentifier"),
    ("aws:rds/instance:Instance", "snapshotIdentifier"),
    ("aws:s3/bucketObjectv2:BucketObjectv2", "source"),
}


def test_pulumi_is_kept_from_what_others_own_and_from_nothing_else() -> None:
    runs = [declared(shape) for shape in SHAPES]

    assert {
        (each.type, key) for run in runs for each in run.resources for key in each.ignore_changes
    } == IGNORED


def test_production_protects_what_data_would_be_lost_with_and_no_other_stack_protects_anything() -> None:
    data = {"-batches": {"kms/key:Key", "s3/bucket:Bucket"}, "-access-logs": {"s3/bucket:Bucket"}}
    data |= {
        "-database": {"kms/key:Key", "rds/instance:Instance"},
        "-tokens": {"secretsmanager/secret:Secret"},
        "-callbacks": {"secretsmanager/secret:Secret"},
    }
    expected = {(f"aws:{kind}", f"rates-prod{name}") for name, kinds in data.items() for kind in kinds}

    assert {(each.type, each.name) for each in declared("prod").resources if each.protect} == expected
    for shape in set(SHAPES) - {"prod"}:
        assert [each.name for each in declared(shape).resources if each.protect] == []


def test_what_outlives_its_stack_is_what_was_logged_uploaded_or_needs_its_key() -> None:
    kept = {
        shape: {each.name for each in declared(shape).resources if each.retain_on_delete} for shape in SHAPES
    }

    assert kept == {
        "dev": set(),
        "aurora": set(),
        # The key of the last snapshot.
        "staging": {"rates-staging-database"},
        "prod": {
            f"rates-prod-{each}" for each in ("access-logs", "batches", "callbacks", "database", "tokens")
        },
    }
