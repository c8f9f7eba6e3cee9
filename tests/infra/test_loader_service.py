"""The loader's tasks: reached by nobody, let do what a batch needs, and as many as the backlog asks for."""

import json
from typing import Any

import pytest

from infra import loader_service, timeouts
from infra.loader_service import steps
from loader.planned import TICKETS_MAX
from loader.work import SLOTS
from stacks.mock_engine import PLACE, SHAPES, Run, declared, run_stack


def loader(run: Run) -> dict[str, Any]:
    definitions = run.one("ecs/taskDefinition:TaskDefinition", "-loader").inputs["containerDefinitions"]
    (container,) = [each for each in json.loads(definitions) if each["name"] == "loader"]
    return container


def tasks_for(backlog: int, tasks_min: int, tasks_max: int, backlog_per_task: int) -> list[int]:
    """How many tasks AWS makes of the steps; the alarm's threshold, 1, is what bounds are counted from."""
    return [
        tasks
        for tasks, start, end in steps(tasks_min, tasks_max, backlog_per_task)
        if start <= backlog - 1 and (end is None or backlog - 1 < end)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_may_take_batches_from_its_queue_and_bucket_and_log_in_as_the_role_that_writes(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}-batches"
    database = "cluster-1" if shape == "aurora" else "db-1"
    statements = json.loads(run.one("RolePolicy", "-loader-task").inputs["policy"])["Statement"]

    assert {tuple(each["Action"]): each["Resource"] for each in statements} == {
        ("rds-db:connect",): f"arn:aws:rds-db:{PLACE}:dbuser:{database}/rates_loader",
        ("s3:GetObject", "s3:PutObject"): f"arn:aws:s3:{PLACE}:{name}/batches/*",
        ("s3:DeleteObject", "s3:GetObject", "s3:PutObject"): f"arn:aws:s3:{PLACE}:{name}/chunks/*",
        ("s3:ListBucket",): f"arn:aws:s3:{PLACE}:{name}",
        (
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ): f"arn:aws:sqs:{PLACE}:{name}",
        (
            "sqs:DeleteMessage",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
        ): f"arn:aws:sqs:{PLACE}:{name}-dead",
        ("secretsmanager:GetSecretValue",): f"arn:aws:secretsmanager:{PLACE}:rates-{run.stack}-callbacks",
        ("kms:Decrypt", "kms:GenerateDataKey"): f"arn:aws:kms:{PLACE}:{name}",
    }
    (listing,) = [each for each in statements if each["Action"] == ["s3:ListBucket"]]
    assert listing["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["batches/*", "chunks/*"]}}


@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_reaches_a_task(shape: str) -> None:
    run = declared(shape)
    group = f"rates-{run.stack}-loader-id"

    into = [each for each in run.all("SecurityGroupIngressRule") if each.inputs["securityGroupId"] == group]
    assert into == []
    assert "portMappings" not in loader(run)
    assert run.one("ecs/service:Service", "-loader").inputs.get("loadBalancers", []) == []


def test_its_environment_names_its_queue_and_bucket_and_what_callbacks_are_signed_with() -> None:
    run = declared("dev")
    environment = {each["name"]: each["value"] for each in loader(run)["environment"]}

    assert environment["BATCH_BUCKET"] == run.exports["batchBucket"]
    assert environment["BATCH_QUEUE_URL"] == run.exports["batchQueueUrl"]
    assert environment["RATES_CALLBACK_SECRET"] == run.exports["callbackSecretArn"]
    assert "RATES_API_TOKENS" not in environment
    assert environment["RATES_STACK"] == "dev"
    assert environment["PGUSER"] == "rates_loader"
    assert "command" not in loader(run), "the image works by itself"


@pytest.mark.parametrize(("tasks_max", "tickets_max"), [(1, "32"), (16, "32"), (17, "34"), (50, "100")])
def test_a_batch_has_messages_for_all_loaders_that_there_may_be(tasks_max: int, tickets_max: str) -> None:
    run = run_stack("dev", changes={"loaderTasksMax": str(tasks_max)})
    environment = {each["name"]: each["value"] for each in loader(run)["environment"]}

    assert environment["RATES_TICKETS_MAX"] == tickets_max


@pytest.mark.parametrize("shape", ["dev", "staging", "prod"])
def test_one_large_batch_gets_all_loaders_that_there_may_be(shape: str) -> None:
    run = declared(shape)
    (tickets_max,) = [
        int(each["value"]) for each in loader(run)["environment"] if each["name"] == "RATES_TICKETS_MAX"
    ]
    policy = run.one("appautoscaling/policy:Policy", "-backlog").inputs["stepScalingPolicyConfiguration"]
    target = run.one("appautoscaling/target:Target", "-loader").inputs

    last = policy["stepAdjustments"][-1]
    assert last["scalingAdjustment"] == target["maxCapacity"]
    assert tickets_max - 1 >= float(last["metricIntervalLowerBound"])
    assert tickets_max >= loader_service.SLOTS * target["maxCapacity"]


def test_slots_and_messages_are_the_loaders_own() -> None:
    assert (loader_service.SLOTS, loader_service.TICKETS_MAX) == (SLOTS, TICKETS_MAX)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_task_may_end_the_chunk_it_has_in_hand(shape: str) -> None:
    assert loader(declared(shape))["stopTimeout"] == timeouts.LOADER_STOP_S


@pytest.mark.parametrize(
    ("backlog", "tasks"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 4), (16, 4), (17, 8), (33, 10), (9999, 10)]
)
def test_each_task_has_its_share_of_the_backlog_up_to_the_most_there_may_be(backlog: int, tasks: int) -> None:
    assert tasks_for(backlog, tasks_min=0, tasks_max=10, backlog_per_task=4) == [tasks]


@pytest.mark.parametrize("tasks_min", [0, 1, 3, 500])
def test_every_backlog_has_one_number_of_tasks_within_the_range_and_aws_takes_the_steps(
    tasks_min: int,
) -> None:
    for backlog in range(1, 4000, 7):
        (tasks,) = tasks_for(backlog, tasks_min, 500, backlog_per_task=4)
        assert max(tasks_min, 1) <= tasks <= 500
        assert tasks == 500 or tasks * 4 >= backlog
    assert len(steps(tasks_min, 500, 4)) <= 20


@pytest.mark.parametrize("shape", SHAPES)
def test_tasks_come_with_the_first_message_and_go_when_none_is_left(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}-loader"
    backlog, empty = run.one("MetricAlarm", "-backlog").inputs, run.one("MetricAlarm", "-empty").inputs
    policies = {
        each.name: each.inputs["stepScalingPolicyConfiguration"]
        for each in run.all("appautoscaling/policy:Policy")
        if each.name.startswith(name)
    }
    target = run.one("appautoscaling/target:Target", "-loader").inputs

    assert (backlog["comparisonOperator"], backlog["threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert (empty["comparisonOperator"], empty["threshold"]) == ("LessThanOrEqualToThreshold", 0)
    assert (backlog["treatMissingData"], empty["treatMissingData"]) == ("notBreaching", "breaching")
    assert (backlog["evaluationPeriods"], empty["evaluationPeriods"]) == (1, 10)
    for alarm, what in ((backlog, "backlog"), (empty, "empty")):
        assert alarm["alarmActions"] == [f"arn:aws:appautoscaling:{PLACE}:{name}-{what}"]
        assert policies[f"{name}-{what}"]["adjustmentType"] == "ExactCapacity"
    scaled = policies[f"{name}-backlog"]["stepAdjustments"]
    assert scaled[0]["metricIntervalLowerBound"] == "0"
    assert scaled[-1]["scalingAdjustment"] == target["maxCapacity"]
    assert "metricIntervalUpperBound" not in scaled[-1]
    (rest,) = policies[f"{name}-empty"]["stepAdjustments"]
    assert rest == {"scalingAdjustment": target["minCapacity"], "metricIntervalUpperBound": "0"}


def test_a_backlog_is_what_waits_in_this_queue_and_what_is_in_hand() -> None:
    waiting, taken, backlog = declared("dev").one("MetricAlarm", "-backlog").inputs["metricQueries"]

    assert [each["metric"]["metricName"] for each in (waiting, taken)] == [
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
    ]
    for each in (waiting, taken):
        assert each["metric"]["dimensions"] == {"QueueName": "rates-dev-batches"}
    assert (backlog["expression"], backlog["returnData"]) == ("waiting + taken", True)


def test_the_range_of_tasks_is_the_stacks() -> None:
    run = run_stack("dev", changes={"loaderTasksMin": "2", "loaderTasksMax": "7", "loaderSpot": "false"})
    target = run.one("appautoscaling/target:Target", "-loader").inputs
    service = run.one("ecs/service:Service", "-loader").inputs

    assert (target["minCapacity"], target["maxCapacity"]) == (2, 7)
    assert service["capacityProviderStrategies"] == [{"capacityProvider": "FARGATE", "weight": 1}]
