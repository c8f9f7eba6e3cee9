"""The tasks of every service: closed, without a password, with least rights, and replaced without a gap."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra import api_service, loader_service
from stacks.mock_engine import IMAGES, PLACE, ROOT, SECRET_ARN, SHAPES, Resource, Run, declared, run_stack

DEFINITION = "ecs/taskDefinition:TaskDefinition"
SERVICE = "ecs/service:Service"
SECRETS = {"PGPASSWORD": f"{SECRET_ARN}:password::", "PGUSER": f"{SECRET_ARN}:username::"}
# Where AWS knows nothing narrower: a token for any registry, or questions to load balancing; streams in a
# group; objects under a prefix.
WIDE = {
    "ecr:GetAuthorizationToken": r"\*",
    "elasticloadbalancing:DescribeListeners": r"\*",
    "elasticloadbalancing:DescribeRules": r"\*",
    "elasticloadbalancing:DescribeTargetGroups": r"\*",
    "elasticloadbalancing:DescribeTargetHealth": r"\*",
}
NARROW = re.compile(r"arn:aws:[a-z0-9-]+:[a-z0-9-]*:\d*:[^*]+(?<!\*)(:\*|/(batches|chunks)/\*)?")


def containers(definition: Resource) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(definition.inputs["containerDefinitions"])}


def every_container(run: Run) -> Iterator[dict[str, Any]]:
    for definition in run.all(DEFINITION):
        yield from containers(definition).values()


def statements(run: Run, name: str) -> list[dict[str, Any]]:
    return json.loads(run.one("iam/rolePolicy:RolePolicy", name).inputs["policy"])["Statement"]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_container_is_root_or_writes_to_its_file_system_or_holds_a_right_of_the_kernel(shape: str) -> None:
    found = list(every_container(declared(shape)))

    assert found
    for container in found:
        assert container["user"] == "10001:10001"
        assert container["readonlyRootFilesystem"] is True
        assert container["linuxParameters"] == {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}}
        assert "privileged" not in container, "Fargate knows no such ones"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loader_alone_has_a_disk_to_write_on_which_goes_with_its_task(shape: str) -> None:
    run = declared(shape)
    definition = run.one(DEFINITION, "-loader")

    assert {each["name"]: each["mountPoints"] for each in every_container(run) if "mountPoints" in each} == {
        "loader": [{"sourceVolume": "tmp", "containerPath": "/tmp", "readOnly": False}]  # noqa: S108
    }
    assert definition.inputs["volumes"] == [{"name": "tmp"}]
    assert definition.inputs["ephemeralStorage"] == {"sizeInGib": 50 if shape == "prod" else 21}
    assert run.one(DEFINITION, "-api").inputs.keys().isdisjoint({"volumes", "ephemeralStorage"})


def test_the_disk_has_the_rights_of_the_images_own_folder_so_that_its_user_may_write_there() -> None:
    """A volume takes them from a folder that the image declares one; and what is done to it later is lost."""
    *_before, last = (ROOT / "loader/Dockerfile").read_text().split("VOLUME /tmp\n")

    assert len(_before) == 1
    assert not re.search(r"^(RUN|COPY|ADD) ", last, re.MULTILINE)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_are_those_of_the_settings_by_digest(shape: str) -> None:
    images = {container["image"] for container in every_container(declared(shape))}

    assert images == set(IMAGES.values())
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)


@pytest.mark.parametrize("shape", SHAPES)
def test_migrations_have_succeeded_before_any_program_starts_and_alone_are_the_owner(shape: str) -> None:
    run = declared(shape)

    for definition in run.all(DEFINITION):
        found = containers(definition)
        migration = found.pop("migrate")
        assert (migration["image"], migration["command"]) == (IMAGES["loaderImage"], ["migrate"])
        assert migration["essential"] is False, "or its end would end the task"
        assert {each["name"]: each["valueFrom"] for each in migration["secrets"]} == SECRETS
        (program,) = found.values()
        assert program["essential"] is True
        assert program["dependsOn"] == [{"containerName": "migrate", "condition": "SUCCESS"}]
        assert "secrets" not in program


@pytest.mark.parametrize("shape", SHAPES)
def test_no_secret_is_in_an_environment_and_programs_log_in_with_tokens(shape: str) -> None:
    for container in every_container(declared(shape)):
        environment = {each["name"]: each["value"] for each in container["environment"]}
        found = [name for name in environment if re.search("PASS|SECRET|TOKEN|_KEY|URL$", name)]
        secret = {"api": "RATES_API_TOKENS", "loader": "RATES_CALLBACK_SECRET"}.get(container["name"])
        assert found == (["BATCH_QUEUE_URL", secret] if secret else [])
        if secret:
            assert environment[secret].startswith("arn:aws:secretsmanager:")
        assert (environment.get("RATES_DB_AUTH") == "iam") is (container["name"] != "migrate")


def test_programs_log_in_as_the_roles_that_the_migrations_make() -> None:
    made = (ROOT / "database/migrations/versions/0004_roles.sql").read_text()

    assert f"ARRAY['{api_service.USER}', '{loader_service.USER}']" in made


@pytest.mark.parametrize("shape", SHAPES)
def test_every_connection_to_the_database_checks_its_certificate(shape: str) -> None:
    run = declared(shape)

    for container in every_container(run):
        environment = {each["name"]: each["value"] for each in container["environment"]}
        assert environment["PGSSLMODE"] == "verify-full"
        assert environment["PGSSLROOTCERT"] == "/etc/ssl/certs/rds.pem"
        assert environment["PGHOST"] == run.exports["databaseHost"]
        assert (environment["PGDATABASE"], environment["PGPORT"]) == ("rates", "5432")


@pytest.mark.parametrize("shape", SHAPES)
def test_environments_are_sorted_as_ecs_gives_them_back(shape: str) -> None:
    for container in every_container(declared(shape)):
        names = [each["name"] for each in container["environment"]]
        assert names == sorted(names)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_policy_has_a_wildcard_but_where_aws_has_nothing_narrower(shape: str) -> None:
    run = declared(shape)
    # What delivers and previews has tests of its own: `test_delivery.py`, `test_review.py`.
    policies = [
        each
        for each in run.all("iam/rolePolicy:RolePolicy")
        if not each.name.startswith((f"rates-{run.stack}-delivery", f"rates-{run.stack}-review"))
    ]

    assert policies
    for statement in itertools.chain.from_iterable(statements(run, each.name) for each in policies):
        for action, resource in itertools.product(
            as_list(statement["Action"]), as_list(statement["Resource"])
        ):
            assert "*" not in action
            assert re.fullmatch(WIDE.get(action, NARROW), resource), (action, resource)
    attached = [each.name for each in run.resources if "PolicyAttachment" in each.type]
    assert [name for name in attached if not name.startswith(f"rates-{run.stack}-delivery-")] == []
    assert [each for each in run.all("iam/role:Role") if "managedPolicyArns" in each.inputs] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_ecs_may_start_a_task_and_nothing_else(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}"

    for service in run.all(SERVICE):
        token, pull, log, secret, key = statements(run, f"{service.name}-start")
        assert token["Action"] == ["ecr:GetAuthorizationToken"]
        assert {arn.partition(":repository/")[2] for arn in pull["Resource"]} <= {"rates-api", "rates-loader"}
        assert log["Resource"] == f"arn:aws:cloudwatch:{PLACE}:{service.name}:*"
        assert (secret["Action"], secret["Resource"]) == (["secretsmanager:GetSecretValue"], SECRET_ARN)
        assert (key["Action"], key["Resource"]) == (["kms:Decrypt"], f"arn:aws:kms:{PLACE}:{name}-database")
        assert key["Condition"] == {
            "StringEquals": {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}
        }


@pytest.mark.parametrize("shape", SHAPES)
def test_only_ecs_of_this_account_and_region_acts_in_the_roles(shape: str) -> None:
    run = declared(shape)
    roles = [role for role in run.all("iam/role:Role") if role.name.endswith(("-start", "-task"))]

    assert len(roles) == 2 * len(run.all(SERVICE))
    for role in roles:
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        assert statement == {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:ecs:eu-west-1:123456789012:*"},
            },
        }


@pytest.mark.parametrize("shape", SHAPES)
def test_logs_are_encrypted_kept_as_the_stack_says_and_apart_for_each_service(shape: str) -> None:
    run = declared(shape)
    key = f"arn:aws:kms:{PLACE}:rates-{run.stack}-logs"
    key_policy = run.one("kms/keyPolicy:KeyPolicy", "-logs")

    for definition in run.all(DEFINITION):
        group = run.one("cloudwatch/logGroup:LogGroup", definition.name)
        assert group.inputs["kmsKeyId"] == key
        assert group.inputs["retentionInDays"] == {"staging": 14, "prod": 90}.get(shape, 7)
        assert key_policy.urn in group.dependencies
        for container in containers(definition).values():
            assert container["logConfiguration"]["logDriver"] == "awslogs"
            assert container["logConfiguration"]["options"]["awslogs-group"] == group.inputs["name"]


@pytest.mark.parametrize("shape", SHAPES)
def test_tasks_lie_where_the_stack_says_in_a_group_of_their_own_and_the_databases_clients(shape: str) -> None:
    run = declared(shape)

    for service in run.all(SERVICE):
        assert service.inputs["networkConfiguration"] == {
            "subnets": run.exports["taskSubnetIds"],
            "assignPublicIp": shape in ("dev", "aurora"),
            "securityGroups": [f"{service.name}-id", run.exports["databaseClientSecurityGroupId"]],
        }
        (out,) = [
            rule
            for rule in run.all("SecurityGroupEgressRule")
            if rule.inputs["securityGroupId"] == f"{service.name}-id"
        ]
        assert (out.inputs["fromPort"], out.inputs["toPort"]) == (443, 443)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_deploy_starts_new_tasks_before_it_stops_old_ones_and_goes_back_when_they_fail(shape: str) -> None:
    for service in declared(shape).all(SERVICE):
        assert service.inputs["deploymentMinimumHealthyPercent"] == 100
        assert service.inputs["deploymentMaximumPercent"] == 200
        assert service.inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
        assert service.inputs["waitForSteadyState"] is True
        assert service.inputs["enableExecuteCommand"] is False
    assert {each.inputs["skipDestroy"] for each in declared(shape).all(DEFINITION)} == {True}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_does_not_undo_what_autoscaling_chose(shape: str) -> None:
    run = declared(shape)

    for service in run.all(SERVICE):
        assert service.ignore_changes == ("desiredCount",)
        assert run.one("appautoscaling/target:Target", service.name).inputs["resourceId"] == (
            f"service/rates-{run.stack}/{service.name}"
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_service_comes_after_the_rights_of_its_tasks_and_the_capacity_it_asks_for(shape: str) -> None:
    run = declared(shape)

    for service in run.all(SERVICE):
        needed = [
            run.one("iam/rolePolicy:RolePolicy", f"{service.name}-{role}") for role in ("start", "task")
        ]
        needed.append(run.one("ClusterCapacityProviders"))
        assert {each.urn for each in needed} <= set(service.dependencies)


@pytest.mark.parametrize("architecture", ["X86_64", "ARM64"])
def test_tasks_run_on_the_processor_that_the_images_are_built_for(architecture: str) -> None:
    run = run_stack("dev", changes={"cpuArchitecture": architecture})

    for definition in run.all(DEFINITION):
        assert definition.inputs["runtimePlatform"] == {
            "cpuArchitecture": architecture,
            "operatingSystemFamily": "LINUX",
        }
        assert (definition.inputs["networkMode"], definition.inputs["requiresCompatibilities"]) == (
            "awsvpc",
            ["FARGATE"],
        )
