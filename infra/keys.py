"""Keys of our own in KMS, and which service of AWS may use them on whose behalf."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.iam import account_of, allow_service, document

# The least that AWS waits before it deletes a key.
DELETION_DAYS = 7
# In a key's policy, the key itself.
THIS_KEY = "*"


def declare_key(name: str, description: str, opts: pulumi.ResourceOptions) -> aws.kms.Key:
    return aws.kms.Key(
        name,
        description=description,
        enable_key_rotation=True,
        deletion_window_in_days=DELETION_DAYS,
        opts=opts,
    )


def let_service_use(
    name: str,
    key: aws.kms.Key,
    service: str,
    actions: Sequence[str],
    conditions: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> aws.kms.KeyPolicy:
    return let_services_use(name, key, actions, {service: conditions}, opts)


def let_services_use(
    name: str,
    key: aws.kms.Key,
    actions: Sequence[str],
    conditions: Mapping[str, Mapping[str, Any]],
    opts: pulumi.ResourceOptions,
) -> aws.kms.KeyPolicy:
    """For services that a key's own policy has to let, on conditions; before they are told of the key."""
    account_decides = {
        # What AWS gives a key by default: IAM's policies have no say without, and nobody could mend it.
        "Sid": "TheAccountDecides",
        "Effect": "Allow",
        "Principal": {"AWS": pulumi.Output.concat("arn:aws:iam::", account_of(key.arn), ":root")},
        "Action": "kms:*",
        "Resource": THIS_KEY,
    }
    return aws.kms.KeyPolicy(
        name,
        key_id=key.key_id,
        policy=document(
            account_decides,
            *[
                allow_service(service, actions, THIS_KEY, condition)
                for service, condition in conditions.items()
            ],
        ),
        opts=opts,
    )
