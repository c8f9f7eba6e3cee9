"""How new API tasks take over from old ones: what ECS is told, and the role in which it moves requests.

Why each exists, and when to choose which: `docs/decisions/0008-rollouts.md`.
"""

import pulumi
import pulumi_aws as aws

from infra import timeouts
from infra.iam import Statement, allow, document, trust
from infra.load_balancer import LoadBalancer
from infra.settings.services import Rollout

# Of the requests: what a canary gets, and what moves in each step of a linear rollout.
PERCENT = 10
# ECS waits between steps, and not after the last.
PAUSES = 100 // PERCENT - 1
# How long Pulumi waits for it.
MINUTES = {
    Rollout.ROLLING: timeouts.ROLLING_MINUTES,
    Rollout.CANARY: timeouts.ROLLING_MINUTES + timeouts.CANARY_MINUTES + timeouts.BAKE_MINUTES,
    Rollout.LINEAR: timeouts.ROLLING_MINUTES + PAUSES * timeouts.LINEAR_STEP_MINUTES + timeouts.BAKE_MINUTES,
}


def strategy(rollout: Rollout) -> aws.ecs.ServiceDeploymentConfigurationArgs:
    """Said for rolling too: what is left out stays as it was."""
    args = aws.ecs.ServiceDeploymentConfigurationArgs(strategy=rollout.upper())
    if rollout is not Rollout.ROLLING:
        args.bake_time_in_minutes = str(timeouts.BAKE_MINUTES)
    if rollout is Rollout.CANARY:
        args.canary_configuration = aws.ecs.ServiceDeploymentConfigurationCanaryConfigurationArgs(
            canary_percent=PERCENT, canary_bake_time_in_minutes=str(timeouts.CANARY_MINUTES)
        )
    if rollout is Rollout.LINEAR:
        args.linear_configuration = aws.ecs.ServiceDeploymentConfigurationLinearConfigurationArgs(
            step_percent=PERCENT, step_bake_time_in_minutes=str(timeouts.LINEAR_STEP_MINUTES)
        )
    return args


def circuit_breaker(rollout: Rollout) -> aws.ecs.ServiceDeploymentCircuitBreakerArgs | None:
    """Goes back when new tasks do not get ready. ECS has it for rolling alone; else alarms have to."""
    if rollout is not Rollout.ROLLING:
        return None
    return aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True)


def declare_role(
    name: str, balancer: LoadBalancer, opts: pulumi.ResourceOptions
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """For ECS itself; and its policy, which has to be there first.

    ECS names no account when it acts in the role. But only this account can hand the role to ECS.
    """
    role = aws.iam.Role(name, assume_role_policy=trust("ecs.amazonaws.com"), opts=opts)
    policy = aws.iam.RolePolicy(name, role=role.id, policy=document(*to_move_requests(balancer)), opts=opts)
    return role, policy


def to_move_requests(balancer: LoadBalancer) -> list[Statement]:
    """As AWS's AmazonECSInfrastructureRolePolicyForLoadBalancers allows, but in this load balancer alone."""
    return [
        allow(
            [
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
            ],
            "*",  # AWS knows no resource for them
        ),
        allow(
            ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"],
            balancer.target_group_arns,
        ),
        allow(["elasticloadbalancing:ModifyListener"], balancer.listener_arn),
        allow(["elasticloadbalancing:ModifyRule"], balancer.rule.arn),
    ]
