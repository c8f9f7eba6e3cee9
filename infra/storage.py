"""Batches on their way in: a bucket, the queue that tells of each new object, and the queue of dead letters.

The bucket tells the queue of each new object below `batches/`; the API and the loader send further work.
"""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra import timeouts
from infra.buckets import close_bucket, declare_closed_bucket
from infra.iam import account_of, allow_service, document, only_over_tls
from infra.keys import declare_key, let_service_use
from infra.settings.storage import StorageSettings

# Where in the bucket batches lie, and chunks that were cut out of them: `storage/layout.py`. The same on a
# laptop: `local/object_storage.py`.
PREFIX, CHUNKS = "batches/", "chunks/"
# The least that S3 takes.
CHUNK_VERSION_DAYS = 1
# A browser asks again whether it may upload after so long.
CORS_S = 3600
# A message that fails so often has a fault of its own.
RECEIVES_MAX = 3
DAY_S = 24 * 3600
# The most that SQS keeps a message.
DEAD_LETTERS_KEPT_S = 14 * DAY_S
# A dead letter's age counts from when it was first sent; so it is there for ten days at least.
MESSAGES_KEPT_S = 4 * DAY_S
# The parts of an upload that nobody ended cost as much as an object.
UNFINISHED_UPLOAD_DAYS = 1
# SQS asks KMS for a new data key this often; a day is the most, and each question costs.
DATA_KEY_REUSE_S = 3600


class BatchStorage(pulumi.ComponentResource):
    """`key_arn` is the key of all three, which whoever reads them has to be let use."""

    bucket_name: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    queue_url: pulumi.Output[str]
    queue_arn: pulumi.Output[str]
    queue_name: pulumi.Output[str]
    dead_letter_queue_url: pulumi.Output[str]
    dead_letter_queue_arn: pulumi.Output[str]
    dead_letter_queue_name: pulumi.Output[str]
    key_arn: pulumi.Output[str]

    def __init__(
        self, name: str, settings: StorageSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:storage:BatchStorage", name, None, opts)
        self._base = name
        self._inside = pulumi.ResourceOptions(parent=self)
        # For what batches would be lost with: `pulumi state unprotect` first, and even then AWS keeps it.
        self._data = pulumi.ResourceOptions(
            parent=self, protect=settings.production, retain_on_delete=settings.production
        )

        self._key = declare_key(name, f"Objects and messages of {name}", self._data)
        self._bucket = declare_closed_bucket(
            name, self._key.arn, self._data, self._inside, force_destroy=not settings.production
        )
        close_bucket(name, self._bucket, self._inside)
        self._keep_versions_for_a_while(settings)
        if settings.upload_origins:
            self._let_browsers_upload(settings.upload_origins)
        # S3 writes into an encrypted queue only where it may use the key.
        key_policy = let_service_use(
            name,
            self._key,
            "s3.amazonaws.com",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            self._on_behalf_of_the_bucket(),
            self._inside,
        )
        self._dead_letters = self._declare_queue(f"{name}-dead", DEAD_LETTERS_KEPT_S)
        self._queue = self._declare_queue(name, MESSAGES_KEPT_S)
        self._send_what_fails_to_the_dead_letters()
        self._tell_the_queue_of_new_objects(key_policy)

        self.bucket_name = self._bucket.id
        self.bucket_arn = self._bucket.arn
        self.queue_url = self._queue.url
        self.queue_arn = self._queue.arn
        self.queue_name = self._queue.name
        self.dead_letter_queue_url = self._dead_letters.url
        self.dead_letter_queue_arn = self._dead_letters.arn
        self.dead_letter_queue_name = self._dead_letters.name
        self.key_arn = self._key.arn
        self.register_outputs({"bucketName": self.bucket_name, "queueUrl": self.queue_url})

    def _keep_versions_for_a_while(self, settings: StorageSettings) -> None:
        """The database has what was loaded; objects are there to load it again."""
        versioning = aws.s3.BucketVersioning(
            self._base,
            bucket=self._bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=self._inside,
        )
        aws.s3.BucketLifecycleConfiguration(
            self._base,
            bucket=self._bucket.id,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="unfinished-uploads",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                        days_after_initiation=UNFINISHED_UPLOAD_DAYS
                    ),
                ),
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="old-batches",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=PREFIX),
                    expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(
                        days=settings.batch_days
                    ),
                    noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=settings.version_days
                    ),
                ),
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="old-chunks",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=CHUNKS),
                    expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(
                        # Of a batch that failed, and is gone on with once that is mended; of others the
                        # loader deletes them, and they stay as versions.
                        days=settings.batch_days
                    ),
                    noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=CHUNK_VERSION_DAYS
                    ),
                ),
            ],
            # Rules about versions have to find them switched on.
            opts=pulumi.ResourceOptions.merge(self._inside, pulumi.ResourceOptions(depends_on=[versioning])),
        )

    def _let_browsers_upload(self, origins: Sequence[str]) -> None:
        """Pages of these may send to presigned addresses, which are what lets them; and see each part's ETag,
        by which an upload in parts is ended.
        """
        aws.s3.BucketCorsConfiguration(
            self._base,
            bucket=self._bucket.id,
            cors_rules=[
                aws.s3.BucketCorsConfigurationCorsRuleArgs(
                    allowed_methods=["PUT"],
                    allowed_origins=list(origins),
                    allowed_headers=["*"],
                    expose_headers=["ETag"],
                    max_age_seconds=CORS_S,
                )
            ],
            opts=self._inside,
        )

    def _declare_queue(self, name: str, kept_s: int) -> aws.sqs.Queue:
        return aws.sqs.Queue(
            name,
            kms_master_key_id=self._key.arn,
            kms_data_key_reuse_period_seconds=DATA_KEY_REUSE_S,
            message_retention_seconds=kept_s,
            visibility_timeout_seconds=timeouts.VISIBILITY_S,
            receive_wait_time_seconds=timeouts.LONG_POLL_S,
            opts=self._inside,
        )

    def _send_what_fails_to_the_dead_letters(self) -> None:
        aws.sqs.RedrivePolicy(
            self._base,
            queue_url=self._queue.url,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": self._dead_letters.arn, "maxReceiveCount": RECEIVES_MAX}
            ),
            opts=self._inside,
        )
        aws.sqs.RedriveAllowPolicy(
            f"{self._base}-dead",
            queue_url=self._dead_letters.url,
            redrive_allow_policy=pulumi.Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [self._queue.arn]}
            ),
            opts=self._inside,
        )
        aws.sqs.QueuePolicy(
            f"{self._base}-dead",
            queue_url=self._dead_letters.url,
            policy=document(only_over_tls("sqs:*", [self._dead_letters.arn])),
            opts=self._inside,
        )

    def _tell_the_queue_of_new_objects(self, key_policy: aws.kms.KeyPolicy) -> None:
        queue_policy = aws.sqs.QueuePolicy(
            self._base,
            queue_url=self._queue.url,
            policy=document(
                allow_service(
                    "s3.amazonaws.com",
                    ["sqs:SendMessage"],
                    self._queue.arn,
                    self._on_behalf_of_the_bucket(),
                ),
                only_over_tls("sqs:*", [self._queue.arn]),
            ),
            opts=self._inside,
        )
        aws.s3.BucketNotification(
            self._base,
            bucket=self._bucket.id,
            queues=[
                aws.s3.BucketNotificationQueueArgs(
                    queue_arn=self._queue.arn, events=["s3:ObjectCreated:*"], filter_prefix=PREFIX
                )
            ],
            # S3 sends a message to try it, and refuses where that fails.
            opts=pulumi.ResourceOptions.merge(
                self._inside, pulumi.ResourceOptions(depends_on=[queue_policy, key_policy])
            ),
        )

    def _on_behalf_of_the_bucket(self) -> dict:
        """A bucket's ARN names no account; and the name of a deleted one is free for anyone."""
        return {
            "ArnEquals": {"aws:SourceArn": self._bucket.arn},
            "StringEquals": {"aws:SourceAccount": account_of(self._key.arn)},
        }
