"""A limit on how much one address may ask: WAF before the load balancer.

It guards the API against one client that asks far too much; it is no defence against many at once.
"""

import json

import pulumi
import pulumi_aws as aws

# The window of the limit, and the longest that WAF looks back by default.
WINDOW_S = 300
# WAF names both in its metrics.
RULE = "too-many-requests"
TOO_MANY = {
    "title": "Too Many Requests",
    "description": "This address has asked too often in the last 5 minutes.",
    "code": "too_many_requests",
}


class Firewall(pulumi.ComponentResource):
    """Lets everything through but what is over the limit, and looks into no body: batches are sent in them.

    Its metrics tell how much that was. It keeps no log, which would cost more than the firewall itself; the
    load balancer's access log has who was refused, too.
    """

    def __init__(
        self,
        name: str,
        requests_per_address: int,
        balancer: aws.lb.LoadBalancer,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:firewall:Firewall", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        acl = aws.wafv2.WebAcl(
            name,
            scope="REGIONAL",  # as opposed to CloudFront's
            default_action=aws.wafv2.WebAclDefaultActionArgs(allow=aws.wafv2.WebAclDefaultActionAllowArgs()),
            custom_response_bodies=[
                aws.wafv2.WebAclCustomResponseBodyArgs(
                    key=RULE, content=json.dumps(TOO_MANY), content_type="APPLICATION_JSON"
                )
            ],
            rules=[limit(requests_per_address)],
            visibility_config=visibility(name),
            opts=inside,
        )
        aws.wafv2.WebAclAssociation(name, resource_arn=balancer.arn, web_acl_arn=acl.arn, opts=inside)
        self.register_outputs({})


def limit(requests_per_address: int) -> aws.wafv2.WebAclRuleArgs:
    """By source address, which nothing between the clients and the load balancer hides."""
    refused = aws.wafv2.WebAclRuleActionBlockCustomResponseArgs(
        response_code=429,
        custom_response_body_key=RULE,
        # Whoever asks nothing for as long as the window is let through again.
        response_headers=[
            aws.wafv2.WebAclRuleActionBlockCustomResponseResponseHeaderArgs(
                name="Retry-After", value=str(WINDOW_S)
            )
        ],
    )
    return aws.wafv2.WebAclRuleArgs(
        name=RULE,
        priority=1,
        action=aws.wafv2.WebAclRuleActionArgs(
            block=aws.wafv2.WebAclRuleActionBlockArgs(custom_response=refused)
        ),
        statement=aws.wafv2.WebAclRuleStatementArgs(
            rate_based_statement=aws.wafv2.WebAclRuleStatementRateBasedStatementArgs(
                aggregate_key_type="IP", limit=requests_per_address, evaluation_window_sec=WINDOW_S
            )
        ),
        visibility_config=aws.wafv2.WebAclRuleVisibilityConfigArgs(
            metric_name=RULE, cloudwatch_metrics_enabled=True, sampled_requests_enabled=False
        ),
    )


def visibility(name: str) -> aws.wafv2.WebAclVisibilityConfigArgs:
    """Metrics, but no samples: they show headers, and tokens are among those."""
    return aws.wafv2.WebAclVisibilityConfigArgs(
        metric_name=name, cloudwatch_metrics_enabled=True, sampled_requests_enabled=False
    )
