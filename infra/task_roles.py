"""The two roles of a task: what ECS may do to start it, and what the program in it may do."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra.cluster import Cluster
from infra.database import Database
from infra.iam import Statement, account_of, allow, document, trust


def declare_role(
    name: str, cluster: Cluster, region: str, statements: Sequence[Statement], parent: pulumi.Resource
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """A role for tasks of this account and region only; and its policy, which has to be there first."""
    inside = pulumi.ResourceOptions(parent=parent)
    account = account_of(cluster.arn)
    conditions = {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": pulumi.Output.concat("arn:aws:ecs:", region, ":", account, ":*")},
    }
    role = aws.iam.Role(name, assume_role_policy=trust("ecs-tasks.amazonaws.com", conditions), opts=inside)
    policy = aws.iam.RolePolicy(name, role=role.id, policy=document(*statements), opts=inside)
    return role, policy


def to_start_it(
    repository_arns: Sequence[str], logs: aws.cloudwatch.LogGroup, database: Database, region: str
) -> list[Statement]:
    """Pull the images, write the log, and hand the owner's credentials to the migration."""
    via_secrets = {"StringEquals": {"kms:ViaService": f"secretsmanager.{region}.amazonaws.com"}}
    return [
        allow(["ecr:GetAuthorizationToken"], "*"),  # AWS knows no resource for it
        allow(
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            sorted(set(repository_arns)),
        ),
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], pulumi.Output.concat(logs.arn, ":*")),
        allow(["secretsmanager:GetSecretValue"], database.master_secret_arn),
        {**allow(["kms:Decrypt"], database.key_arn), "Condition": via_secrets},
    ]


def to_log_in(database: Database, user: str) -> Statement:
    return allow(["rds-db:connect"], database.login_arn(user))
