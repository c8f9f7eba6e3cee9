"""Security groups that nothing gets into, and the way from one to another: both ends of it, so that neither
is open to anyone else.

Rules are resources of their own: inline ones would undo those that other components add.
"""

import pulumi
import pulumi_aws as aws

ANYWHERE = "0.0.0.0/0"
HTTPS_PORT = 443


def declare_closed_group(
    name: str, description: str, vpc_id: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Nothing gets in, and out goes only what AWS's services are asked, over HTTPS."""
    group = aws.ec2.SecurityGroup(name, description=description, vpc_id=vpc_id, opts=opts)
    aws.vpc.SecurityGroupEgressRule(
        f"{name}-https",
        security_group_id=group.id,
        cidr_ipv4=ANYWHERE,
        ip_protocol="tcp",
        from_port=HTTPS_PORT,
        to_port=HTTPS_PORT,
        opts=opts,
    )
    return group.id


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
