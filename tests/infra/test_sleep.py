"""A copy that sleeps: what is stopped and started when, and that only its own database can be."""

import json
import re
from typing import Any

import pytest

from infra.settings.schedule import AwakeHours
from infra.sleep import database_start
from stacks.mock_engine import AURORA, NO_IMAGES, PLACE, STACKS, Run, declared, run_stack

SCHEDULE = "scheduler/schedule:Schedule"
ACTION = "appautoscaling/scheduledAction:ScheduledAction"
HOURS = {"awakeHours": "07-19", "timeZone": "Europe/Paris"}
SLEEPING_AURORA = AURORA | HOURS | {"databaseAcusMin": "0.5"}


def schedules(run: Run) -> dict[str, dict[str, Any]]:
    return {each.name.rpartition("-")[2]: each.inputs for each in run.all(SCHEDULE)}


def ranges(run: Run) -> dict[str, tuple[str, int, int]]:
    """By name, when a service may run how many tasks."""
    return {
        each.name.removeprefix("rates-dev-sleep-"): (
            each.inputs["schedule"],
            each.inputs["scalableTargetAction"]["minCapacity"],
            each.inputs["scalableTargetAction"]["maxCapacity"],
        )
        for each in run.all(ACTION)
    }


def faults(run: Run) -> list[str]:
    """What the role of the schedules may do beyond starting and stopping this database, for this copy."""
    role = run.one("iam/role:Role", "-sleep")
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    (may,) = json.loads(run.one("iam/rolePolicy:RolePolicy", "-sleep").inputs["policy"])["Statement"]
    group = f"arn:aws:scheduler:{PLACE}:rates-{run.stack}-sleep"
    database = f"arn:aws:rds:{PLACE}:rates-{run.stack}-database"
    conditions = {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnEquals": {"aws:SourceArn": group},
    }
    actions = ("rds:StartDBInstance", "rds:StopDBInstance"), ("rds:StartDBCluster", "rds:StopDBCluster")
    return [
        fault
        for fault, found in {
            "another service acts in it": trust["Principal"] != {"Service": "scheduler.amazonaws.com"},
            "schedules of others act in it": trust.get("Condition") != conditions,
            "more actions": tuple(may["Action"]) not in actions,
            "other resources": may["Resource"] != database,
        }.items()
        if found
    ]


def test_tasks_run_in_the_hours_of_workdays_as_many_as_the_stack_says_and_none_otherwise() -> None:
    numbers = {"apiTasksMin": "2", "apiTasksMax": "5", "loaderTasksMin": "1", "loaderTasksMax": "3"}
    run = run_stack("dev", changes=HOURS | numbers)

    morning, evening = "cron(0 7 ? * MON-FRI *)", "cron(0 19 ? * * *)"
    assert ranges(run) == {
        "api-awake": (morning, 2, 5),
        "api-asleep": (evening, 0, 0),
        "loader-awake": (morning, 1, 3),
        "loader-asleep": (evening, 0, 0),
    }


def test_each_service_wakes_to_the_range_that_it_was_made_with() -> None:
    run = declared("dev")

    for target in run.all("appautoscaling/target:Target"):
        actions = {
            each.name.rpartition("-")[2]: each.inputs
            for each in run.all(ACTION)
            if each.inputs["resourceId"] == target.inputs["resourceId"]
        }
        assert actions.keys() == {"awake", "asleep"}
        keys = ("minCapacity", "maxCapacity")
        assert actions["awake"]["scalableTargetAction"] == {key: target.inputs[key] for key in keys}
        for action in actions.values():
            for key in ("serviceNamespace", "scalableDimension"):
                assert action[key] == target.inputs[key]


def test_a_new_number_of_tasks_counts_at_once_and_on_every_morning_after() -> None:
    run = run_stack("dev", changes={"apiTasksMin": "2"})
    target = run.one("appautoscaling/target:Target", "-api")

    assert (target.inputs["minCapacity"], target.ignore_changes) == (2, ())
    assert ranges(run)["api-awake"][1:] == (2, 2)


def test_the_database_is_up_before_the_tasks_and_stops_after_them() -> None:
    run = run_stack("dev", changes=HOURS)

    assert {name: each["scheduleExpression"] for name, each in schedules(run).items()} == {
        "start": "cron(45 6 ? * MON-FRI *)",
        "stop": "cron(5 19 ? * * *)",
    }


def test_it_is_stopped_on_every_evening_since_rds_starts_by_itself_what_is_stopped_for_a_week() -> None:
    run = declared("dev")
    evenings = [schedules(run)["stop"]["scheduleExpression"]]
    evenings += [when for name, (when, *_) in ranges(run).items() if name.endswith("-asleep")]

    assert [when for when in evenings if not when.endswith("? * * *)")] == []


def test_for_tasks_that_start_at_midnight_the_database_starts_on_the_evening_before() -> None:
    assert database_start(AwakeHours(0, 8, "UTC")) == "cron(45 23 ? * SUN-THU *)"
    assert database_start(AwakeHours(1, 8, "UTC")) == "cron(45 0 ? * MON-FRI *)"


@pytest.mark.parametrize("start", range(24))
def test_the_database_starts_a_quarter_of_an_hour_ahead_at_whatever_hour(start: int) -> None:
    match = re.fullmatch(r"cron\((\d+) (\d+) .*", database_start(AwakeHours(start, 23, "UTC")))

    assert match
    minute, hour = map(int, match.groups())
    assert (start * 60 - hour * 60 - minute) % (24 * 60) == 15


@pytest.mark.parametrize(
    ("changes", "kind", "key"),
    [
        (HOURS, "DBInstance", "DbInstanceIdentifier"),
        (SLEEPING_AURORA, "DBCluster", "DbClusterIdentifier"),
    ],
)
def test_the_scheduler_calls_rds_itself_for_an_instance_and_a_cluster(
    changes: dict[str, str], kind: str, key: str
) -> None:
    run = run_stack("dev", changes=changes)

    for call, inputs in schedules(run).items():
        target = inputs["target"]
        assert target["arn"] == f"arn:aws:scheduler:::aws-sdk:rds:{call}{kind}"
        assert json.loads(target["input"]) == {key: "rates-dev-database"}
        assert target["roleArn"].endswith(":rates-dev-sleep")
        assert target["retryPolicy"] == {"maximumEventAgeInSeconds": 3600, "maximumRetryAttempts": 10}
        assert inputs["flexibleTimeWindow"] == {"mode": "OFF"}
    may = json.loads(run.one("iam/rolePolicy:RolePolicy", "-sleep").inputs["policy"])["Statement"]
    assert may[0]["Action"] == [f"rds:Start{kind}", f"rds:Stop{kind}"]


def test_all_of_it_goes_by_the_clock_of_the_stacks_time_zone_in_a_group_of_its_own() -> None:
    run = run_stack("dev", changes=HOURS)

    assert {each.inputs["timezone"] for each in run.all(ACTION)} == {"Europe/Paris"}
    zones = {each["scheduleExpressionTimezone"] for each in schedules(run).values()}
    assert zones == {"Europe/Paris"}
    group = run.one("scheduler/scheduleGroup:ScheduleGroup")
    assert {each["groupName"] for each in schedules(run).values()} == {group.name} == {"rates-dev-sleep"}


@pytest.mark.parametrize("changes", [HOURS, SLEEPING_AURORA])
def test_the_scheduler_may_start_and_stop_this_database_and_nothing_else(changes: dict[str, str]) -> None:
    assert faults(run_stack("dev", changes=changes)) == []


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "fault"),
    [
        ("iam/role:Role", "scheduler.amazonaws.com", "ec2.amazonaws.com", "another service acts in it"),
        ("iam/role:Role", ":rates-dev-sleep", ":*", "schedules of others act in it"),
        ("iam/rolePolicy:RolePolicy", "rds:StopDBInstance", "rds:*", "more actions"),
        ("iam/rolePolicy:RolePolicy", ":rates-dev-database", ":*", "other resources"),
    ],
)
def test_a_right_that_is_wider_would_be_found(kind: str, right: str, wrong: str, fault: str) -> None:
    run = run_stack("dev")
    inputs = run.one(kind, "-sleep").inputs
    (document,) = inputs.keys() & {"assumeRolePolicy", "policy"}
    assert right in inputs[document]
    inputs[document] = inputs[document].replace(right, wrong)

    assert faults(run) == [fault]


@pytest.mark.parametrize("stack", STACKS)
def test_only_a_stack_with_hours_sleeps(stack: str) -> None:
    run = declared(stack)

    asleep = bool(run.all(SCHEDULE) or run.all(ACTION) or run.all("scheduler/scheduleGroup:ScheduleGroup"))
    assert asleep is (stack == "dev")


def test_before_there_are_services_the_database_sleeps_alone() -> None:
    run = run_stack("dev", changes=NO_IMAGES)

    assert schedules(run).keys() == {"start", "stop"}
    assert run.all(ACTION) == []
