"""What CodeBuild runs for the pipeline: a project, its log and its role, each with rights of its own.

What a project does stands in its build file, below `delivery/`; what it is told, in its environment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from infra.iam import Statement, account_of, allow, document, trust
from infra.logs import Logs

# CodeBuild's Ubuntu 24.04; before, buildah is too old. For tests and deploys always: neither depends on the
# processor that the images are for.
UBUNTU = "aws/codebuild/standard:8.0"
# CodeBuild has no Ubuntu of its own for ARM.
UBUNTU_ARM = "public.ecr.aws/docker/library/ubuntu:24.04"
# Where what pip downloaded is kept between builds of images, in the bucket of the artifacts.
CACHE = "cache/"
# A build waits for the one before; longer, and somebody has to look.
QUEUED_MINUTES = 60


@dataclass(frozen=True)
class Workplace:
    """What the builds of a copy have in common. `environment` is told to each."""

    region: str
    bucket: aws.s3.Bucket
    artifacts: pulumi.Input[str]  # in it
    key: aws.kms.Key
    logs: Logs
    environment: Mapping[str, pulumi.Input[str]]


@dataclass(frozen=True)
class Build:
    """`may` is what goes beyond its log and the artifacts, in groups: a policy takes 6,144 characters."""

    name: str
    description: str
    compute: str
    minutes: int
    may: Mapping[str, Sequence[Statement]] = field(default_factory=dict)
    arm: bool = False
    makes_images: bool = False


class BuildProject(pulumi.ComponentResource):
    """A build file of `delivery/` that the pipeline can start."""

    project_name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(
        self, name: str, build: Build, at: Workplace, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:builds:BuildProject", name, None, opts)
        self._inside = pulumi.ResourceOptions(parent=self)
        logs = at.logs.declare_log_group(name, at.logs.days, self)
        role, policies = self._declare_role(name, build, at, logs)
        project = aws.codebuild.Project(
            name,
            description=build.description,
            service_role=role.arn,
            build_timeout=build.minutes,
            queued_timeout=QUEUED_MINUTES,
            encryption_key=at.key.arn,
            artifacts=aws.codebuild.ProjectArtifactsArgs(type="CODEPIPELINE"),
            source=aws.codebuild.ProjectSourceArgs(
                type="CODEPIPELINE", buildspec=f"delivery/{build.name}.yml"
            ),
            environment=aws.codebuild.ProjectEnvironmentArgs(
                type="ARM_CONTAINER" if build.arm else "LINUX_CONTAINER",
                image=UBUNTU_ARM if build.arm else UBUNTU,
                compute_type=build.compute,
                # buildah mounts, and only images need it.
                privileged_mode=build.makes_images,
                environment_variables=[
                    aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs(name=key, value=value)
                    for key, value in sorted(at.environment.items())
                ],
            ),
            cache=aws.codebuild.ProjectCacheArgs(
                type="S3", location=pulumi.Output.concat(at.bucket.id, "/", CACHE.rstrip("/"))
            )
            if build.makes_images
            else aws.codebuild.ProjectCacheArgs(type="NO_CACHE"),
            logs_config=aws.codebuild.ProjectLogsConfigArgs(
                cloudwatch_logs=aws.codebuild.ProjectLogsConfigCloudwatchLogsArgs(
                    status="ENABLED", group_name=logs.name
                )
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=policies),
        )
        self.project_name = project.name
        self.arn = project.arn
        self.register_outputs({"projectName": self.project_name})

    def _declare_role(
        self, name: str, build: Build, at: Workplace, logs: aws.cloudwatch.LogGroup
    ) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
        """CodeBuild acts in it for projects of this account and name only."""
        account = account_of(at.key.arn)
        mine = pulumi.Output.concat("arn:aws:codebuild:", at.region, ":", account, f":project/{name}-*")
        conditions = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": mine}}
        role = aws.iam.Role(
            name, assume_role_policy=trust("codebuild.amazonaws.com", conditions), opts=self._inside
        )
        own = aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=document(*to_build(at, logs, caches=build.makes_images)),
            opts=self._inside,
        )
        return role, [
            own,
            *[self._attach(f"{name}-{part}", role, statements) for part, statements in build.may.items()],
        ]

    def _attach(
        self, name: str, role: aws.iam.Role, statements: Sequence[Statement]
    ) -> aws.iam.RolePolicyAttachment:
        """A policy beside the role: of those inside one, IAM takes 10,240 characters in all."""
        policy = aws.iam.Policy(name, policy=document(*statements), opts=self._inside)
        return aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy.arn, opts=self._inside)


def to_build(at: Workplace, logs: aws.cloudwatch.LogGroup, *, caches: bool) -> list[Statement]:
    """Its log and the artifacts, and the cache for the one that has it: no other runs what lies there."""
    cache = pulumi.Output.concat(at.bucket.arn, f"/{CACHE}*")
    return [
        allow(["logs:CreateLogStream", "logs:PutLogEvents"], pulumi.Output.concat(logs.arn, ":*")),
        allow(
            ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
            [at.artifacts, cache] if caches else [at.artifacts],
        ),
        allow(["kms:Decrypt", "kms:GenerateDataKey"], at.key.arn),
    ]


def to_push(repository_arns: Sequence[pulumi.Input[str]]) -> list[Statement]:
    return [
        allow(["ecr:GetAuthorizationToken"], "*"),  # AWS knows no resource for it
        allow(
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:DescribeImages",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            list(repository_arns),
        ),
    ]
