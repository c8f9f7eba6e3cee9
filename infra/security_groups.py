"""The way from one security group to another: both ends of it, so that neither is open to anyone else.

Rules are resources of their own: inline ones would undo those that other components add.
"""

import pulumi
import pulumi_aws as aws


def let_through(
    name: str,
    source_id: pulumi.Input[str],
    target_id: pulumi.Input[str],
    port: int,
    opts: pulumi.ResourceOptions,
) -> None:
    """Whatever carries the source group may connect to this TCP port of what carries the target group."""
    aws.vpc.SecurityGroupIngressRule(
        name,
        security_group_id=target_id,
        referenced_security_group_id=source_id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        opts=opts,
    )
    aws.vpc.SecurityGroupEgressRule(
        name,
        security_group_id=source_id,
        referenced_security_group_id=target_id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        opts=opts,
    )
