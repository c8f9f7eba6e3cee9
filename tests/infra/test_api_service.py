"""The API's tasks: reached through the load balancer alone, ended gently, and as many as are needed."""

import json
import re
from typing import Any

import pytest

from infra import timeouts
from stacks.mock_engine import PLACE, ROOT, SHAPES, Run, declared, run_stack


def api(run: Run) -> dict[str, Any]:
    definitions = run.one("ecs/taskDefinition:TaskDefinition", "-api").inputs["containerDefinitions"]
    (container,) = [each for each in json.loads(definitions) if each["name"] == "api"]
    return container


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_load_balancer_reaches_a_task_and_only_on_its_port(shape: str) -> None:
    run = declared(shape)
    name, tcp_8000 = f"rates-{run.stack}", {"ipProtocol": "tcp", "fromPort": 8000, "toPort": 8000}
    into = [
        rule.inputs
        for rule in run.all("SecurityGroupIngressRule")
        if rule.inputs["securityGroupId"] == f"{name}-api-id"
    ]
    out_of_balancer = [
        rule.inputs
        for rule in run.all("SecurityGroupEgressRule")
        if rule.inputs["securityGroupId"] == f"{name}-id"
    ]

    assert into == [
        {"securityGroupId": f"{name}-api-id", "referencedSecurityGroupId": f"{name}-id"} | tcp_8000
    ]
    assert out_of_balancer == [
        {"securityGroupId": f"{name}-id", "referencedSecurityGroupId": f"{name}-api-id"} | tcp_8000
    ]
    assert api(run)["portMappings"] == [{"containerPort": 8000, "protocol": "tcp"}]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_logs_in_as_the_role_that_only_reads_and_may_put_batches_and_do_nothing_else(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}"
    database = "cluster-1" if shape == "aurora" else "db-1"
    statements = json.loads(run.one("RolePolicy", "-api-task").inputs["policy"])["Statement"]

    assert {tuple(each["Action"]): (each["Resource"], each.get("Condition")) for each in statements} == {
        ("rds-db:connect",): (f"arn:aws:rds-db:{PLACE}:dbuser:{database}/rates_api", None),
        (
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        ): (f"arn:aws:s3:{PLACE}:{name}-batches/batches/*", None),
        ("s3:ListBucket", "s3:ListBucketMultipartUploads"): (
            f"arn:aws:s3:{PLACE}:{name}-batches",
            {"StringLikeIfExists": {"s3:prefix": ["batches/*"]}},
        ),
        ("sqs:SendMessage",): (f"arn:aws:sqs:{PLACE}:{name}-batches", None),
        ("secretsmanager:GetSecretValue",): (f"arn:aws:secretsmanager:{PLACE}:{name}-tokens", None),
        ("kms:Decrypt", "kms:GenerateDataKey"): (
            f"arn:aws:kms:{PLACE}:{name}-batches",
            {
                "StringEquals": {
                    "kms:ViaService": [
                        f"{service}.eu-west-1.amazonaws.com" for service in ("s3", "secretsmanager", "sqs")
                    ]
                }
            },
        ),
    }


def test_its_environment_is_what_the_api_reads() -> None:
    changes = {
        "apiOrigins": "https://a.example.com https://b.example.com",
        "apiLimit": "9/second",
        "apiPrivateBatches": "false",
    }
    run = run_stack("dev", changes=changes)

    assert {each["name"]: each["value"] for each in api(run)["environment"]} == {
        "API_DRAIN_S": str(timeouts.DRAIN_S),
        "AWS_DEFAULT_REGION": "eu-west-1",
        "BATCH_BUCKET": run.exports["batchBucket"],
        "BATCH_QUEUE_URL": run.exports["batchQueueUrl"],
        "PGDATABASE": "rates",
        "PGHOST": "rates-dev-database.rds.example",
        "PGPORT": "5432",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ssl/certs/rds.pem",
        "PGUSER": "rates_api",
        "PORT": "8000",
        "RATES_API_TOKENS": run.exports["apiTokensSecretArn"],
        "RATES_CORS_ORIGINS": "https://a.example.com,https://b.example.com",
        "RATES_DB_AUTH": "iam",
        "RATES_DB_PAUSES": "0",
        "RATES_LIMIT": "9/second",
        "RATES_PRIVATE_BATCHES": "0",
        "RATES_PROXIES": "1",
        "RATES_STACK": "dev",
        "WEB_CONCURRENCY": "1",
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_batches_takes_a_token_unless_a_stack_says_otherwise(shape: str) -> None:
    assert {"name": "RATES_PRIVATE_BATCHES", "value": "1"} in api(declared(shape))["environment"]


@pytest.mark.parametrize(
    ("cpu", "memory_mib", "processes"), [("512", "1024", "1"), ("1024", "2048", "1"), ("4096", "8192", "4")]
)
def test_a_task_has_a_process_for_each_whole_processor(cpu: str, memory_mib: str, processes: str) -> None:
    run = run_stack("dev", changes={"apiCpu": cpu, "apiMemoryMib": memory_mib})

    environment = {each["name"]: each["value"] for each in api(run)["environment"]}
    assert environment["WEB_CONCURRENCY"] == processes


@pytest.mark.parametrize("shape", SHAPES)
def test_its_health_check_wakes_no_database_that_pauses(shape: str) -> None:
    environment = {each["name"]: each["value"] for each in api(declared(shape))["environment"]}

    assert environment["RATES_DB_PAUSES"] == ("1" if shape == "aurora" else "0")


def test_the_health_check_is_the_images_which_ecs_does_not_look_at() -> None:
    (options, command) = re.findall(
        r"HEALTHCHECK (.*) \\\n +CMD (.*)", (ROOT / "api/Dockerfile").read_text()
    )[0]
    check = api(declared("dev"))["healthCheck"]

    assert check["command"] == ["CMD", *json.loads(command)]
    assert options == (
        f"--interval={check['interval']}s --timeout={check['timeout']}s "
        f"--start-period={check['startPeriod']}s --retries={check['retries']}"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_task_may_end_what_it_has_in_hand_and_has_time_to_start(shape: str) -> None:
    run = declared(shape)
    service = run.one("ecs/service:Service", "-api")

    assert api(run)["stopTimeout"] == timeouts.API_STOP_S
    assert service.inputs["healthCheckGracePeriodSeconds"] == timeouts.START_S
    assert run.one("lb/listenerRule:ListenerRule").urn in service.dependencies
    (targets,) = service.inputs["loadBalancers"]
    assert (targets["containerName"], targets["containerPort"]) == ("api", 8000)


def test_there_are_as_many_tasks_as_requests_and_processors_ask_for() -> None:
    changes = {"apiTasksMin": "2", "apiTasksMax": "9", "apiRequestsPerTask": "600"}
    run = run_stack("dev", changes=changes)
    target = run.one("appautoscaling/target:Target", "-api").inputs
    policies = {
        each.name: each.inputs["targetTrackingScalingPolicyConfiguration"]
        for each in run.all("appautoscaling/policy:Policy")
        if "-api-" in each.name
    }

    assert (target["minCapacity"], target["maxCapacity"]) == (2, 9)
    assert (target["serviceNamespace"], target["scalableDimension"]) == ("ecs", "ecs:service:DesiredCount")
    requests, cpu = policies["rates-dev-api-requests"], policies["rates-dev-api-cpu"]
    assert requests["targetValue"] == 600
    assert "predefinedMetricSpecification" not in requests, "which looks at one group of targets"
    assert cpu["targetValue"] == 60
    assert cpu["predefinedMetricSpecification"] == {"predefinedMetricType": "ECSServiceAverageCPUUtilization"}


@pytest.mark.parametrize(("spot", "provider"), [("true", "FARGATE_SPOT"), ("false", "FARGATE")])
def test_it_runs_on_spare_capacity_where_the_stack_says_so(spot: str, provider: str) -> None:
    run = run_stack("dev", changes={"apiSpot": spot})
    service = run.one("ecs/service:Service", "-api")

    assert service.inputs["capacityProviderStrategies"] == [{"capacityProvider": provider, "weight": 1}]
    assert provider in run.one("ClusterCapacityProviders").inputs["capacityProviders"]
