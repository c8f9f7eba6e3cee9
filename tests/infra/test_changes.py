"""What a change of settings touches: a deploy or a new size leaves data and address alone."""

import pytest

from stacks.mock_engine import IMAGES, Run, declared, run_stack


def touched(before: Run, after: Run) -> set[str]:
    """Types of what is new, gone or declared otherwise."""
    one, other = ({each.urn: each for each in run.resources} for run in (before, after))
    return {urn.split("::")[-2].rpartition("$")[2] for urn in one | other if one.get(urn) != other.get(urn)}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_deploy_of_new_images_touches_the_task_definitions_alone(stack: str) -> None:
    images = {key: image[:-64] + "c" * 64 for key, image in IMAGES.items()}

    assert touched(declared(stack), run_stack(stack, changes=images)) == {
        "aws:ecs/taskDefinition:TaskDefinition"
    }


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"apiCpu": "2048", "apiMemoryMib": "4096"}, {"aws:ecs/taskDefinition:TaskDefinition"}),
        (
            {"apiTasksMin": "5", "apiTasksMax": "60"},
            # Of the service only the number of tasks, which is ignored.
            {"aws:ecs/service:Service", "aws:appautoscaling/target:Target"},
        ),
        ({"apiRequestsPerTask": "5"}, {"aws:appautoscaling/policy:Policy"}),
        ({"apiRollout": "canary"}, {"aws:ecs/service:Service"}),
        ({"apiRollout": "linear"}, {"aws:ecs/service:Service"}),
        ({"requestsPerAddress": "500"}, {"aws:wafv2/webAcl:WebAcl"}),
        ({"accessLogDays": "30"}, {"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"}),
        ({"loaderCpu": "4096", "loaderMemoryMib": "8192"}, {"aws:ecs/taskDefinition:TaskDefinition"}),
        ({"loaderBacklogPerTask": "5"}, {"aws:appautoscaling/policy:Policy"}),
        ({"logDays": "30"}, {"aws:cloudwatch/logGroup:LogGroup"}),
        ({"batchDays": "400"}, {"aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"}),
        ({"databaseInstanceClass": "db.r8g.xlarge"}, {"aws:rds/instance:Instance"}),
    ],
)
def test_a_new_size_touches_what_has_it_and_nothing_else(changes: dict[str, str], kinds: set[str]) -> None:
    assert touched(declared("prod"), run_stack("prod", changes=changes)) == kinds
