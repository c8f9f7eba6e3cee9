"""The pipeline: from a push on GitHub to new tasks. Source, checks and images at once, approval, deploy.

It deploys what it has tested and built itself, by digest, one after the other. It does not change itself:
docs/decisions/0007.
"""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.alarm_topic import KEY_ACTIONS, AlarmTopic
from infra.buckets import close_bucket, declare_closed_bucket
from infra.builds import CACHE, Build, BuildProject, Workplace, to_push
from infra.deploy_rights import Copy, to_update
from infra.iam import Statement, account_of, allow, document, trust
from infra.images import Images
from infra.keys import declare_key
from infra.logs import Logs
from infra.pulumi_state import StackFiles
from infra.releases import parameter_path, to_read
from infra.settings.delivery import DeliverySettings
from infra.settings.services import Architecture, TaskSettings

# What people read is neither shipped nor tested. A push of such files alone starts nothing.
NOT_DELIVERED = ["docs/**", "*.md", "**/*.md"]
PLATFORMS = {Architecture.X86_64: "linux/amd64", Architecture.ARM64: "linux/arm64"}
# A commit of a month ago is built anew, not taken from here.
ARTIFACT_DAYS = 30
# What pip downloaded and no build has used for so long is old.
CACHE_DAYS = 14
SOURCE, IMAGES = "source", "images"
COMMIT = "#{Source.CommitId}: #{Source.CommitMessage}"
FAILED = ["codepipeline-pipeline-pipeline-execution-failed"]


@dataclass(frozen=True)
class Around:
    """What the pipeline works with. `topic` is where failures and approvals are told."""

    images: Images
    files: StackFiles
    tasks: TaskSettings
    logs: Logs
    boundary_arn: pulumi.Input[str]
    zone_id: str | None = None
    topic: AlarmTopic | None = None


class Delivery(pulumi.ComponentResource):
    """`how_to_connect` is the one step that is left to people."""

    console: pulumi.Output[str]
    how_to_connect: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: DeliverySettings,
        around: Around,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:delivery:Delivery", name, None, opts)
        self._base = name
        self._settings = settings
        self._around = around
        self._inside = pulumi.ResourceOptions(parent=self)
        self._key = declare_key(name, f"Artifacts of {name}", self._inside)
        self._bucket = self._declare_bucket()
        # A connection's name has 32 characters at most, as a stack's own.
        self._connection = aws.codeconnections.Connection(
            name, name=around.files.stack, provider_type="GitHub", opts=self._inside
        )
        self._builds = self._declare_builds()
        pipeline = self._declare_pipeline()
        if around.topic:
            self._tell_of_failures(pipeline, around.topic)

        region = around.files.region
        host = f"https://{region}.console.aws.amazon.com/codesuite"
        self.console = pulumi.Output.concat(
            f"{host}/codepipeline/pipelines/", pipeline.name, f"/view?region={region}"
        )
        self.how_to_connect = pulumi.Output.concat(
            "until somebody has authorised the connection to GitHub once, nothing is delivered: choose ",
            self._connection.name,
            f", then Update pending connection, at {host}/settings/connections?region={region}",
        )
        self.register_outputs({"console": self.console})

    def _declare_bucket(self) -> aws.s3.Bucket:
        """Nothing in it is worth keeping: all of it is built of the repository."""
        bucket = declare_closed_bucket(
            self._base, self._key.arn, self._inside, self._inside, force_destroy=True
        )
        close_bucket(self._base, bucket, self._inside)
        rule, part = aws.s3.BucketLifecycleConfigurationRuleArgs, aws.s3
        aws.s3.BucketLifecycleConfiguration(
            self._base,
            bucket=bucket.id,
            rules=[
                rule(
                    id=what,
                    status="Enabled",
                    filter=part.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
                    # Of two that fit, S3 takes the earlier.
                    expiration=part.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
                    abort_incomplete_multipart_upload=part.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                        days_after_initiation=1
                    ),
                )
                for what, prefix, days in [
                    ("artifacts", "", ARTIFACT_DAYS),
                    ("cache", CACHE, CACHE_DAYS),
                ]
            ],
            opts=self._inside,
        )
        return bucket

    def _artifacts(self) -> pulumi.Output[str]:
        """Of the bucket, what the pipeline writes: below the start of its own name."""
        return pulumi.Output.concat(self._bucket.arn, f"/{self._around.files.project}-*")

    def _declare_builds(self) -> dict[str, BuildProject]:
        around, files = self._around, self._around.files
        images = around.images
        at = Workplace(
            region=files.region,
            bucket=self._bucket,
            artifacts=self._artifacts(),
            key=self._key,
            logs=around.logs,
            environment={
                "API_REPOSITORY": images.api_repository_url,
                "IMAGE_PLATFORM": PLATFORMS[around.tasks.architecture],
                "LOADER_REPOSITORY": images.loader_repository_url,
                "PULUMI_BACKEND_URL": files.state.backend,
                # The program has no secret of its own to encrypt in its settings or state.
                "PULUMI_CONFIG_PASSPHRASE": "",
                "STACK": files.stack,
            },
        )
        copy = Copy(
            project=files.project,
            stack=files.stack,
            name=f"{files.project}-{files.stack}",
            region=files.region,
            account=account_of(self._key.arn),
            zone_id=around.zone_id,
        )
        # Tests run PostgreSQL and load batches; builds of images compile: 4 processors and 8 GiB.
        builds = [
            Build("check", "Tests a commit", "BUILD_GENERAL1_MEDIUM", minutes=45),
            Build(
                "images",
                "Builds the images of a commit and pushes them",
                "BUILD_GENERAL1_MEDIUM",
                minutes=30,
                may={"push": to_push([images.api_repository_arn, images.loader_repository_arn])},
                arm=around.tasks.architecture is Architecture.ARM64,
                makes_images=True,
            ),
            # It waits for AWS most of its time; a database that grows or fails over takes it long.
            Build(
                "deploy",
                "Runs pulumi up and sees that the new tasks serve",
                "BUILD_GENERAL1_SMALL",
                minutes=90,
                may={
                    "state": [
                        *files.to_update(),
                        to_read(parameter_path(copy.project, copy.stack), copy.region, copy.account),
                    ],
                    **to_update(copy, around.boundary_arn, self._key.arn),
                },
            ),
        ]
        return {
            build.name: BuildProject(f"{self._base}-{build.name}", build, at, self._inside)
            for build in builds
        }

    def _declare_pipeline(self) -> aws.codepipeline.Pipeline:
        role, policy = self._declare_role()
        return aws.codepipeline.Pipeline(
            self._base,
            pipeline_type="V2",
            # One after the other: a newer one would take a deploy's place half-way.
            execution_mode="QUEUED",
            role_arn=role.arn,
            artifact_stores=[
                aws.codepipeline.PipelineArtifactStoreArgs(
                    type="S3",
                    location=self._bucket.id,
                    encryption_key=aws.codepipeline.PipelineArtifactStoreEncryptionKeyArgs(
                        type="KMS", id=self._key.arn
                    ),
                )
            ],
            triggers=[self._trigger()],
            stages=self._stages(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )

    def _trigger(self) -> aws.codepipeline.PipelineTriggerArgs:
        push = aws.codepipeline.PipelineTriggerGitConfigurationPushArgs(
            branches=aws.codepipeline.PipelineTriggerGitConfigurationPushBranchesArgs(
                includes=[self._settings.branch]
            ),
            file_paths=aws.codepipeline.PipelineTriggerGitConfigurationPushFilePathsArgs(
                excludes=NOT_DELIVERED
            ),
        )
        return aws.codepipeline.PipelineTriggerArgs(
            provider_type="CodeStarSourceConnection",
            git_configuration=aws.codepipeline.PipelineTriggerGitConfigurationArgs(
                source_action_name="Source", pushes=[push]
            ),
        )

    def _stages(self) -> list[aws.codepipeline.PipelineStageArgs]:
        source = aws.codepipeline.PipelineStageActionArgs(
            name="Source",
            category="Source",
            owner="AWS",
            provider="CodeStarSourceConnection",
            version="1",
            namespace="Source",
            configuration={
                "ConnectionArn": self._connection.arn,
                "FullRepositoryId": self._settings.repository,
                "BranchName": self._settings.branch,
                # Nothing here asks for the history.
                "OutputArtifactFormat": "CODE_ZIP",
                # The trigger starts it.
                "DetectChanges": "false",
            },
            output_artifacts=[SOURCE],
        )
        stages = {
            "Source": [source],
            "Build": [self._build("check", [SOURCE]), self._build("images", [SOURCE], [IMAGES])],
            "Approve": [self._approval()] if self._settings.production else [],
            "Deploy": [self._build("deploy", [SOURCE, IMAGES])],
        }
        return [
            aws.codepipeline.PipelineStageArgs(name=name, actions=actions)
            for name, actions in stages.items()
            if actions
        ]

    def _build(
        self, name: str, takes: list[str], gives: list[str] | None = None
    ) -> aws.codepipeline.PipelineStageActionArgs:
        return aws.codepipeline.PipelineStageActionArgs(
            name=name.capitalize(),
            category="Build",
            owner="AWS",
            provider="CodeBuild",
            version="1",
            run_order=1,  # the same for both of a stage: side by side
            configuration={"ProjectName": self._builds[name].project_name, "PrimarySource": takes[0]},
            input_artifacts=takes,
            output_artifacts=gives or [],
        )

    def _approval(self) -> aws.codepipeline.PipelineStageActionArgs:
        repository = f"https://github.com/{self._settings.repository}/commit/#{{Source.CommitId}}"
        configuration: dict[str, pulumi.Input[str]] = {
            "CustomData": f"Deploy {COMMIT}",
            "ExternalEntityLink": repository,
        }
        if self._around.topic:
            configuration["NotificationArn"] = self._around.topic.arn
        return aws.codepipeline.PipelineStageActionArgs(
            name="Approve",
            category="Approval",
            owner="AWS",
            provider="Manual",
            version="1",
            configuration=configuration,
        )

    def _declare_role(self) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        account, region = account_of(self._key.arn), self._around.files.region
        mine = pulumi.Output.concat("arn:aws:codepipeline:", region, ":", account, f":{self._base}-*")
        conditions = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": mine}}
        role = aws.iam.Role(
            self._base, assume_role_policy=trust("codepipeline.amazonaws.com", conditions), opts=self._inside
        )
        policy = aws.iam.RolePolicy(
            self._base, role=role.id, policy=document(*self._to_run()), opts=self._inside
        )
        return role, policy

    def _to_run(self) -> list[Statement]:
        """Take the source, hand artifacts on, start the builds, ask for approval. It deploys nothing."""
        rights = [
            allow(["codeconnections:UseConnection"], self._connection.arn),
            allow(
                ["codebuild:BatchGetBuilds", "codebuild:StartBuild"],
                [build.arn for build in self._builds.values()],
            ),
            allow(
                ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"],
                self._artifacts(),
            ),
            allow(["kms:Decrypt", "kms:GenerateDataKey"], self._key.arn),
        ]
        topic = self._around.topic
        if topic and self._settings.production:
            rights.append(allow(["sns:Publish"], topic.arn))
            rights.append(allow(KEY_ACTIONS, topic.key_arn))
        return rights

    def _tell_of_failures(self, pipeline: aws.codepipeline.Pipeline, topic: AlarmTopic) -> None:
        aws.codestarnotifications.NotificationRule(
            self._base,
            name=f"{self._base}-failed",
            resource=pipeline.arn,
            detail_type="FULL",
            event_type_ids=FAILED,
            targets=[aws.codestarnotifications.NotificationRuleTargetArgs(type="SNS", address=topic.arn)],
            opts=self._inside,
        )
