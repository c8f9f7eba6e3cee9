"""What `pulumi up` of this program may do when the pipeline runs it, and how far that can ever reach.

By name where IAM knows names, since all of a copy's start with the same; by the copy's tags where it knows
numbers alone; in the copy's region where it knows neither. docs/decisions/0007 says why there is a boundary.

Whoever declares something new that is not among these sees the pipeline refused, and adds it here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from infra.iam import Statement, allow

# Who acts in the roles that the program makes for tasks, flow logs, rollouts, the clock and the bastion.
PASSED_TO = [
    "ec2.amazonaws.com",
    "ecs-tasks.amazonaws.com",
    "ecs.amazonaws.com",
    "scheduler.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
]
# Roles of AWS's own, which it makes with a first thing of their kind.
LINKED_SERVICES = [
    "ecs.amazonaws.com",
    "ecs.application-autoscaling.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
    "rds.amazonaws.com",
]


@dataclass(frozen=True)
class Copy:
    """A copy of the system, as IAM tells it from others. `name` starts the names of all that is in it."""

    project: str
    stack: str
    name: str
    region: str
    account: pulumi.Input[str] = "*"  # for the boundary, which is there before any ARN tells the account
    zone_id: str | None = None  # hosted zone of its domain

    def arns(self, service: str, *resources: str) -> list[pulumi.Input[str]]:
        place = [f"arn:aws:{service}:{self.region}:", self.account, ":"]
        return [pulumi.Output.concat(*place, each) for each in resources]

    def iam_arns(self, *resources: str) -> list[pulumi.Input[str]]:
        """IAM's have no region."""
        return [pulumi.Output.concat("arn:aws:iam::", self.account, ":", each) for each in resources]

    @property
    def its_own(self) -> dict[str, str]:
        """Condition: what exists carries its tags."""
        return {f"aws:ResourceTag/{key}": value for key, value in self._tags.items()}

    @property
    def for_it(self) -> dict[str, str]:
        """Condition: what is made gets its tags."""
        return {f"aws:RequestTag/{key}": value for key, value in self._tags.items()}

    @property
    def here(self) -> dict[str, str]:
        return {"aws:RequestedRegion": self.region}

    @property
    def _tags(self) -> dict[str, str]:
        return {"Project": self.project, "Stack": self.stack}


def to_update(
    copy: Copy, boundary_arn: pulumi.Input[str], *delivery_key_arns: pulumi.Input[str]
) -> dict[str, list[Statement]]:
    """By concern, each a policy of its own."""
    return {
        "network": in_the_network(copy),
        "data": on_data(copy),
        "services": on_services(copy),
        "roles": on_roles(copy, boundary_arn),
        "not-itself": not_itself(copy, boundary_arn, delivery_key_arns),
    }


def when(statement: Statement, equals: Mapping[str, Any], **others: dict[str, Any]) -> Statement:
    return {**statement, "Condition": {"StringEquals": equals, **others}}


def in_the_network(copy: Copy) -> list[Statement]:
    """EC2, load balancer and what stands before it: they have numbers, not names."""
    ours, here = copy.its_own, copy.here
    changes = [
        "ec2:AssociateAddress",
        "ec2:AssociateRouteTable",
        "ec2:AttachInternetGateway",
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:CreateRoute",
        "ec2:CreateTags",
        "ec2:DeleteFlowLogs",
        "ec2:DeleteInternetGateway",
        "ec2:DeleteNatGateway",
        "ec2:DeleteRoute",
        "ec2:DeleteRouteTable",
        "ec2:DeleteSecurityGroup",
        "ec2:DeleteSubnet",
        "ec2:DeleteTags",
        "ec2:DeleteVpc",
        "ec2:DeleteVpcEndpoints",
        "ec2:DetachInternetGateway",
        "ec2:DisassociateAddress",
        "ec2:DisassociateRouteTable",
        "ec2:ModifyInstanceAttribute",
        "ec2:ModifySecurityGroupRules",
        "ec2:ModifySubnetAttribute",
        "ec2:ModifyVpcAttribute",
        "ec2:ModifyVpcEndpoint",
        "ec2:ReleaseAddress",
        "ec2:ReplaceRoute",
        "ec2:ReplaceRouteTableAssociation",
        "ec2:RevokeSecurityGroupEgress",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:StartInstances",
        "ec2:StopInstances",
        "ec2:TerminateInstances",
        "elasticloadbalancing:AddListenerCertificates",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:DeleteListener",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteRule",
        "elasticloadbalancing:DeleteTargetGroup",
        "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:ModifyListenerAttributes",
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:ModifyRule",
        "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:ModifyTargetGroupAttributes",
        "elasticloadbalancing:RemoveListenerCertificates",
        "elasticloadbalancing:RemoveTags",
        "elasticloadbalancing:SetSecurityGroups",
        "elasticloadbalancing:SetSubnets",
        "elasticloadbalancing:SetWebAcl",
        "acm:AddTagsToCertificate",
        "acm:DeleteCertificate",
        "acm:DescribeCertificate",
        "acm:ListTagsForCertificate",
        "acm:RemoveTagsFromCertificate",
        "wafv2:AssociateWebACL",
        "wafv2:DeleteWebACL",
        "wafv2:DisassociateWebACL",
        "wafv2:GetWebACL",
        "wafv2:GetWebACLForResource",
        "wafv2:ListTagsForResource",
        "wafv2:PutLoggingConfiguration",
        "wafv2:TagResource",
        "wafv2:UntagResource",
        "wafv2:UpdateWebACL",
    ]
    # Made of what has no tags yet, and in what has; a condition on tags would refuse one or the other.
    new = [
        "ec2:AllocateAddress",
        "ec2:CreateFlowLogs",
        "ec2:CreateInternetGateway",
        "ec2:CreateNatGateway",
        "ec2:CreateRouteTable",
        "ec2:CreateSecurityGroup",
        "ec2:CreateSubnet",
        "ec2:CreateVpc",
        "ec2:CreateVpcEndpoint",
        "ec2:RunInstances",
        "elasticloadbalancing:CreateListener",
        "elasticloadbalancing:CreateLoadBalancer",
        "elasticloadbalancing:CreateRule",
        "elasticloadbalancing:CreateTargetGroup",
        "wafv2:CreateWebACL",
    ]
    reads = ["ec2:Describe*", "ec2:GetSecurityGroupsForVpc", "elasticloadbalancing:Describe*"]
    return [
        when(allow(reads, "*"), here),
        when(allow(new, "*"), here),
        when(allow(changes, "*"), ours | here),
        # A rule has no tags before it is there; the group, which is asked about too, has.
        when(
            allow(
                ["ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress"],
                copy.arns("ec2", "security-group-rule/*"),
            ),
            here,
        ),
        # Tags that come with a new thing.
        {
            **allow(["ec2:CreateTags", "elasticloadbalancing:AddTags"], "*"),
            "Condition": {"StringEquals": copy.for_it | here},
        },
        when(allow(["acm:RequestCertificate"], "*"), copy.for_it | here),
        *in_the_hosted_zone(copy),
    ]


def in_the_hosted_zone(copy: Copy) -> list[Statement]:
    if copy.zone_id is None:
        return []
    actions = ["route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets"]
    return [
        allow(actions, f"arn:aws:route53:::hostedzone/{copy.zone_id}"),
        allow(["route53:GetChange"], "arn:aws:route53:::change/*"),
    ]


def on_data(copy: Copy) -> list[Statement]:
    """Database, buckets, queues, secrets and keys: how they are set, and nothing that is in them."""
    name = copy.name
    kinds = ("db", "cluster", "subgrp", "pg", "cluster-pg", "snapshot", "cluster-snapshot", "og")
    via = [f"{service}.{copy.region}.amazonaws.com" for service in ("rds", "secretsmanager")]
    key_changes = [
        "kms:DescribeKey",
        "kms:EnableKeyRotation",
        "kms:GetKeyPolicy",
        "kms:GetKeyRotationStatus",
        "kms:ListResourceTags",
        "kms:PutKeyPolicy",
        "kms:ScheduleKeyDeletion",
        "kms:TagResource",
        "kms:UntagResource",
        "kms:UpdateKeyDescription",
    ]
    return [
        allow(
            [
                "rds:AddTagsToResource",
                "rds:CreateDB*",
                "rds:DeleteDB*",
                "rds:ListTagsForResource",
                "rds:ModifyDB*",
                "rds:RebootDBInstance",
                "rds:RemoveTagsFromResource",
                "rds:ResetDB*",
                "rds:RestoreDB*",
            ],
            copy.arns("rds", *(f"{kind}:{name}-*" for kind in kinds)),
        ),
        when(allow(["rds:Describe*"], "*"), copy.here),
        # RDS keeps the master's password, in the name of whoever makes the database.
        allow(
            ["secretsmanager:CreateSecret", "secretsmanager:TagResource"],
            copy.arns("secretsmanager", "secret:rds!*"),
        ),
        # No value: neither reading one nor putting one in.
        allow(
            [
                "secretsmanager:CreateSecret",
                "secretsmanager:DeleteSecret",
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetResourcePolicy",
                "secretsmanager:TagResource",
                "secretsmanager:UntagResource",
                "secretsmanager:UpdateSecret",
            ],
            copy.arns("secretsmanager", f"secret:{name}-*"),
        ),
        # No object: not `s3:GetObject`, nor the deletion of one.
        allow(
            [
                "s3:CreateBucket",
                "s3:DeleteBucket",
                "s3:DeleteBucketPolicy",
                "s3:GetAccelerateConfiguration",
                "s3:GetBucket*",
                "s3:GetEncryptionConfiguration",
                "s3:GetLifecycleConfiguration",
                "s3:GetReplicationConfiguration",
                "s3:ListBucket",
                "s3:PutBucket*",
                "s3:PutEncryptionConfiguration",
                "s3:PutLifecycleConfiguration",
            ],
            f"arn:aws:s3:::{name}-*",
        ),
        allow(
            [
                "sqs:CreateQueue",
                "sqs:DeleteQueue",
                "sqs:GetQueueAttributes",
                "sqs:GetQueueUrl",
                "sqs:ListQueueTags",
                "sqs:SetQueueAttributes",
                "sqs:TagQueue",
                "sqs:UntagQueue",
            ],
            copy.arns("sqs", f"{name}-*"),
        ),
        when(allow(["kms:CreateKey"], "*"), copy.for_it | copy.here),
        when(allow(["kms:TagResource"], "*"), copy.for_it | copy.here),
        when(allow(key_changes, "*"), copy.its_own | copy.here),
        # RDS encrypts a database and its secret in the name of whoever makes them.
        when(allow(["kms:CreateGrant"], "*"), copy.its_own, Bool={"kms:GrantIsForAWSResource": "true"}),
        when(allow(["kms:Decrypt", "kms:GenerateDataKey"], "*"), copy.its_own | {"kms:ViaService": via}),
    ]


def on_services(copy: Copy) -> list[Statement]:
    """Services and their images, what scales them, what they log and who is told."""
    name = copy.name
    return [
        allow(
            [
                "ecs:CreateCluster",
                "ecs:CreateService",
                "ecs:DeleteCluster",
                "ecs:DeleteService",
                "ecs:DescribeClusters",
                "ecs:DescribeServiceDeployments",
                "ecs:DescribeServiceRevisions",
                "ecs:DescribeServices",
                "ecs:ListServiceDeployments",
                "ecs:ListTagsForResource",
                "ecs:PutClusterCapacityProviders",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:UpdateCluster",
                "ecs:UpdateClusterSettings",
                "ecs:UpdateService",
            ],
            copy.arns(
                "ecs",
                f"cluster/{name}",
                *(f"{kind}/{name}-*" for kind in ("cluster", "task-definition")),
                *(f"{kind}/{name}{rest}" for kind in SERVICE_KINDS for rest in ("/*", "-*/*")),
            ),
        ),
        # AWS knows no resource for some of them. What a task may do, the roles say that may be passed.
        when(
            allow(
                [
                    "ecs:DeregisterTaskDefinition",
                    "ecs:DescribeTaskDefinition",
                    "ecs:DescribeTasks",
                    "ecs:ListTasks",
                    "ecs:RegisterTaskDefinition",
                ],
                "*",
            ),
            copy.here,
        ),
        # Nor for these: a target is of a service, whose name comes in the request.
        when(
            allow(
                [
                    "application-autoscaling:DeleteScalingPolicy",
                    "application-autoscaling:DeleteScheduledAction",
                    "application-autoscaling:DeregisterScalableTarget",
                    "application-autoscaling:Describe*",
                    "application-autoscaling:ListTagsForResource",
                    "application-autoscaling:PutScalingPolicy",
                    "application-autoscaling:PutScheduledAction",
                    "application-autoscaling:RegisterScalableTarget",
                    "application-autoscaling:TagResource",
                    "application-autoscaling:UntagResource",
                ],
                "*",
            ),
            copy.here,
        ),
        allow(
            [
                "ecr:CreateRepository",
                "ecr:DeleteLifecyclePolicy",
                "ecr:DeleteRepository",
                "ecr:DescribeImages",
                "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicy",
                "ecr:ListTagsForResource",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
                "ecr:PutLifecyclePolicy",
                "ecr:TagResource",
                "ecr:UntagResource",
            ],
            copy.arns("ecr", f"repository/{name}-*"),
        ),
        allow(
            [
                "logs:AssociateKmsKey",
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:DisassociateKmsKey",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            copy.arns("logs", *(f"log-group:{group}" for group in log_groups(name))),
        ),
        when(allow(["logs:DescribeLogGroups", "cloudwatch:DescribeAlarms"], "*"), copy.here),
        allow(
            [
                "cloudwatch:DeleteAlarms",
                "cloudwatch:ListTagsForResource",
                "cloudwatch:PutCompositeAlarm",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:TagResource",
                "cloudwatch:UntagResource",
            ],
            copy.arns("cloudwatch", f"alarm:{name}-*"),
        ),
        allow(
            ["cloudwatch:DeleteDashboards", "cloudwatch:GetDashboard", "cloudwatch:PutDashboard"],
            # The only ones of theirs without a region.
            [pulumi.Output.concat("arn:aws:cloudwatch::", copy.account, f":dashboard/{name}*")],
        ),
        allow(
            [
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:GetSubscriptionAttributes",
                "sns:GetTopicAttributes",
                "sns:ListTagsForResource",
                "sns:SetSubscriptionAttributes",
                "sns:SetTopicAttributes",
                "sns:Subscribe",
                "sns:TagResource",
                "sns:Unsubscribe",
                "sns:UntagResource",
            ],
            copy.arns("sns", f"{name}-*"),
        ),
        allow(
            ["scheduler:*Schedule", "scheduler:*ScheduleGroup", "scheduler:*Resource"],
            copy.arns("scheduler", f"schedule/*/{name}-*", f"schedule-group/{name}-*"),
        ),
        allow(
            [
                "ssm:AddTagsToResource",
                "ssm:DeleteParameter",
                "ssm:GetParameter",
                "ssm:GetParameters",
                "ssm:ListTagsForResource",
                "ssm:PutParameter",
                "ssm:RemoveTagsFromResource",
            ],
            copy.arns("ssm", f"parameter/{copy.project}/{copy.stack}/*"),
        ),
        when(allow(["ssm:DescribeParameters"], "*"), copy.here),
    ]


SERVICE_KINDS = ("service", "service-deployment", "service-revision")


def log_groups(name: str) -> list[str]:
    """Ours, and those that a service of AWS has a name for."""
    return [
        f"{name}-*",
        f"/{name}/*",
        f"/aws/ecs/containerinsights/{name}*",
        f"/aws/rds/*/{name}-*",
        f"aws-waf-logs-{name}*",
    ]


def on_roles(copy: Copy, boundary_arn: pulumi.Input[str]) -> list[Statement]:
    """Roles of the copy alone, within the boundary, and handed to the services that the copy uses alone."""
    roles = copy.iam_arns(f"role/{copy.name}-*")
    bound = {"iam:PermissionsBoundary": boundary_arn}
    rights = [
        "iam:AttachRolePolicy",
        "iam:CreateRole",
        "iam:DeleteRolePolicy",
        "iam:DetachRolePolicy",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
    ]
    others = [
        "iam:DeleteRole",
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:ListInstanceProfilesForRole",
        "iam:ListRolePolicies",
        "iam:TagRole",
        "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy",
        "iam:UpdateRole",
        "iam:UpdateRoleDescription",
    ]
    profiles = [
        "iam:AddRoleToInstanceProfile",
        "iam:CreateInstanceProfile",
        "iam:DeleteInstanceProfile",
        "iam:GetInstanceProfile",
        "iam:RemoveRoleFromInstanceProfile",
        "iam:TagInstanceProfile",
        "iam:UntagInstanceProfile",
    ]
    linked = {"StringEquals": {"iam:AWSServiceName": LINKED_SERVICES}}
    return [
        {**allow(rights, roles), "Condition": {"StringEquals": bound}},
        allow(others, roles),
        {
            **allow(["iam:PassRole"], roles),
            "Condition": {"StringEquals": {"iam:PassedToService": PASSED_TO}},
        },
        allow(profiles, copy.iam_arns(f"instance-profile/{copy.name}-*")),
        {
            **allow(["iam:CreateServiceLinkedRole"], copy.iam_arns("role/aws-service-role/*")),
            "Condition": linked,
        },
    ]


def not_itself(
    copy: Copy, boundary_arn: pulumi.Input[str], key_arns: Sequence[pulumi.Input[str]]
) -> list[Statement]:
    """Roles, boundary, bucket and key of the pipeline are changed by people. A refusal precedes any right."""
    names = [f"{copy.name}-delivery*", f"{copy.name}-review*"]
    deny = {"Effect": "Deny"}
    return [
        {
            **deny,
            "NotAction": ["iam:Get*", "iam:List*"],
            "Resource": [*copy.iam_arns(*(f"role/{each}" for each in names)), boundary_arn],
        },
        {**deny, "Action": ["iam:DeleteRolePermissionsBoundary"], "Resource": "*"},
        {
            **deny,
            "Action": ["s3:CreateBucket", "s3:DeleteBucket*", "s3:Put*Configuration", "s3:PutBucket*"],
            "Resource": [f"arn:aws:s3:::{copy.name}-delivery*"],
        },
        {**deny, "Action": ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"], "Resource": list(key_arns)},
    ]


def boundary(copy: Copy) -> list[Statement]:
    """The most that a role of the copy can have, whatever a policy of it says: its own data and services, and
    nothing of IAM. A role has what both allow."""
    name = copy.name
    return [
        allow(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "*"),
        allow(["ecr:GetAuthorizationToken", "ec2:Describe*", "cloudwatch:PutMetricData"], "*"),
        allow(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [f"arn:aws:logs:{copy.region}:*:log-group:{group}" for group in log_groups(name)],
        ),
        allow(
            ["secretsmanager:GetSecretValue"],
            [f"arn:aws:secretsmanager:{copy.region}:*:secret:{each}" for each in ("rds!*", f"{name}-*")],
        ),
        # A key's own policy has to let it too.
        when(allow(["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"], "*"), copy.its_own),
        allow(["rds-db:connect"], f"arn:aws:rds-db:{copy.region}:*:dbuser:*/rates_*"),
        allow(
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject*",
                "s3:ListBucket",
                "s3:ListBucketMultipartUploads",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            [f"arn:aws:s3:::{name}-*"],
        ),
        allow(["sqs:*"], f"arn:aws:sqs:{copy.region}:*:{name}-*"),
        # The clock, and ECS where it shifts requests from old tasks to new ones.
        when(
            allow(
                [
                    "ecs:UpdateService",
                    "elasticloadbalancing:*",
                    "rds:StartDB*",
                    "rds:StopDB*",
                    "application-autoscaling:RegisterScalableTarget",
                ],
                "*",
            ),
            copy.here,
        ),
        # Session Manager.
        allow(["ssm:UpdateInstanceInformation", "ssmmessages:*", "ec2messages:*"], "*"),
    ]
