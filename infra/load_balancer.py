"""The way in: the load balancer, the only thing in a copy that the internet reaches.

It is there before the API's service and stays when that goes, so that the address never changes.
"""

import pulumi
import pulumi_aws as aws

from infra import timeouts
from infra.network import ANYWHERE

# Where the API listens inside its task; `EXPOSE` of its image.
API_PORT = 8000
HTTP_PORT = 80
# Whether a request would be answered. A task whose database is away is given none, and a task that never
# reaches it never gets one: a deploy stops there. See `timeouts` for how long a task may be unready.
HEALTH_PATH = "/health/ready"
# A load balancer's name has 32 characters at most, too few for a stack's; AWS makes it of these 6 and a
# number. The tags say whose it is.
NAME_PREFIX = "rates-"


class LoadBalancer(pulumi.ComponentResource):
    """`listener` has to be there before a service joins the target group."""

    address: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    target_group_arn: pulumi.Output[str]
    target_group_arn_suffix: pulumi.Output[str]
    listener: pulumi.Resource

    def __init__(
        self,
        name: str,
        production: bool,
        vpc_id: pulumi.Input[str],
        subnet_ids: pulumi.Input[list[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:load_balancer:LoadBalancer", name, None, opts)
        self._base = name
        self._inside = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(name, description="The load balancer", vpc_id=vpc_id, opts=self._inside)
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-http",
            security_group_id=group.id,
            cidr_ipv4=ANYWHERE,
            ip_protocol="tcp",
            from_port=HTTP_PORT,
            to_port=HTTP_PORT,
            opts=self._inside,
        )
        balancer = aws.lb.LoadBalancer(
            name,
            name_prefix=NAME_PREFIX,
            load_balancer_type="application",
            internal=False,
            security_groups=[group.id],
            subnets=subnet_ids,
            idle_timeout=timeouts.CONNECTION_IDLE_S,
            # gunicorn and the load balancer could read them differently.
            drop_invalid_header_fields=True,
            enable_deletion_protection=production,
            opts=self._inside,
        )
        targets = self._declare_targets(vpc_id)
        self.listener = aws.lb.Listener(
            f"{name}-http",
            load_balancer_arn=balancer.arn,
            port=HTTP_PORT,
            protocol="HTTP",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=targets.arn)],
            opts=self._inside,
        )

        self.address = pulumi.Output.concat("http://", balancer.dns_name)
        self.arn_suffix = balancer.arn_suffix
        self.security_group_id = group.id
        self.target_group_arn = targets.arn
        self.target_group_arn_suffix = targets.arn_suffix
        self.register_outputs({"address": self.address, "targetGroupArn": self.target_group_arn})

    def _declare_targets(self, vpc_id: pulumi.Input[str]) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            self._base,
            name_prefix=NAME_PREFIX,
            target_type="ip",  # which tasks on Fargate are
            protocol="HTTP",
            port=API_PORT,
            vpc_id=vpc_id,
            # Requests differ much in what they cost; a busy task gets fewer.
            load_balancing_algorithm_type="least_outstanding_requests",
            deregistration_delay=timeouts.DEREGISTRATION_S,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path=HEALTH_PATH,
                matcher="200",
                interval=timeouts.READY_INTERVAL_S,
                timeout=timeouts.READY_TIMEOUT_S,
                healthy_threshold=2,
                unhealthy_threshold=timeouts.READY_FAILURES,
            ),
            opts=self._inside,
        )
