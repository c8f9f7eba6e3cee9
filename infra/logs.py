"""What a copy logs: the key that all of it is encrypted with, and groups that keep it for so many days.

Some services of AWS write to a group whose name they choose, and make it where it is missing: without a key,
and for ever. Such a group has to be declared before what writes to it.
"""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra.iam import account_of
from infra.keys import declare_key, let_service_use

# What CloudWatch Logs does with a key, spelt out.
KEY_ACTIONS = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
]


class Logs(pulumi.ComponentResource):
    """`days` is how long what programs log is kept; `named_by_aws` are the groups that AWS has names for."""

    days: int

    def __init__(
        self,
        name: str,
        region: str,
        days: int,
        named_by_aws: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:logs:Logs", f"{name}-logs", None, opts)
        self.days = days
        self._base = name
        self._inside = pulumi.ResourceOptions(parent=self)
        self._key = declare_key(f"{name}-logs", f"Logs of {name}", self._inside)
        # No copy has a slash in its name, so what ends with one is no other copy's.
        self._key_policy = self._let_logs_use_the_key(region, [f"/{name}/*", *named_by_aws])
        self.register_outputs({})

    def declare_log_group(
        self, name: str, days: int, parent: pulumi.Resource, named_by_aws: str | None = None
    ) -> aws.cloudwatch.LogGroup:
        """`rates-dev-api` is the group `/rates-dev/api`, if AWS has no name for it."""
        return aws.cloudwatch.LogGroup(
            name,
            name=named_by_aws or f"/{self._base}/{name.removeprefix(f'{self._base}-')}",
            retention_in_days=days,
            kms_key_id=self._key.arn,
            # CloudWatch refuses a key that it may not use yet.
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[self._key_policy]),
        )

    def _let_logs_use_the_key(self, region: str, groups: Sequence[str]) -> aws.kms.KeyPolicy:
        """CloudWatch may use it for the logs of this copy."""
        account = account_of(self._key.arn)
        arns = [
            pulumi.Output.concat("arn:aws:logs:", region, ":", account, f":log-group:{group}")
            for group in groups
        ]
        return let_service_use(
            f"{self._base}-logs",
            self._key,
            f"logs.{region}.amazonaws.com",
            KEY_ACTIONS,
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arns}},
            self._inside,
        )
