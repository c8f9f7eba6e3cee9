"""Rights in IAM and in the policies of resources: exact actions, exact resources, and nobody in general."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from infra.policy_pack.rule import Declared, about, dig, items, parse

ROLE = "aws:iam/role:Role"
KEY_POLICY = "aws:kms/keyPolicy:KeyPolicy"
# Where documents stand: what an identity may do, who may do what to a resource, who may act in a role.
IDENTITY = {
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    ROLE: "inlinePolicies.policy",
}
RESOURCE = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    KEY_POLICY: "policy",
    "aws:kms/key:Key": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": "policyDocument",
}
TRUST = {ROLE: "assumeRolePolicy"}
# Actions for which AWS knows no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/
WITHOUT_RESOURCE = (
    "application-autoscaling:Describe*",
    "cloudwatch:PutMetricData",
    "ec2:Describe*",
    "ecr:GetAuthorizationToken",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:List*",
    "elasticloadbalancing:Describe*",
    "kms:ListAliases",
    "logs:DescribeResourcePolicies",
    "rds:Describe*",
    "sqs:ListQueues",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "sts:GetCallerIdentity",
    "tag:GetResources",
)
TOO_WIDE = re.compile(r"(AdministratorAccess|PowerUserAccess|FullAccess)$")
# Services that act where the account itself tells them to, and know no such condition. The last one, which
# writes a load balancer's log, has the account in the path that it may write to.
OF_ONE_ACCOUNT = {
    "ec2.amazonaws.com",
    "ecs.amazonaws.com",
    "logdelivery.elasticloadbalancing.amazonaws.com",
}
PEOPLE = (
    "aws:iam/accessKey:AccessKey",
    "aws:iam/user:User",
    "aws:iam/userLoginProfile:UserLoginProfile",
)


def statements(resource: Declared, *places: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Of all documents in the resource that stand at one of the places and are known."""
    paths = [place[resource.type] for place in places if resource.type in place]
    for text in [each for path in paths for each in dig(resource.inputs, path)]:
        yield from items((parse(text) or {}).get("Statement"))


def allowing(resource: Declared, *places: dict[str, str]) -> Iterator[dict[str, Any]]:
    return (each for each in statements(resource, *places) if each.get("Effect") == "Allow")


@about(
    "no-action-wildcard",
    "`*` gives what a service learns to do next year, too.",
    *IDENTITY,
    *RESOURCE,
)
def no_action_wildcard(resource: Declared) -> Iterator[str]:
    for statement in [] if is_boundary(resource) else allowing(resource, IDENTITY, RESOURCE):
        if "NotAction" in statement:
            yield "found NotAction: allowed are actions by name"
        for action in items(statement.get("Action")):
            if action.rpartition(":")[2] == "*" and not of_the_account_on_its_key(resource, statement):
                yield f"found action {action}: allowed are actions by name"


def is_boundary(resource: Declared) -> bool:
    """The most that roles may be given; it gives nothing itself."""
    return resource.type == "aws:iam/policy:Policy" and resource.name.endswith("-boundary")


def of_the_account_on_its_key(resource: Declared, statement: dict[str, Any]) -> bool:
    """Without it IAM has no say about a key, and nobody could mend the key's policy."""
    principals = items((statement.get("Principal") or {}).get("AWS"))
    is_key = resource.type in (KEY_POLICY, "aws:kms/key:Key")
    return is_key and bool(principals) and all(each.endswith(":root") for each in principals)


@about(
    "no-resource-wildcard",
    "A right to everything reaches the other copies in the account and whatever comes later.",
    *IDENTITY,
)
def no_resource_wildcard(resource: Declared) -> Iterator[str]:
    for statement in [] if is_boundary(resource) else allowing(resource, IDENTITY):
        if "NotResource" in statement:
            yield "found NotResource: allowed are resources by name"
        # A condition, on tags for one, says which of them.
        if "*" not in items(statement.get("Resource")) or statement.get("Condition"):
            continue
        for action in items(statement.get("Action")):
            if not any(fnmatchcase(action, known) for known in WITHOUT_RESOURCE):
                yield f"found {action} on resource *: allowed are resources by name, or a condition"


@about(
    "nobody-in-general",
    "A right for `*` is one for every account of AWS.",
    *RESOURCE,
    *TRUST,
)
def nobody_in_general(resource: Declared) -> Iterator[str]:
    for statement in allowing(resource, RESOURCE, TRUST):
        principal = statement.get("Principal")
        named = items(principal.get("AWS")) if isinstance(principal, dict) else items(principal)
        if "*" in named or "NotPrincipal" in statement:
            yield "found principal *: allowed are principals by name"


@about(
    "services-act-on-our-behalf",
    "A service of AWS works for every account, and without a condition could be used by another one.",
    *RESOURCE,
    *TRUST,
)
def services_act_on_our_behalf(resource: Declared) -> Iterator[str]:
    for statement in allowing(resource, RESOURCE, TRUST):
        principal = statement.get("Principal")
        services = set(items(principal.get("Service")) if isinstance(principal, dict) else [])
        if services - OF_ONE_ACCOUNT and not statement.get("Condition"):
            found = ", ".join(sorted(services))
            yield f"found {found} without a condition: allowed is one such as aws:SourceAccount"


@about(
    "strangers-prove-who-they-are",
    "Tokens of an identity provider are everybody's: a role has to say whose it takes, and made for whom.",
    ROLE,
)
def strangers_prove_who_they_are(role: Declared) -> Iterator[str]:
    for statement in allowing(role, TRUST):
        principal = statement.get("Principal")
        if isinstance(principal, dict) and "Federated" in principal:
            keys = {key for condition in (statement.get("Condition") or {}).values() for key in condition}
            for end in (":aud", ":sub"):
                if not any(key.endswith(end) for key in keys):
                    yield f"found no condition on the token's {end[1:]}: allowed is one on aud and sub"


@about(
    "no-ready-made-administrator",
    "AWS's ready-made policies of this width give rights to everything in the account.",
    ROLE,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
)
def no_ready_made_administrator(resource: Declared) -> Iterator[str]:
    for arn in dig(resource.inputs, "policyArn") + dig(resource.inputs, "managedPolicyArns"):
        if TOO_WIDE.search(arn):
            yield f"found {arn}: allowed are policies that say what is needed"


@about("no-users", "A user has a password or a key that stays; roles have credentials that end.", *PEOPLE)
def no_users(resource: Declared) -> Iterator[str]:
    yield f"found {resource.type}: allowed are roles"


def denies_without_tls(document: dict[str, Any], action: str) -> bool:
    return any(
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and items(statement.get("Action")) == [action]
        and dig(statement, "Condition.Bool.aws:SecureTransport") == ["false"]
        for statement in items(document.get("Statement"))
    )
