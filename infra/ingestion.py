"""What the API and the loader need to take batches in: names of bucket, queue and secrets, and the rights.

The API puts what is sent into the bucket, and into the queue that a batch is to be taken back. It alone knows
whose tokens are good. The loader takes work from the queue; chunks cut out of what cannot be read from the
middle it puts into the bucket. It alone knows what callbacks are signed with.
"""

from dataclasses import dataclass

import pulumi

from infra.iam import Statement, allow
from infra.storage import CHUNKS, PREFIX, BatchStorage
from infra.tokens import ApiTokens, CallbackSecret


@dataclass(frozen=True)
class Ingestion:
    stack: str
    region: str
    storage: BatchStorage
    tokens: ApiTokens
    callback_secret: CallbackSecret

    @property
    def api_environment(self) -> dict[str, pulumi.Input[str]]:
        return {**self._environment, "RATES_API_TOKENS": self.tokens.arn}

    @property
    def loader_environment(self) -> dict[str, pulumi.Input[str]]:
        return {**self._environment, "RATES_CALLBACK_SECRET": self.callback_secret.arn}

    @property
    def _environment(self) -> dict[str, pulumi.Input[str]]:
        """RATES_STACK is a dimension of the programs' own metrics: see `metrics`."""
        return {
            "BATCH_BUCKET": self.storage.bucket_name,
            "BATCH_QUEUE_URL": self.storage.queue_url,
            "RATES_STACK": self.stack,
        }

    def to_accept_batches(self) -> list[Statement]:
        return [
            allow(
                [
                    "s3:AbortMultipartUpload",
                    "s3:DeleteObject",
                    "s3:GetObject",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                self._objects(PREFIX),
            ),
            self._list(["s3:ListBucket", "s3:ListBucketMultipartUploads"], PREFIX),
            allow(["sqs:SendMessage"], self.storage.queue_arn),
            *self._to_read_a_secret_and_use_the_key(self.tokens.arn),
        ]

    def to_take_batches(self) -> list[Statement]:
        """It sends too: a chunk of work to the next loader, and what cannot be done to the dead letters."""
        return [
            # A file that somebody put there by hand gets a manifest.
            allow(["s3:GetObject", "s3:PutObject"], self._objects(PREFIX)),
            allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], self._objects(CHUNKS)),
            self._list(["s3:ListBucket"], PREFIX, CHUNKS),
            allow(
                [
                    "sqs:ChangeMessageVisibility",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ReceiveMessage",
                    "sqs:SendMessage",
                ],
                self.storage.queue_arn,
            ),
            # `loader redrive` takes them out again.
            allow(
                ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage"],
                self.storage.dead_letter_queue_arn,
            ),
            *self._to_read_a_secret_and_use_the_key(self.callback_secret.arn),
        ]

    def _objects(self, prefix: str) -> pulumi.Output[str]:
        return pulumi.Output.concat(self.storage.bucket_arn, f"/{prefix}*")

    def _list(self, actions: list[str], *prefixes: str) -> Statement:
        """Without it, S3 answers 403 and not 404 for what is not there.

        If there is a prefix: only a list of objects surely has one, no question about a single object.
        """
        below = {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}
        return {**allow(actions, self.storage.bucket_arn), "Condition": {"StringLikeIfExists": below}}

    def _to_read_a_secret_and_use_the_key(self, secret_arn: pulumi.Output[str]) -> list[Statement]:
        """Who ends an upload in parts needs both rights to the key, and so does who sends a message."""
        services = [f"{service}.{self.region}.amazonaws.com" for service in ("s3", "secretsmanager", "sqs")]
        return [
            allow(["secretsmanager:GetSecretValue"], secret_arn),
            {
                **allow(["kms:Decrypt", "kms:GenerateDataKey"], self.storage.key_arn),
                "Condition": {"StringEquals": {"kms:ViaService": services}},
            },
        ]
