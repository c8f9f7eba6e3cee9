"""Alarms: of what, from when on, for whom, and which of them undo a deploy."""

import json
import re
from typing import Any

import pytest

from infra import thresholds, timeouts
from infra.alarms import ABOVE, BELOW
from infra.database_alarms import connections_max, memory_bytes
from infra.metrics import API, LOADER
from infra.settings.database import InstanceSize, ServerlessSize
from infra.storage import RECEIVES_MAX
from stacks.mock_engine import AURORA, NO_IMAGES, PLACE, ROOT, SHAPES, Run, declared, run_stack

ALARM = "cloudwatch/metricAlarm:MetricAlarm"
AURORA_PROD = AURORA | {"databaseAcusMin": "2", "databaseReaders": "1"}
# Threshold, and how many minutes beyond it of how many.
PROD = {
    "api-errors": (ABOVE, 5, 3, 5),
    "api-slow": (ABOVE, 1, 3, 5),
    "api-unhealthy": (ABOVE, 0, 2, 2),
    "balancer-errors": (ABOVE, 5, 3, 5),
    "api-gone": (BELOW, 1, 3, 3),
    "api-cpu": (ABOVE, 90, 5, 5),
    "api-memory": (ABOVE, 90, 5, 5),
    "api-tasks": (ABOVE, 0, 5, 5),
    "loader-cpu": (ABOVE, 90, 5, 5),
    "loader-memory": (ABOVE, 90, 5, 5),
    "loader-tasks": (ABOVE, 0, 5, 5),
    "queue-old": (ABOVE, 1350, 5, 5),
    "dead-letters": (ABOVE, 0, 1, 1),
    "dead-letters-old": (ABOVE, 864_000, 1, 1),
    "batches-failed": (ABOVE, 0, 1, 1),
    "batches-late": (ABOVE, 0, 1, 1),
    "callbacks-given-up": (ABOVE, 0, 1, 1),
    "database-cpu": (ABOVE, 90, 5, 5),
    "database-memory": (BELOW, 858_993_459, 15, 15),
    "database-connections": (ABOVE, 1081, 5, 5),
    "database-load": (ABOVE, 1, 15, 15),
    "database-write": (ABOVE, 0.1, 5, 5),
    "database-read": (ABOVE, 0.02, 5, 5),
    "database-storage": (BELOW, 5_000_000_000, 5, 5),
}
METRICS = {
    "api-errors": ["RequestCount", "HTTPCode_Target_5XX_Count"],
    "api-slow": ["RequestCount", "TargetResponseTime", "long_requests"],
    "api-unhealthy": ["UnHealthyHostCount"] * 2,
    "balancer-errors": ["RequestCount", "HTTPCode_ELB_5XX_Count"],
    "api-gone": ["HealthyHostCount"] * 2,
    "api-cpu": ["CPUUtilization"],
    "api-memory": ["MemoryUtilization"],
    "api-tasks": ["DesiredTaskCount", "RunningTaskCount"],
    "loader-cpu": ["CPUUtilization"],
    "loader-memory": ["MemoryUtilization"],
    "loader-tasks": ["DesiredTaskCount", "RunningTaskCount"],
    "queue-old": ["ApproximateAgeOfOldestMessage"],
    "dead-letters": ["ApproximateNumberOfMessagesVisible"],
    "dead-letters-old": ["ApproximateAgeOfOldestMessage"],
    "batches-failed": ["batches_failed"],
    "batches-late": ["batches_late"],
    "callbacks-given-up": ["callbacks_given_up"],
    "database-cpu": ["CPUUtilization"],
    "database-memory": ["FreeableMemory"],
    "database-connections": ["DatabaseConnections"],
    "database-load": ["DBLoadRelativeToNumVCPUs"],
    "database-write": ["WriteLatency"],
    "database-read": ["ReadLatency"],
    "database-storage": ["FreeStorageSpace"],
}
# What customers feel, and a deploy of the API may have brought.
ROLLING_BACK = {"api-errors", "api-slow", "api-unhealthy"}


def alarms(run: Run) -> dict[str, dict[str, Any]]:
    """Those for people, by their names without the copy's."""
    return {
        alarm.name.removeprefix(f"rates-{run.stack}-"): alarm.inputs
        for alarm in run.all(ALARM)
        if not alarm.inputs["alarmDescription"].startswith("Not for people")
    }


def metrics(alarm: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {query["id"]: query["metric"] for query in alarm["metricQueries"] if "metric" in query}


def expression(alarm: dict[str, Any]) -> str:
    (watched,) = [query for query in alarm["metricQueries"] if query["returnData"]]
    return watched.get("expression", "")


def test_each_alarm_has_its_threshold_and_its_minutes() -> None:
    found = {
        name: (
            alarm["comparisonOperator"],
            alarm["threshold"],
            alarm["datapointsToAlarm"],
            alarm["evaluationPeriods"],
        )
        for name, alarm in alarms(declared("prod")).items()
    }
    assert found == PROD


def test_each_alarm_watches_its_metric_a_minute_at_a_time() -> None:
    found = alarms(declared("prod"))

    assert {
        name: [metric["metricName"] for metric in metrics(alarm).values()] for name, alarm in found.items()
    } == METRICS
    assert {metric["period"] for alarm in found.values() for metric in metrics(alarm).values()} == {60}


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_every_alarm_tells_the_topic_when_it_goes_off_and_when_it_is_over(stack: str) -> None:
    for name, alarm in alarms(declared(stack)).items():
        assert alarm["alarmActions"] == alarm["okActions"] == [f"arn:aws:sns:{PLACE}:rates-{stack}-alarms"]
        assert alarm.get("actionsEnabled", True) is True, name


@pytest.mark.parametrize("changes", [{}, AURORA_PROD])
def test_every_alarm_says_what_it_means_what_to_do_and_where_more_stands(changes: dict[str, str]) -> None:
    for name, alarm in alarms(run_stack("prod", changes=changes)).items():
        means, todo, more = re.split(r"(?<=\.) (?=[A-Z])", alarm["alarmDescription"])
        assert min(len(means), len(todo)) > 20
        assert more == f"More under Alarms in docs/runbook.md: {name}."
        assert len(alarm["alarmDescription"]) <= 1024, "the most that AWS takes"


@pytest.mark.parametrize("changes", [{}, AURORA_PROD])
def test_every_alarm_watches_what_is_declared(changes: dict[str, str]) -> None:
    run = run_stack("prod", changes=changes)
    names = known_names(run)

    for name, alarm in alarms(run).items():
        assert [each["returnData"] for each in alarm["metricQueries"]].count(True) == 1, name
        for metric in metrics(alarm).values():
            for dimension, value in metric["dimensions"].items():
                assert value in names[dimension], (name, dimension)


def known_names(run: Run) -> dict[str, set[str]]:
    """What the dimensions of metrics may say."""
    servers = run.all("rds/instance:Instance") + run.all("ClusterInstance")
    return {
        "LoadBalancer": {f"app/{each.name}/1" for each in run.all("lb/loadBalancer:LoadBalancer")},
        "TargetGroup": {f"targetgroup/{each.name}/1" for each in run.all("lb/targetGroup:TargetGroup")},
        "ClusterName": {each.inputs["name"] for each in run.all("ecs/cluster:Cluster")},
        "ServiceName": {each.name for each in run.all("ecs/service:Service")},
        "DBInstanceIdentifier": {each.inputs["identifier"] for each in servers},
        "QueueName": {each.name for each in run.all("sqs/queue:Queue")},
        "service": {API, LOADER},
        "stack": {run.stack},
    }


def test_a_cheap_copy_has_none_and_the_others_tell_somebody_where_the_stack_says_whom() -> None:
    dev, staging, prod = declared("dev"), declared("staging"), declared("prod")

    assert alarms(dev) == {}
    assert dev.all("sns/topic:Topic") == []
    assert dev.all("cloudwatch/dashboard:Dashboard") == []
    assert alarms(staging).keys() == alarms(prod).keys()
    assert staging.all("sns/topicSubscription:TopicSubscription") == []
    told = prod.one("sns/topicSubscription:TopicSubscription").inputs
    assert (told["protocol"], told["endpoint"]) == ("email", "oncall@example.com")


def test_nothing_rolls_a_deploy_back_but_what_customers_feel() -> None:
    run = declared("prod")
    api, loader = (run.one("ecs/service:Service", f"-{what}").inputs for what in ("api", "loader"))

    assert {name.removeprefix("rates-prod-") for name in api["alarms"]["alarmNames"]} == ROLLING_BACK
    assert (api["alarms"]["enable"], api["alarms"]["rollback"]) == (True, True)
    assert "alarms" not in loader
    watched = {metric["namespace"] for name in ROLLING_BACK for metric in metrics(alarms(run)[name]).values()}
    # Of our own only what is long by its nature, which the load balancer cannot tell.
    assert watched == {"AWS/ApplicationELB", "rates"}
    assert "alarms" not in declared("dev").one("ecs/service:Service", "-api").inputs


def test_alarms_that_roll_back_are_there_before_the_service_and_those_that_would_miss_it_after() -> None:
    run = declared("prod")
    api = run.one("ecs/service:Service", "-api")

    assert {run.one(ALARM, f"prod-{name}").urn for name in ROLLING_BACK} <= set(api.dependencies)
    for name in PROD.keys() - ROLLING_BACK:
        assert api.urn in run.one(ALARM, f"prod-{name}").dependencies, name
    assert alarms(run_stack("prod", changes=NO_IMAGES)).keys() == ROLLING_BACK


def test_tasks_are_watched_in_both_groups_of_targets() -> None:
    run = declared("prod")
    groups = {f"targetgroup/{each.name}/1" for each in run.all("lb/targetGroup:TargetGroup")}

    assert len(groups) == 2
    for name in ("api-unhealthy", "api-gone"):
        found = metrics(alarms(run)[name])
        assert {metric["dimensions"]["TargetGroup"] for metric in found.values()} == groups
        assert all(each in expression(alarms(run)[name]) for each in found)


def test_a_minute_without_a_value_is_fine_but_where_no_value_means_no_task() -> None:
    bad = {
        name for name, alarm in alarms(declared("prod")).items() if alarm["treatMissingData"] == "breaching"
    }
    assert bad == {"api-gone", "api-tasks", "loader-tasks"}
    assert expression(alarms(declared("prod"))["api-gone"]) == "FILL(SUM([healthy1, healthy2]), 0)"


@pytest.mark.parametrize("name", ["api-errors", "api-slow", "balancer-errors"])
def test_a_few_requests_are_too_few_for_a_percentage(name: str) -> None:
    floor = re.match(r"IF\((.+) >= (\d+), .+, 0\)$", expression(alarms(declared("prod"))[name]))

    assert floor
    assert int(floor[2]) == thresholds.REQUESTS_MIN == 20
    assert "requests" in floor[1]


def test_requests_that_bring_a_file_or_wait_for_a_batch_are_not_slow() -> None:
    alarm = alarms(declared("prod"))["api-slow"]

    assert metrics(alarm)["slow"]["stat"] == "PR(2:)", "the percentage of those that take 2 s or more"
    assert metrics(alarm)["long"]["dimensions"] == {"service": "api", "stack": "prod"}
    assert expression(alarm) == "IF(requests >= 20, slow - 100 * FILL(long, 0) / requests, 0)"


def test_what_the_load_balancer_answers_alone_counts_where_there_are_no_tasks_and_so_no_requests() -> None:
    asked = "(FILL(requests, 0) + FILL(errors, 0))"

    assert expression(alarms(declared("prod"))["balancer-errors"]) == (
        f"IF({asked} >= 20, 100 * FILL(errors, 0) / {asked}, 0)"
    )


def test_tasks_are_missed_below_what_the_stack_wants_and_only_where_they_are_counted() -> None:
    prod = alarms(declared("prod"))

    assert expression(prod["api-tasks"]) == "IF(desired < 3, desired, 3) - running"
    assert expression(prod["loader-tasks"]) == "IF(desired < 2, desired, 2) - running"
    uncounted = alarms(run_stack("staging", changes={"containerInsights": "false"}))
    assert {name for name in uncounted if name.endswith("-tasks")} == set()
    from_none = alarms(run_stack("staging", changes={"loaderTasksMin": "0"}))
    assert {name for name in from_none if name.endswith("-tasks")} == {"api-tasks"}


def test_a_message_is_old_after_one_and_a_half_times_the_longest_it_may_be_worked_on() -> None:
    assert alarms(declared("prod"))["queue-old"]["threshold"] == (1.5 * timeouts.VISIBILITY_S * RECEIVES_MAX)
    assert metrics(alarms(declared("prod"))["queue-old"])["oldest"]["dimensions"] == {
        "QueueName": "rates-prod-batches"
    }


def test_a_dead_letter_is_noticed_at_once_and_again_before_it_is_lost() -> None:
    run = declared("prod")
    kept_s = run.one("sqs/queue:Queue", "-dead").inputs["messageRetentionSeconds"]

    for name in ("dead-letters", "dead-letters-old"):
        (metric,) = metrics(alarms(run)[name]).values()
        assert metric["dimensions"] == {"QueueName": "rates-prod-batches-dead"}
    assert alarms(run)["dead-letters-old"]["threshold"] == kept_s - 4 * 24 * 3600


def test_every_server_of_a_cluster_is_watched_and_how_far_readers_are_behind() -> None:
    found = alarms(run_stack("prod", changes=AURORA_PROD))
    per_server = {"cpu", "memory", "connections", "load", "write", "read", "lag"}

    assert {name for name in found if name.startswith("database-")} == {
        f"database-{number}-{what}" for number in (1, 2) for what in per_server
    }
    assert found["database-2-lag"]["threshold"] == 1000
    assert found["database-1-memory"]["threshold"] == int(4 * 2 * 2**30 * 0.05)


def test_the_load_of_a_server_is_watched_where_it_is_measured() -> None:
    found = alarms(run_stack("dev", changes=AURORA | {"alarms": "true"}))

    assert "database-cpu" in found
    assert "database-load" not in found
    assert "database-storage" not in found, "it grows without an end"


@pytest.mark.parametrize(
    ("size", "gib"),
    [
        (InstanceSize("db.t4g.micro", 20, 50), 1),
        (InstanceSize("db.t4g.small", 20, 50), 2),
        (InstanceSize("db.m8g.large", 20, 50), 8),
        (InstanceSize("db.r8g.large", 20, 50), 16),
        (InstanceSize("db.r8g.2xlarge", 20, 50), 64),
        (InstanceSize("db.c6gd.xlarge", 20, 50), 8),
        (InstanceSize("db.new9.large", 20, 50), 8 / 2),
        (ServerlessSize(0.5, 4), 8),
    ],
)
def test_memory_follows_from_the_size(size: InstanceSize | ServerlessSize, gib: float) -> None:
    assert memory_bytes(size) == gib * 2**30


def test_rds_takes_so_many_connections_at_most() -> None:
    assert connections_max(InstanceSize("db.r8g.16xlarge", 20, 50)) == 5000
    assert connections_max(ServerlessSize(0.5, 128)) == 2000
    assert connections_max(ServerlessSize(2, 128)) == 5000


def test_a_copy_that_sleeps_alarms_nobody_while_its_database_is_stopped() -> None:
    run = run_stack("dev", changes={"alarms": "true", "containerInsights": "true"})

    assert alarms(run)
    for name, alarm in alarms(run).items():
        assert expression(alarm).endswith(" + 0 * awake"), name
        assert metrics(alarm)["awake"]["metricName"] == "CPUUtilization"
        assert metrics(alarm)["awake"]["dimensions"] == {"DBInstanceIdentifier": "rates-dev-database"}
        assert alarm["treatMissingData"] == "notBreaching", name
    assert alarms(run)["api-gone"]["evaluationPeriods"] == 15, "tasks wait for the database, when all wake"
    assert expression(alarms(run)["database-cpu"]) == "(cpu) + 0 * awake"


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_alarms_and_the_pipelines_notices_of_this_account_may_use_the_topic_and_its_key(stack: str) -> None:
    run = declared(stack)
    name = f"rates-{stack}-alarms"
    key, topic = f"arn:aws:kms:{PLACE}:{name}", f"arn:aws:sns:{PLACE}:{name}"
    ours = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    through_sns = {"StringEquals": {"kms:ViaService": "sns.eu-west-1.amazonaws.com"}}

    assert run.one("sns/topic:Topic").inputs["kmsMasterKeyId"] == f"key-of-{name}"
    assert policy_of(run, "kms/keyPolicy:KeyPolicy", "-alarms") == [
        {
            "Sid": "TheAccountDecides",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{key.split(':')[4]}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        *[
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Resource": "*",
                "Condition": condition,
            }
            for service, condition in [
                ("cloudwatch.amazonaws.com", ours),
                ("codestar-notifications.amazonaws.com", through_sns),
            ]
        ],
    ]
    assert policy_of(run, "sns/topicPolicy:TopicPolicy", "-alarms") == [
        *[
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": ["sns:Publish"],
                "Resource": topic,
                "Condition": ours,
            }
            for service in ("cloudwatch.amazonaws.com", "codestar-notifications.amazonaws.com")
        ],
        {
            "Sid": "OnlyOverTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": [topic],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ]


def policy_of(run: Run, kind: str, name: str) -> list[dict[str, Any]]:
    return json.loads(run.one(kind, name).inputs["policy"])["Statement"]


@pytest.mark.parametrize("shape", SHAPES)
def test_alarms_that_scale_the_loader_are_for_nobody(shape: str) -> None:
    scaling = [
        alarm.inputs
        for alarm in declared(shape).all(ALARM)
        if alarm.inputs["alarmDescription"].startswith("Not for people")
    ]

    assert len(scaling) == 2
    for alarm in scaling:
        (action,) = alarm["alarmActions"]
        assert action.startswith("arn:aws:appautoscaling:")


def test_the_runbook_says_of_every_alarm_what_to_do() -> None:
    runbook = (ROOT / "docs/runbook.md").read_text()
    said = set(re.findall(r"`([a-z-]+)`(?=[^|\n]*\|)", runbook[runbook.index("## Alarms") :]))

    assert alarms(declared("prod")).keys() <= said
