"""The way in: the load balancer, the only thing in a copy that the internet reaches.

It is there before the API's service and stays when that goes, so that the address never changes. With a
domain, requests come over HTTPS alone.
"""

import json

import pulumi
import pulumi_aws as aws

from infra import timeouts
from infra.access_logs import AccessLogs
from infra.domain import Certificate, lead_to
from infra.firewall import Firewall
from infra.iam import account_of
from infra.security_groups import ANYWHERE, HTTPS_PORT
from infra.settings.edge import Domain, EdgeSettings

# Where the API listens inside its task; `EXPOSE` of its image.
API_PORT = 8000
HTTP_PORT = 80
# TLS 1.3, and 1.2 with ciphers that keep what was recorded secret even if the key is lost; for clients that
# can, key exchange that outlasts quantum computers. AWS recommends it; without a policy it takes one of 2016.
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
# Whether a request would be answered. A task whose database is away is given none, and a task that never
# reaches it never gets one: a deploy stops there. See `timeouts` for how long a task may be unready.
HEALTH_PATH = "/health/ready"
# A load balancer's name has 32 characters at most, too few for a stack's; AWS makes it of these 6 and a
# number. The tags say whose it is.
NAME_PREFIX = "rates-"
# What no rule takes: a request that is for no path.
NOT_FOUND = {
    "title": "Not Found",
    "description": "Nothing is served at this address.",
    "code": "not_found",
}


class LoadBalancer(pulumi.ComponentResource):
    """`rule` sends requests to the API's tasks, which are in either of two groups of targets.

    Which of them, and in a rollout how much to which, is ECS's to say: see `rollouts`. The rule has to be
    there before a service joins a group.
    """

    address: pulumi.Output[str]
    arn_suffix: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    listener_arn: pulumi.Output[str]
    rule: aws.lb.ListenerRule
    target_group_arns: list[pulumi.Output[str]]
    target_group_arn_suffixes: list[pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        settings: EdgeSettings,
        vpc_id: pulumi.Input[str],
        subnet_ids: pulumi.Input[list[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:load_balancer:LoadBalancer", name, None, opts)
        self._base = name
        self._inside = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(name, description="The load balancer", vpc_id=vpc_id, opts=self._inside)
        self.security_group_id = group.id
        self._balancer = self._declare_balancer(settings, group, subnet_ids)
        listener = self._listen(settings.domain)
        targets = [self._declare_targets(each, vpc_id) for each in (name, f"{name}-alternate")]
        self.rule = self._send_requests(listener, targets)
        if settings.requests_per_address:
            Firewall(name, settings.requests_per_address, self._balancer, self._inside)

        self.address = (
            pulumi.Output.from_input(f"https://{settings.domain.name}")
            if settings.domain
            else pulumi.Output.concat("http://", self._balancer.dns_name)
        )
        self.arn_suffix = self._balancer.arn_suffix
        self.listener_arn = listener.arn
        self.target_group_arns = [each.arn for each in targets]
        self.target_group_arn_suffixes = [each.arn_suffix for each in targets]
        self.register_outputs({"address": self.address, "targetGroupArns": self.target_group_arns})

    def _declare_balancer(
        self, settings: EdgeSettings, group: aws.ec2.SecurityGroup, subnet_ids: pulumi.Input[list[str]]
    ) -> aws.lb.LoadBalancer:
        logs = None
        if settings.access_log_days:
            logs = AccessLogs(
                f"{self._base}-access-logs",
                settings.access_log_days,
                settings.production,
                account_of(group.arn),
                self._inside,
            )
        return aws.lb.LoadBalancer(
            self._base,
            name_prefix=NAME_PREFIX,
            load_balancer_type="application",
            internal=False,
            security_groups=[group.id],
            subnets=subnet_ids,
            idle_timeout=timeouts.CONNECTION_IDLE_S,
            # gunicorn and the load balancer could read them differently.
            drop_invalid_header_fields=True,
            enable_deletion_protection=settings.production,
            # Off has to be said: what is left out stays as it was.
            access_logs=aws.lb.LoadBalancerAccessLogsArgs(
                bucket=logs.bucket_name if logs else "", enabled=logs is not None
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs.ready] if logs else []),
        )

    def _listen(self, domain: Domain | None) -> aws.lb.Listener:
        """The listener that takes requests. With a domain, plain HTTP is told to come again over HTTPS."""
        self._open("http", HTTP_PORT)
        if domain is None:
            return self._declare_listener("http", HTTP_PORT, not_found())
        self._open("https", HTTPS_PORT)
        self._declare_listener("http", HTTP_PORT, to_https(domain))
        lead_to(self._base, domain, self._balancer, self._inside)
        certificate = Certificate(self._base, domain, self._inside)
        return self._declare_listener("https", HTTPS_PORT, not_found(), certificate)

    def _open(self, scheme: str, port: int) -> None:
        aws.vpc.SecurityGroupIngressRule(
            f"{self._base}-{scheme}",
            security_group_id=self.security_group_id,
            cidr_ipv4=ANYWHERE,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=self._inside,
        )

    def _declare_listener(
        self,
        scheme: str,
        port: int,
        action: aws.lb.ListenerDefaultActionArgs,
        certificate: Certificate | None = None,
    ) -> aws.lb.Listener:
        return aws.lb.Listener(
            f"{self._base}-{scheme}",
            load_balancer_arn=self._balancer.arn,
            port=port,
            protocol=scheme.upper(),
            certificate_arn=certificate.arn if certificate else None,
            ssl_policy=TLS_POLICY if certificate else None,
            default_actions=[action],
            opts=self._inside,
        )

    def _send_requests(
        self, listener: aws.lb.Listener, targets: list[aws.lb.TargetGroup]
    ) -> aws.lb.ListenerRule:
        """To the first group, until ECS says otherwise."""
        groups = [
            aws.lb.ListenerRuleActionForwardTargetGroupArgs(arn=each.arn, weight=weight)
            for each, weight in zip(targets, (100, 0), strict=True)
        ]
        return aws.lb.ListenerRule(
            self._base,
            listener_arn=listener.arn,
            priority=1,
            conditions=[
                aws.lb.ListenerRuleConditionArgs(
                    path_pattern=aws.lb.ListenerRuleConditionPathPatternArgs(values=["/*"])
                )
            ],
            actions=[
                aws.lb.ListenerRuleActionArgs(
                    type="forward", forward=aws.lb.ListenerRuleActionForwardArgs(target_groups=groups)
                )
            ],
            # ECS moves the weights; an update that put them back would send requests to where no task is.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["actions"]),
        )

    def _declare_targets(self, name: str, vpc_id: pulumi.Input[str]) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            name,
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


def not_found() -> aws.lb.ListenerDefaultActionArgs:
    return aws.lb.ListenerDefaultActionArgs(
        type="fixed-response",
        fixed_response=aws.lb.ListenerDefaultActionFixedResponseArgs(
            content_type="application/json", message_body=json.dumps(NOT_FOUND), status_code="404"
        ),
    )


def to_https(domain: Domain) -> aws.lb.ListenerDefaultActionArgs:
    return aws.lb.ListenerDefaultActionArgs(
        type="redirect",
        redirect=aws.lb.ListenerDefaultActionRedirectArgs(
            # Whatever name the client asked by.
            host=domain.name,
            protocol="HTTPS",
            port=str(HTTPS_PORT),
            status_code="HTTP_301",
        ),
    )
