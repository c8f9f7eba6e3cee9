"""The pipeline: what starts it, in what order it works, who approves, and what each part of it may do."""

import itertools
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from stacks.mock_engine import PLACE, Run, declared, run_stack

DELIVERED = ["staging", "prod"]
BUCKET = "arn:aws:s3:::example-rates-state/.pulumi"
ACCOUNT = "123456789012"


def pipeline(run: Run) -> dict[str, Any]:
    return run.one("codepipeline/pipeline:Pipeline").inputs


def stages(run: Run) -> dict[str, list[dict[str, Any]]]:
    return {stage["name"]: stage["actions"] for stage in pipeline(run)["stages"]}


def project(run: Run, name: str) -> dict[str, Any]:
    return run.one("codebuild/project:Project", f"-{name}").inputs


def environment(run: Run, name: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in project(run, name)["environment"]["environmentVariables"]}


def statements(run: Run, role: str) -> list[dict[str, Any]]:
    """Of the policies in a role and beside it."""
    name = f"rates-{run.stack}-{role}"
    inside = [each for each in run.all("iam/rolePolicy:RolePolicy") if each.name == name]
    attached = {each.name for each in run.all("RolePolicyAttachment") if each.inputs["role"] == name}
    beside = [each for each in run.all("iam/policy:Policy") if each.name in attached]
    assert len(attached) == len(beside)
    return [
        statement
        for policy in (*inside, *beside)
        for statement in json.loads(policy.inputs["policy"])["Statement"]
    ]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def rights(found: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for statement in found:
        if statement["Effect"] == "Allow":
            yield from itertools.product(as_list(statement["Action"]), as_list(statement["Resource"]))


def may(found: list[dict[str, Any]], action: str, resource: str) -> bool:
    """By actions and resources alone, whatever the conditions; a refusal goes before a right."""
    return any(fits(each, action, resource) for each in found if each["Effect"] == "Allow") and not any(
        fits(each, action, resource) for each in found if each["Effect"] == "Deny"
    )


def fits(statement: dict[str, Any], action: str, resource: str) -> bool:
    named = any(fnmatchcase(action, each) for each in as_list(statement.get("Action", [])))
    if "NotAction" in statement:
        named = not any(fnmatchcase(action, each) for each in statement["NotAction"])
    return named and any(fnmatchcase(resource, each) for each in as_list(statement["Resource"]))


@pytest.mark.parametrize("stack", DELIVERED)
def test_a_push_to_the_branch_starts_it_unless_it_only_changes_what_people_read(stack: str) -> None:
    (trigger,) = pipeline(declared(stack))["triggers"]
    (push,) = trigger["gitConfiguration"]["pushes"]

    assert trigger["gitConfiguration"]["sourceActionName"] == "Source"
    assert push == {
        "branches": {"includes": ["main"]},
        "filePaths": {"excludes": ["docs/**", "*.md", "**/*.md"]},
    }
    (source,) = stages(declared(stack))["Source"]
    assert source["configuration"]["FullRepositoryId"] == "example/rates"
    assert source["configuration"]["DetectChanges"] == "false"


@pytest.mark.parametrize("stack", DELIVERED)
def test_no_deploy_is_cut_in_two_by_the_next(stack: str) -> None:
    found = pipeline(declared(stack))

    assert (found["pipelineType"], found["executionMode"]) == ("V2", "QUEUED")


def test_somebody_approves_what_goes_to_production_and_nobody_what_goes_to_staging() -> None:
    assert list(stages(declared("prod"))) == ["Source", "Build", "Approve", "Deploy"]
    assert list(stages(declared("staging"))) == ["Source", "Build", "Deploy"]
    (approval,) = stages(declared("prod"))["Approve"]
    assert (approval["category"], approval["provider"]) == ("Approval", "Manual")
    assert "#{Source.CommitId}" in approval["configuration"]["CustomData"]
    assert declared("dev").all("codepipeline/pipeline:Pipeline") == []
    assert declared("dev").exports["pipeline"].startswith("none")


@pytest.mark.parametrize("stack", DELIVERED)
def test_a_deploy_comes_after_tests_and_images_that_are_made_side_by_side_of_one_commit(stack: str) -> None:
    found = stages(declared(stack))
    check, images = found["Build"]
    (deploy,) = found["Deploy"]

    assert check["runOrder"] == images["runOrder"]
    assert check["inputArtifacts"] == images["inputArtifacts"] == found["Source"][0]["outputArtifacts"]
    assert images["outputArtifacts"] == ["images"]
    assert deploy["inputArtifacts"] == ["source", "images"]
    assert deploy["configuration"]["PrimarySource"] == "source"


@pytest.mark.parametrize("stack", DELIVERED)
def test_builds_are_told_the_stack_and_nothing_secret(stack: str) -> None:
    for name in ("check", "images", "deploy"):
        assert project(declared(stack), name)["source"]["buildspec"] == f"delivery/{name}.yml"
        assert environment(declared(stack), name) == {
            "API_REPOSITORY": f"registry.example/rates-{stack}-api",
            "IMAGE_PLATFORM": "linux/amd64",
            "LOADER_REPOSITORY": f"registry.example/rates-{stack}-loader",
            "PULUMI_BACKEND_URL": "s3://example-rates-state",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "STACK": stack,
        }


def test_images_alone_are_built_privileged_and_on_the_processor_that_they_run_on() -> None:
    run = run_stack("staging", changes={"cpuArchitecture": "ARM64"})
    found = {name: project(run, name)["environment"] for name in ("check", "images", "deploy")}

    assert {name for name, each in found.items() if each["privilegedMode"]} == {"images"}
    assert {name for name, each in found.items() if each["type"] == "ARM_CONTAINER"} == {"images"}
    assert environment(run, "images")["IMAGE_PLATFORM"] == "linux/arm64"


@pytest.mark.parametrize("stack", DELIVERED)
def test_artifacts_and_logs_are_encrypted_and_go_after_a_while(stack: str) -> None:
    run = declared(stack)
    key = f"arn:aws:kms:{PLACE}:rates-{stack}-delivery"
    (store,) = pipeline(run)["artifactStores"]
    rules = run.one("BucketLifecycleConfiguration", "-delivery").inputs["rules"]

    assert store["encryptionKey"] == {"type": "KMS", "id": key}
    assert run.one("BucketPublicAccessBlock", "-delivery").inputs["restrictPublicBuckets"] is True
    (encryption,) = run.one("BucketServerSideEncryptionConfiguration", "-delivery").inputs["rules"]
    assert encryption["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"] == key
    assert {rule["filter"]["prefix"]: rule["expiration"]["days"] for rule in rules} == {"": 30, "cache/": 14}
    for name in ("check", "images", "deploy"):
        logs = run.one("cloudwatch/logGroup:LogGroup", f"-delivery-{name}")
        assert logs.inputs["retentionInDays"] == {"staging": 14, "prod": 90}[stack]
        assert logs.inputs["kmsKeyId"] == f"arn:aws:kms:{PLACE}:rates-{stack}-logs"
        assert project(run, name)["logsConfig"]["cloudwatchLogs"]["groupName"] == logs.inputs["name"]
        assert project(run, name)["encryptionKey"] == key


@pytest.mark.parametrize("stack", DELIVERED)
def test_the_pipeline_starts_builds_and_a_check_has_its_log_and_artifacts_alone(
    stack: str,
) -> None:
    run = declared(stack)
    bucket = f"arn:aws:s3:{PLACE}:rates-{stack}-delivery"

    def own(name: str) -> set[tuple[str, str]]:
        objects = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject")
        return {
            *((action, f"{bucket}/rates-*") for action in objects),
            *((f"kms:{action}", f"arn:aws:kms:{PLACE}:rates-{stack}-delivery") for action in KEY_USES),
            *((action, f"arn:aws:cloudwatch:{PLACE}:rates-{stack}-delivery-{name}:*") for action in LOG_USES),
        }

    assert set(rights(statements(run, "delivery-check"))) == own("check")
    services = {action.partition(":")[0] for action, _ in rights(statements(run, "delivery"))}
    asks = {"sns"} if stack == "prod" else set()
    assert services == {"codeconnections", "codebuild", "s3", "kms"} | asks


KEY_USES = ("Decrypt", "GenerateDataKey")
LOG_USES = ("logs:CreateLogStream", "logs:PutLogEvents")


@pytest.mark.parametrize("stack", DELIVERED)
def test_images_are_pushed_to_the_two_repositories_of_the_stack_alone(stack: str) -> None:
    pushed = {resource for action, resource in rights(statements(declared(stack), "delivery-images"))
              if action == "ecr:PutImage"}  # fmt: skip

    assert pushed == {f"arn:aws:ecr:{PLACE}:rates-{stack}-{image}" for image in ("api", "loader")}


@pytest.mark.parametrize("stack", DELIVERED)
def test_nobody_but_the_deploy_updates_services(stack: str) -> None:
    run = declared(stack)
    service = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:service/rates-{stack}/rates-{stack}-api"
    roles = [role.name.removeprefix(f"rates-{stack}-") for role in run.all("iam/role:Role")]

    assert [role for role in roles if may(statements(run, role), "ecs:UpdateService", service)] == [
        "delivery-deploy"
    ]


@pytest.mark.parametrize("stack", DELIVERED)
def test_a_deploy_writes_the_state_of_its_stack_and_reads_no_other(stack: str) -> None:
    found = statements(declared(stack), "delivery-deploy")
    other = f"{stack}-2"

    for path in (f"stacks/rates/{stack}.json", f"locks/organization/rates/{stack}/1.json"):
        assert may(found, "s3:PutObject", f"{BUCKET}/{path}")
        assert not may(found, "s3:GetObject", f"{BUCKET}/{path.replace(stack, other)}")
    for kind in ("history", "backups"):
        assert may(found, "s3:PutObject", f"{BUCKET}/{kind}/rates/{stack}/1.json")
        assert not may(found, "s3:DeleteObject", f"{BUCKET}/{kind}/rates/{stack}/1.json")
    assert not may(found, "s3:PutObject", f"{BUCKET}/meta.yaml")


@pytest.mark.parametrize("stack", DELIVERED)
def test_a_deploy_reads_no_batch_and_no_secret(stack: str) -> None:
    found = statements(declared(stack), "delivery-deploy")

    assert not may(found, "s3:GetObject", f"arn:aws:s3:::rates-{stack}-batches-1/batches/one.csv")
    for action in (
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "rds-db:connect",
        "sqs:ReceiveMessage",
        "ecs:ExecuteCommand",
    ):
        assert {resource for right, resource in rights(found) if fnmatchcase(action, right)} == set()


@pytest.mark.parametrize("name", ["tokens", "callbacks"])
@pytest.mark.parametrize("stack", DELIVERED)
def test_a_deploy_makes_the_secrets_of_its_stack_and_no_other(stack: str, name: str) -> None:
    found = statements(declared(stack), "delivery-deploy")
    secret = f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:rates-{{}}-{name}-1a2b3c4-AbCdEf"

    for action in ("CreateSecret", "DeleteSecret", "DescribeSecret", "TagResource", "UpdateSecret"):
        assert may(found, f"secretsmanager:{action}", secret.format(stack))
        assert not may(found, f"secretsmanager:{action}", secret.format("other"))


@pytest.mark.parametrize("stack", DELIVERED)
def test_a_deploy_gives_rights_only_within_the_boundary_and_none_to_the_pipeline_itself(stack: str) -> None:
    found = statements(declared(stack), "delivery-deploy")
    bound = {
        "StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam:{PLACE}:rates-{stack}-delivery-boundary"}
    }
    roles = f"arn:aws:iam::{ACCOUNT}:role/rates-{stack}"

    for action in (
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:AttachRolePolicy",
        "iam:PutRolePermissionsBoundary",
    ):
        assert may(found, action, f"{roles}-api-task-1")
        (statement,) = [each for each in found if each["Effect"] == "Allow" and action in each["Action"]]
        assert statement["Condition"] == bound
        for own in ("delivery-1", "delivery-deploy-1", "review-1"):
            assert not may(found, action, f"{roles}-{own}")
        assert not may(found, action, f"arn:aws:iam::{ACCOUNT}:role/admin")
    assert not may(found, "iam:PassRole", f"{roles}-delivery-deploy-1")
    assert not may(found, "iam:DeleteRolePermissionsBoundary", f"{roles}-api-task-1")
    for action in (
        "iam:CreatePolicyVersion",
        "iam:CreateUser",
        "codepipeline:UpdatePipeline",
        "sts:AssumeRole",
    ):
        assert [right for right, _ in rights(found) if fnmatchcase(action, right)] == []


@pytest.mark.parametrize("stack", DELIVERED)
def test_what_iam_knows_no_names_for_is_limited_by_region_or_tags(stack: str) -> None:
    for statement in statements(declared(stack), "delivery-deploy"):
        if statement["Effect"] == "Allow" and "*" in as_list(statement["Resource"]):
            keys = statement["Condition"]["StringEquals"].keys()
            assert keys & {"aws:RequestedRegion", "aws:ResourceTag/Stack"}, statement["Action"]


@pytest.mark.parametrize("stack", DELIVERED)
def test_every_role_of_the_copy_is_within_the_boundary_and_needs_nothing_beyond(
    stack: str,
) -> None:
    run = declared(stack)
    policy = run.one("iam/policy:Policy", "-delivery-boundary")
    allowed = [right for right, _ in rights(json.loads(policy.inputs["policy"])["Statement"])]
    assert [right for right in allowed if right.startswith(("iam:", "sts:", "organizations:"))] == []

    for role in run.all("iam/role:Role"):
        short = role.name.removeprefix(f"rates-{stack}-")
        if short.startswith(("delivery", "review")):
            assert "permissionsBoundary" not in role.inputs
            continue
        assert role.inputs["permissionsBoundary"] == f"arn:aws:iam:{PLACE}:rates-{stack}-delivery-boundary"
        for action, _ in rights(statements(run, short)):
            assert any(fnmatchcase(action, right) for right in allowed), (role.name, action)


@pytest.mark.parametrize("stack", DELIVERED)
def test_policies_are_no_longer_than_iam_takes_under_the_longest_name_of_a_stack(stack: str) -> None:
    run = run_stack("s" * 32, stack)

    for policy in run.all("iam/policy:Policy"):
        assert len("".join(policy.inputs["policy"].split())) <= 6144, policy.name
    for policy in run.all("iam/rolePolicy:RolePolicy"):
        assert len("".join(policy.inputs["policy"].split())) <= 10240, policy.name


@pytest.mark.parametrize("stack", DELIVERED)
def test_codebuild_and_codepipeline_act_in_the_roles_for_this_account_alone(stack: str) -> None:
    for role in declared(stack).all("iam/role:Role"):
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        if "-delivery" in role.name:
            assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
            assert f":{ACCOUNT}:" in statement["Condition"]["ArnLike"]["aws:SourceArn"]


@pytest.mark.parametrize("stack", DELIVERED)
def test_the_step_that_is_left_to_people_is_said_with_its_address(stack: str) -> None:
    exports = declared(stack).exports

    assert exports["pipeline"].startswith("until somebody has authorised the connection to GitHub once")
    assert "https://eu-west-1.console.aws.amazon.com/codesuite/settings/connections" in exports["pipeline"]
    assert f"/pipelines/rates-{stack}-delivery/" in exports["pipelineAddress"]


def test_failures_and_what_waits_for_approval_are_told_to_those_that_alarms_tell() -> None:
    run = declared("prod")
    topic = f"arn:aws:sns:{PLACE}:rates-prod-alarms"
    rule = run.one("NotificationRule").inputs
    (approval,) = stages(run)["Approve"]

    assert rule["targets"] == [{"type": "SNS", "address": topic}]
    assert rule["eventTypeIds"] == ["codepipeline-pipeline-pipeline-execution-failed"]
    assert approval["configuration"]["NotificationArn"] == topic
    may = set(rights(statements(run, "delivery")))
    # The topic is encrypted, and who publishes encrypts.
    assert ("sns:Publish", topic) in may
    assert ("kms:GenerateDataKey*", f"arn:aws:kms:{PLACE}:rates-prod-alarms") in may


def test_where_there_are_no_alarms_nobody_is_told() -> None:
    run = run_stack("staging", changes={"alarms": "false"})

    assert run.all("NotificationRule") == []
