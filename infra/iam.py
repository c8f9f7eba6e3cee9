"""IAM documents as text: who may do what to which resource. AWS takes them as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

Statement = Mapping[str, Any]


def document(*statements: Statement) -> pulumi.Output[str]:
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions: Sequence[str], resource: pulumi.Input[str] | Sequence[pulumi.Input[str]]) -> Statement:
    """For a policy of a role, whose principal is the role."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def trust(service: str, conditions: Mapping[str, Any] | None = None) -> pulumi.Output[str]:
    """What lets a service of AWS act in a role."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document(statement | ({"Condition": conditions} if conditions else {}))


def allow_service(
    service: str,
    actions: Sequence[str],
    resource: pulumi.Input[str],
    conditions: Mapping[str, Any],
) -> Statement:
    """For a policy of a resource. The conditions say on whose behalf: a service works for every account."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": list(actions),
        "Resource": resource,
        "Condition": conditions,
    }


def only_over_tls(action: str, resources: Sequence[pulumi.Input[str]]) -> Statement:
    return {
        "Sid": "OnlyOverTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def account_of(arn: pulumi.Output[str]) -> pulumi.Output[str]:
    """An ARN is `arn:partition:service:region:account:resource`."""
    return arn.apply(lambda text: text.split(":")[4])
