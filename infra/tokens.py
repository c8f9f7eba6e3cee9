"""The secret that tells the API and the loader whose tokens are good: by hashes, see `access/tokens.py`.

The program declares it and knows no value of it. Operators put one in (docs/runbook.md); since no version of
it is a resource, no `pulumi up` puts another over theirs, and the pipeline need not be let read it.
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
        secret = aws.secretsmanager.Secret(
            name,
            description="Hashes of the tokens that may send batches: a line name:scopes:sha256 each",
            kms_key_id=key_arn,
            # As long as the key it would be read with.
            recovery_window_in_days=DELETION_DAYS,
            opts=pulumi.ResourceOptions(parent=self, protect=production, retain_on_delete=production),
        )
        self.arn = secret.arn
        self.register_outputs({"arn": self.arn})
