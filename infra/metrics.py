"""What CloudWatch measures of a copy, by names and dimensions of AWS: for alarms, and for the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from infra.cluster import Cluster
from infra.load_balancer import LoadBalancer

PERIOD_S = 60


@dataclass(frozen=True)
class Metric:
    """`stat` says how the values of a minute become one: Average, Maximum, Sum, p99."""

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


def of_queue(queue: pulumi.Output[str], name: str) -> Metric:
    return Metric("AWS/SQS", name, "Maximum", {"QueueName": queue})
