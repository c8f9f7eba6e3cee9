"""The two secrets of access: whose tokens are good, by hashes (`access/tokens.py`), which the API reads; and
what callbacks are signed with (`access/signatures.py`), which the loader reads.

The program declares them and knows no value of them. Operators put one in (docs/runbook.md); since no version
is a resource, no `pulumi up` puts another over theirs, and the pipeline need not be let read it.
"""

import pulumi
import pulumi_aws as aws

from infra.keys import DELETION_DAYS


class ApiTokens(pulumi.ComponentResource):
    """Encrypted with the key of the batches, which those who send them stand beside."""

    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        key_arn: pulumi.Input[str],
        production: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:tokens:ApiTokens", name, None, opts)
        description = "Hashes of the tokens that may send batches: a line name:scopes:sha256 each"
        self.arn = declare_secret(name, description, key_arn, production, self)
        self.register_outputs({"arn": self.arn})


class CallbackSecret(pulumi.ComponentResource):
    """Encrypted with the key of the batches, whose ends are told."""

    arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        key_arn: pulumi.Input[str],
        production: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:tokens:CallbackSecret", name, None, opts)
        description = "What callbacks are signed with: one secret, or the newest and the one before it"
        self.arn = declare_secret(name, description, key_arn, production, self)
        self.register_outputs({"arn": self.arn})


def declare_secret(
    name: str, description: str, key_arn: pulumi.Input[str], production: bool, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """Its ARN."""
    secret = aws.secretsmanager.Secret(
        name,
        description=description,
        kms_key_id=key_arn,
        # As long as the key it would be read with.
        recovery_window_in_days=DELETION_DAYS,
        opts=pulumi.ResourceOptions(parent=parent, protect=production, retain_on_delete=production),
    )
    return secret.arn
