"""The ECS cluster in which the tasks of the API and the loader run, and what it counts of them."""

import pulumi
import pulumi_aws as aws

from infra.logs import Logs

# Of each task too, and not only of a service's average, in which one that leaks memory is lost.
INSIGHTS = "enhanced"
# They are raw material of metrics that CloudWatch keeps for 15 months.
INSIGHTS_DAYS = 7


def insights_log_group(name: str) -> str:
    """Where Container Insights of a cluster writes."""
    return f"/aws/ecs/containerinsights/{name}/performance"


class Cluster(pulumi.ComponentResource):
    """Nothing in it runs by itself. `capacity` has to be there before a service asks for it.

    `insights` says whether there are metrics of ECS/ContainerInsights.
    """

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    capacity: pulumi.Resource
    insights: bool

    def __init__(
        self, name: str, insights: bool, logs: Logs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:cluster:Cluster", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        written = [
            logs.declare_log_group(f"{name}-insights", INSIGHTS_DAYS, self, insights_log_group(name))
            for _ in range(insights)
        ]
        cluster = aws.ecs.Cluster(
            name,
            # Fixed, since the name of the log group is made of it.
            name=name,
            settings=[
                aws.ecs.ClusterSettingArgs(
                    name="containerInsights", value=INSIGHTS if insights else "disabled"
                )
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=written),
        )
        # Spot is a choice of each service, and has to be on offer.
        self.capacity = aws.ecs.ClusterCapacityProviders(
            name, cluster_name=cluster.name, capacity_providers=["FARGATE", "FARGATE_SPOT"], opts=inside
        )
        self.arn = cluster.arn
        self.name = cluster.name
        self.insights = insights
        self.register_outputs({"name": self.name})
