"""What is measured of a copy, by AWS and by the programs themselves: for alarms, and for the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from infra.cluster import Cluster
from infra.load_balancer import LoadBalancer

PERIOD_S = 60
# What the programs call themselves in their logs, out of which CloudWatch takes their figures:
# `telemetry/metrics.py`.
OWN = "rates"
API, LOADER = "api", "loader"


@dataclass(frozen=True)
class Metric:
    """`stat` says how the values of a minute become one: Average, Maximum, Sum, p99, or PR(2:), which is the
    percentage of values that are 2 or more.
    """

    namespace: str
    name: str
    stat: str
    dimensions: Mapping[str, pulumi.Input[str]]


def of_balancer(balancer: LoadBalancer, name: str, stat: str) -> Metric:
    """Of all its targets together, whichever group they are in."""
    return Metric("AWS/ApplicationELB", name, stat, {"LoadBalancer": balancer.arn_suffix})


def of_targets(balancer: LoadBalancer, name: str, stat: str) -> list[Metric]:
    """Of each group of targets; one without targets has no values."""
    return [
        Metric(
            "AWS/ApplicationELB",
            name,
            stat,
            {"LoadBalancer": balancer.arn_suffix, "TargetGroup": suffix},
        )
        for suffix in balancer.target_group_arn_suffixes
    ]


def numbered(name: str, metrics: Sequence[Metric]) -> dict[str, Metric]:
    """By the ids `name1`, `name2` and so on, which an expression uses."""
    return {f"{name}{number}": metric for number, metric in enumerate(metrics, 1)}


def of_service(cluster: Cluster, service: pulumi.Output[str], name: str, stat: str) -> Metric:
    """Which ECS measures everywhere, at no charge."""
    return Metric("AWS/ECS", name, stat, {"ClusterName": cluster.name, "ServiceName": service})


def of_tasks(cluster: Cluster, service: pulumi.Output[str], name: str) -> Metric:
    """Which Container Insights count, where the cluster has them and a task runs."""
    dimensions = {"ClusterName": cluster.name, "ServiceName": service}
    return Metric("ECS/ContainerInsights", name, "Average", dimensions)


def of_server(identifier: pulumi.Output[str], name: str, stat: str = "Average") -> Metric:
    return Metric("AWS/RDS", name, stat, {"DBInstanceIdentifier": identifier})


def of_program(program: str, stack: str, name: str, stat: str = "Sum") -> Metric:
    """A figure of its own; there is none in a minute in which nothing of the kind happened."""
    return Metric(OWN, name, stat, {"service": program, "stack": stack})


def of_queue(queue: pulumi.Output[str], name: str) -> Metric:
    return Metric("AWS/SQS", name, "Maximum", {"QueueName": queue})
