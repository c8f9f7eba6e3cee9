"""The policy pack: the program keeps every rule of it, and each rule stops what it is there for."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pulumi_policy import EnforcementLevel

from infra.policy_pack.pack import MODULES, POLICIES
from stacks.mock_engine import ROOT, SHAPES, Resource, Run, declared, run_stack
from tests.infra.policies import UNKNOWN, violations

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
ROLE_ARN = "arn:aws:iam::123456789012:role/other"
GROUP, DEFAULT_GROUP = "ec2/securityGroup:SecurityGroup", "ec2/defaultSecurityGroup:DefaultSecurityGroup"
INGRESS = "SecurityGroupIngressRule"
BALANCER, LISTENER = "lb/loadBalancer:LoadBalancer", "lb/listener:Listener"
BUCKET, QUEUE = "s3/bucket:Bucket", "sqs/queue:Queue"
BLOCK, OWNERSHIP = "BucketPublicAccessBlock", "BucketOwnershipControls"
BUCKET_ENCRYPTION, BUCKET_POLICY = "BucketServerSideEncryptionConfiguration", "BucketPolicy"
ROLE, ROLE_POLICY = "iam/role:Role", "iam/rolePolicy:RolePolicy"
QUEUE_POLICY, REDRIVE = "sqs/queuePolicy:QueuePolicy", "sqs/redrivePolicy:RedrivePolicy"
DEFINITION, SERVICE = "ecs/taskDefinition:TaskDefinition", "ecs/service:Service"
DATABASE, CLUSTER = "rds/instance:Instance", "rds/cluster:Cluster"
MEMBER, PARAMETERS = "rds/clusterInstance:ClusterInstance", "rds/parameterGroup:ParameterGroup"
REPOSITORY, LOG_GROUP = "ecr/repository:Repository", "cloudwatch/logGroup:LogGroup"
ALARM = "cloudwatch/metricAlarm:MetricAlarm"

# Kinds that a change may add, as the rules want them.
SOUND: dict[str, dict[str, Any]] = {
    "ec2/instance:Instance": {
        "metadataOptions": {"httpTokens": "required"},
        "rootBlockDevice": {"encrypted": True},
    },
    "ec2/launchTemplate:LaunchTemplate": {
        "metadataOptions": {"httpTokens": "required"},
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"encrypted": "true"}}],
    },
    "ebs/volume:Volume": {"encrypted": True},
    "sns/topic:Topic": {"kmsMasterKeyId": KEY},
    "secretsmanager/secret:Secret": {"kmsKeyId": KEY},
    "codebuild/project:Project": {
        "encryptionKey": KEY,
        "artifacts": {"type": "CODEPIPELINE"},
        "logsConfig": {"cloudwatchLogs": {"groupName": "rates-build"}},
        "environment": {
            "environmentVariables": [
                {"name": "PULUMI_TOKEN", "type": "SECRETS_MANAGER", "value": "token"},
                {"name": "STACK", "value": "dev"},
            ]
        },
    },
    "codepipeline/pipeline:Pipeline": {
        "artifactStores": [{"type": "S3", "location": "bucket", "encryptionKey": {"id": KEY, "type": "KMS"}}]
    },
    "iam/rolePolicyAttachment:RolePolicyAttachment": {
        "policyArn": "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
    },
}

Change = Callable[[Run], None]


@dataclass(frozen=True)
class Broken:
    """A change of the program that one rule alone has to stop, with this in what it says."""

    policy: str
    change: Change
    says: str
    shape: str = "dev"


def put(kind: str, name: str = "", **inputs: Any) -> Change:
    """Other inputs for those of a type whose name ends so; None takes one away."""

    def change(run: Run) -> None:
        for resource in chosen(run, kind, name):
            resource.inputs.update(inputs)
            for key in [key for key, value in inputs.items() if value is None]:
                del resource.inputs[key]

    return change


def without(kind: str, name: str = "") -> Change:
    def change(run: Run) -> None:
        gone = [each.urn for each in chosen(run, kind, name)]
        run.resources[:] = [each for each in run.resources if each.urn not in gone]

    return change


def unprotected(kind: str) -> Change:
    def change(run: Run) -> None:
        gone = chosen(run, kind, "")
        run.resources[:] = [replace(each, protect=False) if each in gone else each for each in run.resources]

    return change


def added(kind: str, points_at: Mapping[str, tuple[str, str]] | None = None, **inputs: Any) -> Change:
    """One more of a type; `points_at` says by type and name from whom an input comes."""

    def change(run: Run) -> None:
        like = run.all("kms/key:Key")[0]
        found = {key: (run.one(*target).urn,) for key, target in (points_at or {}).items()}
        name = "rates-dev-added"
        urn = f"urn:pulumi:dev::rates::aws:{kind}::{name}"
        values = {**SOUND.get(kind, {}), **inputs}
        run.resources.append(
            replace(like, type=f"aws:{kind}", name=name, urn=urn, inputs=values, property_dependencies=found)
        )

    return change


def chosen(run: Run, kind: str, name: str) -> list[Resource]:
    found = [each for each in run.all(kind) if each.name.endswith(name)]
    assert found, "what the test would break is not there"
    return found


def in_document(kind: str, name: str, key: str, **statement: Any) -> Change:
    """Other keys for the first statement of a document, which may be none."""

    def change(run: Run) -> None:
        (resource,) = chosen(run, kind, name)
        document = json.loads(resource.inputs[key])
        document["Statement"][0].update(statement)
        resource.inputs[key] = json.dumps(document)

    return change


def stated(kind: str, name: str, **statement: Any) -> Change:
    return in_document(kind, name, "policy", **statement)


def trusted(**statement: Any) -> Change:
    return in_document(ROLE, "-api-task", "assumeRolePolicy", **statement)


def container(**keys: Any) -> Change:
    def change(run: Run) -> None:
        (definition,) = chosen(run, DEFINITION, "-api")
        containers = json.loads(definition.inputs["containerDefinitions"])
        containers[-1].update(keys)
        definition.inputs["containerDefinitions"] = json.dumps(containers)

    return change


def read_by_the_starter(run: Run) -> None:
    """Who starts a task is let read the secret, and so could put it into an environment."""
    let_read(run, "-api-start", "-tokens")


def read_by_the_api(run: Run) -> None:
    """It is reached from everywhere, and needs to sign nothing."""
    let_read(run, "-api-task", "-callbacks")


def let_read(run: Run, role: str, secret: str) -> None:
    (policy,) = chosen(run, ROLE_POLICY, role)
    policy.property_dependencies["policy"] += (run.one("secretsmanager/secret:Secret", secret).urn,)


def encrypted_by_s3(run: Run) -> None:
    put(BUCKET_ENCRYPTION, rules=[{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}])(run)


def https(run: Run) -> None:
    """A second listener beside the one for HTTP, which goes on serving."""
    added(
        LISTENER,
        {"loadBalancerArn": (BALANCER, "")},
        protocol="HTTPS",
        port=443,
        sslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        defaultActions=[{"type": "forward"}],
    )(run)


def another_provider(run: Run) -> None:
    provider = run.one("providers:aws")
    provider.inputs["defaultTags"] = json.dumps({"tags": {"Project": "rates", "Owner": "rates"}})


BREAKS = [
    Broken("open-to-the-internet", put(INGRESS, "-clients", cidrIpv4="0.0.0.0/0"), "found 0.0.0.0/0"),
    Broken("open-to-the-internet", put(INGRESS, "-clients", cidrIpv6="::/0"), "found ::/0"),
    Broken("open-to-the-internet", put(INGRESS, "-clients", cidrIpv4="52.0.0.0/8"), "found 52.0.0.0/8"),
    Broken("open-to-the-internet", put(INGRESS, "-http", toPort=443.0), "found ports 80.0 to 443.0"),
    Broken("no-way-in-for-administration", put(INGRESS, "-clients", fromPort=20.0), "port 22 (SSH)"),
    Broken("no-way-in-for-administration", put(INGRESS, "-clients", ipProtocol="-1"), "port 3389 (RDP)"),
    Broken("no-inline-rules", put(GROUP, "-api", egress=[{"protocol": "-1"}]), "found egress rules inside"),
    Broken("default-group-is-empty", put(DEFAULT_GROUP, egress=[{"protocol": "-1"}]), "found rules in"),
    Broken("default-group-is-empty", without(DEFAULT_GROUP), "found 0 emptied"),
    Broken("balancer-drops-invalid-headers", put(BALANCER, dropInvalidHeaderFields=None), "found dropInv"),
    Broken("listener-speaks-modern-tls", put(LISTENER, protocol="HTTPS"), "found sslPolicy None"),
    Broken(
        "listener-speaks-modern-tls",
        put(LISTENER, protocol="HTTPS", sslPolicy="ELBSecurityPolicy-2016-08"),
        "found sslPolicy ELBSecurityPolicy-2016-08",
    ),
    Broken("http-only-redirects", https, "forward on plain HTTP: allowed is redirect"),
    Broken("metadata-needs-a-token", added("ec2/instance:Instance", metadataOptions={}), "not set"),
    Broken(
        "metadata-needs-a-token",
        added("ec2/launchTemplate:LaunchTemplate", metadataOptions={"httpTokens": "optional"}),
        "found httpTokens optional",
    ),
    Broken("disks-are-encrypted", added("ec2/instance:Instance", rootBlockDevice={}), "encrypted not set"),
    Broken("disks-are-encrypted", added("ebs/volume:Volume", encrypted=False), "encrypted False"),
    Broken(
        "disks-are-encrypted", added("ec2/launchTemplate:LaunchTemplate", blockDeviceMappings=[]), "not set"
    ),
    Broken("bucket-is-closed", put(BLOCK, ignorePublicAcls=False), "found ignorePublicAcls off"),
    Broken("bucket-is-closed", without(BLOCK), "found no BucketPublicAccessBlock"),
    Broken("bucket-owner-owns-all", put(OWNERSHIP, rule={"objectOwnership": "ObjectWriter"}), "ObjectWriter"),
    Broken("bucket-is-encrypted-with-a-key-of-ours", without(BUCKET_ENCRYPTION), "with nothing"),
    Broken("bucket-is-encrypted-with-a-key-of-ours", encrypted_by_s3, "found encryption with AES256"),
    Broken("bucket-takes-tls-only", without(BUCKET_POLICY), "found no policy that denies s3:*"),
    Broken("bucket-takes-tls-only", stated(BUCKET_POLICY, "", Condition={}), "without TLS"),
    Broken("queue-takes-tls-only", without(QUEUE_POLICY, "-dead"), "found no policy that denies sqs:*"),
    Broken("queue-takes-tls-only", stated(QUEUE_POLICY, "-dead", Action="sqs:SendMessage"), "without TLS"),
    Broken("queue-has-dead-letters", without(REDRIVE), "found no RedrivePolicy"),
    Broken("key-rotates", put("kms/key:Key", "-batches", enableKeyRotation=False), "allowed is true"),
    Broken("encrypted-with-a-key-of-ours", put(DATABASE, kmsKeyId=None), "found kmsKeyId not set"),
    Broken("encrypted-with-a-key-of-ours", put(CLUSTER, kmsKeyId=None), "kmsKeyId not set", "aurora"),
    Broken("encrypted-with-a-key-of-ours", put(QUEUE, "-dead", kmsMasterKeyId="alias/aws/sqs"), "alias/aws"),
    Broken("encrypted-with-a-key-of-ours", added("sns/topic:Topic", kmsMasterKeyId=None), "kmsMasterKeyId"),
    Broken("encrypted-with-a-key-of-ours", added("secretsmanager/secret:Secret", kmsKeyId=None), "kmsKeyId"),
    Broken("encrypted-with-a-key-of-ours", added("codebuild/project:Project", encryptionKey=None), "not set"),
    Broken(
        "encrypted-with-a-key-of-ours",
        added("codepipeline/pipeline:Pipeline", artifactStores=[{"type": "S3"}]),
        "found artifactStores.encryptionKey.id not set",
    ),
    Broken("database-is-encrypted", put(DATABASE, storageEncrypted=False), "found storageEncrypted False"),
    Broken(
        "insights-are-encrypted-with-a-key-of-ours",
        put(DATABASE, performanceInsightsKmsKeyId=None),
        "without performanceInsightsKmsKeyId",
    ),
    Broken("repository-is-sound", put(REPOSITORY, "-api", encryptionConfigurations=None), "allowed is KMS"),
    Broken("repository-is-sound", put(REPOSITORY, "-api", imageTagMutability="MUTABLE"), "found imageTagMut"),
    Broken("no-action-wildcard", stated(ROLE_POLICY, "-loader-task", Action="rds-db:*"), "action rds-db:*"),
    Broken("no-action-wildcard", stated(ROLE_POLICY, "-loader-task", Action=["*"]), "found action *"),
    Broken(
        "no-action-wildcard",
        stated("KeyPolicy", "-logs", Principal={"AWS": ROLE_ARN}),
        "found action kms:*",
    ),
    Broken("no-resource-wildcard", stated(ROLE_POLICY, "-api-task", Resource="*"), "rds-db:connect on"),
    Broken("no-resource-wildcard", stated(ROLE_POLICY, "-api-task", NotResource="a"), "found NotResource"),
    Broken(
        "nobody-in-general", stated("KeyPolicy", "-logs", Principal="*", Action="kms:Decrypt"), "found pr"
    ),
    Broken("nobody-in-general", trusted(Principal={"AWS": ["*"]}), "found principal *"),
    Broken("services-act-on-our-behalf", trusted(Condition={}), "found ecs-tasks.amazonaws.com without"),
    Broken("services-act-on-our-behalf", stated(QUEUE_POLICY, "-batches", Condition={}), "found s3.amazon"),
    Broken(
        "strangers-prove-who-they-are",
        trusted(Principal={"Federated": ROLE_ARN}, Condition={"StringEquals": {"example.com:aud": "sts"}}),
        "found no condition on the token's sub",
    ),
    Broken(
        "no-ready-made-administrator",
        added(
            "iam/rolePolicyAttachment:RolePolicyAttachment",
            policyArn="arn:aws:iam::aws:policy/AdministratorAccess",
        ),
        "found arn:aws:iam::aws:policy/AdministratorAccess",
    ),
    Broken("no-users", added("iam/user:User"), "found aws:iam/user:User: allowed are roles"),
    Broken("no-users", added("iam/accessKey:AccessKey"), "found aws:iam/accessKey:AccessKey"),
    Broken("image-by-digest", container(image="registry.example/api:latest"), "found image registry.example"),
    Broken("file-system-is-read-only", container(readonlyRootFilesystem=False), "Filesystem False in api"),
    Broken(
        "only-scratch-is-written",
        container(mountPoints=[{"sourceVolume": "app", "containerPath": "/app", "readOnly": False}]),
        "found /app mounted to be written in api",
    ),
    Broken(
        "only-scratch-is-written", container(mountPoints=[{"containerPath": "/opt"}]), "found /opt mounted"
    ),
    Broken(
        "secret-values-are-put-in-by-people",
        added("secretsmanager/secretVersion:SecretVersion", secretString="anna:read:00"),
        "found a SecretVersion",
    ),
    Broken("secrets-are-read-by-one-program", read_by_the_starter, "found a right to rates-dev-tokens"),
    Broken(
        "secrets-are-read-by-one-program",
        read_by_the_api,
        "found a right to rates-dev-callbacks besides rates-dev-",
    ),
    Broken(
        "secrets-are-read-by-one-program",
        stated(
            ROLE_POLICY,
            "-api-start",
            Action=["secretsmanager:Get*"],
            Resource=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:rates-*"],
        ),
        "secret:rates-*: allowed are secrets by name",
    ),
    Broken("nobody-is-root", container(user="root"), "found user root in api"),
    Broken("nobody-is-root", container(user="0:0"), "found user 0:0 in api"),
    Broken("nobody-is-root", container(user=""), "found user not set in api"),
    Broken("no-rights-of-the-kernel", container(privileged=True), "found privileged in api"),
    Broken("no-rights-of-the-kernel", container(linuxParameters={}), "found capabilities kept in api"),
    Broken(
        "no-secret-in-an-environment",
        container(environment=[{"name": "API_KEY", "value": "k"}]),
        "found API_KEY with a value",
    ),
    Broken(
        "no-secret-in-an-environment",
        added(
            "codebuild/project:Project",
            environment={"environmentVariables": [{"name": "PULUMI_CONFIG_PASSPHRASE", "value": "p"}]},
        ),
        "found PULUMI_CONFIG_PASSPHRASE",
    ),
    Broken("containers-log", container(logConfiguration=None), "found no logConfiguration in api"),
    Broken(
        "database-is-verified",
        container(environment=[{"name": "PGHOST", "value": "h"}, {"name": "PGSSLMODE", "value": "require"}]),
        "found PGSSLMODE require",
    ),
    Broken(
        "no-shell-in-production", put(SERVICE, "-api", enableExecuteCommand=True), "enableExecute", "prod"
    ),
    Broken("database-is-not-public", put(DATABASE, publiclyAccessible=True), "publiclyAccessible True"),
    Broken("database-is-not-public", put(MEMBER, publiclyAccessible=None), "not set", "aurora"),
    Broken("database-demands-tls", put(PARAMETERS, parameters=[]), "found rds.force_ssl not set"),
    Broken("database-demands-tls", without(PARAMETERS), "found parameterGroupName not of this stack"),
    Broken("database-demands-tls", without("ClusterParameterGroup"), "dbClusterParameterGroupName", "aurora"),
    Broken("database-takes-tokens", put(DATABASE, iamDatabaseAuthenticationEnabled=False), "found iamDat"),
    Broken("nobody-knows-the-password", put(DATABASE, password="hunter2"), "found password: allowed is none"),
    Broken("database-has-a-known-certificate", put(DATABASE, caCertIdentifier="rds-ca-2019"), "rds-ca-2019"),
    Broken("database-is-backed-up", put(DATABASE, backupRetentionPeriod=0.0), "found backups of 0 days"),
    Broken("log-ends", put(LOG_GROUP, "-api", retentionInDays=None), "found no retentionInDays"),
    Broken("log-is-encrypted-with-a-key-of-ours", put(LOG_GROUP, "-api", kmsKeyId=None), "no kmsKeyId"),
    Broken("alarm-acts", put(ALARM, "-empty", alarmActions=[]), "found no alarmActions"),
    Broken("alarm-acts", put(ALARM, "-empty", actionsEnabled=False), "none enabled"),
    Broken(
        "build-leaves-nothing-in-the-clear",
        added("codebuild/project:Project", artifacts={"encryptionDisabled": True}),
        "found artifacts.encryptionDisabled true",
    ),
    Broken("build-logs-to-a-group-of-ours", added("codebuild/project:Project", logsConfig={}), "groupName"),
    Broken("names-are-unique", put(DEFINITION, family="task"), "the name task, which rates-dev-"),
    Broken("tagged-with-whose-it-is", another_provider, "without the tags Stack, ManagedBy"),
    Broken("production-cannot-be-deleted", put(DATABASE, deletionProtection=False), "deletionProt", "prod"),
    Broken(
        "production-cannot-be-deleted",
        put(BALANCER, enableDeletionProtection=False),
        "found enableDeletionProtection False",
        "prod",
    ),
    Broken("production-data-is-protected", unprotected(DATABASE), "without `protect`", "prod"),
    Broken("production-leaves-a-snapshot", put(DATABASE, skipFinalSnapshot=True), "found skipFinal", "prod"),
    Broken("production-goes-back-a-week", put(DATABASE, backupRetentionPeriod=3.0), "of 3 days", "prod"),
    Broken("production-survives-a-zone", put(DATABASE, multiAz=False), "found multiAz false", "prod"),
    Broken(
        "production-repositories-keep-images", put(REPOSITORY, "-api", forceDelete=True), "forceDel", "prod"
    ),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_program_keeps_every_rule(shape: str) -> None:
    assert violations(declared(shape), POLICIES) == []


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: f"{broken.policy}: {broken.says}")
def test_a_change_that_breaks_a_rule_is_stopped_by_that_rule_alone(broken: Broken) -> None:
    run = copy.deepcopy(declared(broken.shape))
    broken.change(run)

    found = violations(run, POLICIES)

    assert {violation.policy for violation in found} == {broken.policy}
    assert any(broken.says in violation.message for violation in found), found
    assert all(violation.message.startswith("found ") for violation in found)


def test_every_rule_is_broken_by_a_test_here() -> None:
    assert {broken.policy for broken in BREAKS} == {policy.name for policy in POLICIES}


@pytest.mark.parametrize("kind", SOUND)
def test_what_a_change_may_add_is_taken_where_it_is_sound(kind: str) -> None:
    run = copy.deepcopy(declared("prod"))
    added(kind)(run)

    assert violations(run, POLICIES) == []


def test_a_bucket_for_the_load_balancers_log_may_have_the_key_of_s3() -> None:
    run = copy.deepcopy(declared("dev"))
    encrypted_by_s3(run)
    (balancer,) = run.all(BALANCER)
    balancer.property_dependencies["accessLogs"] = (run.one(BUCKET).urn,)

    assert violations(run, POLICIES) == []


def test_https_beside_http_is_taken_where_http_redirects() -> None:
    run = declared("staging")

    assert {listener.inputs["protocol"] for listener in run.all(LISTENER)} == {"HTTP", "HTTPS"}
    assert [each for each in violations(run, POLICIES) if each.policy == "http-only-redirects"] == []


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_preview_cannot_know_yet_breaks_no_rule(shape: str) -> None:
    """Whatever has the name of another resource in it is unknown in the first preview of a stack."""
    run = copy.deepcopy(declared(shape))
    for resource in run.resources:
        for key in [key for key, urns in resource.property_dependencies.items() if urns]:
            resource.inputs[key] = unknown(resource.inputs[key], f"rates-{run.stack}")

    assert violations(run, POLICIES) == []


def unknown(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: unknown(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [unknown(inner, name) for inner in value]
    return UNKNOWN if isinstance(value, str) and name in value else value


def test_a_cluster_in_production_has_a_server_to_take_over() -> None:
    run = copy.deepcopy(declared("aurora"))
    run.config["rates:production"] = "true"

    found = {each.policy: each.message for each in violations(run, POLICIES)}

    assert found["production-survives-a-zone"] == "found 1 servers: allowed are 2 or more in production"


def test_rules_of_production_leave_other_stacks_alone() -> None:
    run = run_stack("dev", changes={"databaseBackupDays": "1"})

    assert run.config["rates:production"] == "false"
    assert violations(run, POLICIES) == []


def test_every_rule_has_a_name_of_its_own_gives_its_reason_and_stops_what_breaks_it() -> None:
    assert [name for name, count in Counter(each.name for each in POLICIES).items() if count > 1] == []
    for policy in POLICIES:
        assert policy.name == policy.name.lower()
        assert policy.description.endswith(".")
    advised = [each.name for each in POLICIES if each.enforcement_level is not EnforcementLevel.MANDATORY]
    assert advised == ["database-is-backed-up"]


def test_every_module_of_the_pack_with_rules_is_in_it() -> None:
    without_rules = {"__init__", "__main__", "pack", "rule"}
    files = {path.stem for path in (ROOT / "infra/policy_pack").glob("*.py")}

    assert {module.__name__.rpartition(".")[2] for module in MODULES} == files - without_rules
