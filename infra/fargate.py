"""A program as a service on Fargate: its log, roles, security group and task definition, kept running by ECS.

`api_service` and `loader_service` say what is special about theirs, and how it is scaled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from infra import rollouts
from infra.cluster import Cluster
from infra.containers import SCRATCH, Log, Program, migration_container, program_container
from infra.database import Database
from infra.iam import Statement
from infra.ingestion import Ingestion
from infra.logs import Logs
from infra.security_groups import declare_closed_group
from infra.settings.images import Image
from infra.settings.services import Rollout, ServiceSize, TaskSettings
from infra.task_roles import declare_role, to_log_in, to_start_it


@dataclass(frozen=True)
class Surroundings:
    """What the services of a copy have in common."""

    region: str
    vpc_id: pulumi.Output[str]
    subnet_ids: pulumi.Output[list[str]]
    public_ip: bool
    cluster: Cluster
    logs: Logs
    database: Database
    ingestion: Ingestion
    migrations: Image
    settings: TaskSettings
    # Of what customers feel: while one is on, a deploy of what they reach goes back.
    rollback_alarm_names: Sequence[pulumi.Output[str]] = ()


@dataclass(frozen=True)
class Behind:
    """The load balancer's targets that the tasks join, and how long they may take to be ready.

    `advanced` is by what ECS moves requests between two groups of targets.
    """

    target_group_arn: pulumi.Output[str]
    advanced: aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgs
    rollout: Rollout
    start_s: int
    needs: Sequence[pulumi.Resource]


@dataclass(frozen=True)
class Task:
    """The program, how big its task is, and what it may do besides logging into the database."""

    program: Program
    size: ServiceSize
    may: Sequence[Statement] = field(default_factory=list)


class FargateService(pulumi.ComponentResource):
    """`resource_id` is what autoscaling calls it, `name` what ECS does. Autoscaling says how many run.

    `running` is for whoever looks whether a deploy has ended: an update ends well after a rollback too.
    """

    name: pulumi.Output[str]
    running: dict[str, pulumi.Output[str]]
    resource_id: pulumi.Output[str]
    security_group_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        task: Task,
        around: Surroundings,
        behind: Behind | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:fargate:FargateService", name, None, opts)
        self._base = name
        self._task = task
        self._around = around
        self._inside = pulumi.ResourceOptions(parent=self)
        self.security_group_id = declare_closed_group(name, f"Tasks of {name}", around.vpc_id, self._inside)
        definition, policies = self._declare_task()
        service = self._declare_service(definition, policies, behind)
        self.name = service.name
        self.resource_id = pulumi.Output.concat("service/", around.cluster.name, "/", service.name)
        self.running = {
            "cluster": around.cluster.name,
            "service": service.name,
            "taskDefinition": definition.arn,
        }
        self.register_outputs({"resourceId": self.resource_id})

    def _declare_task(self) -> tuple[aws.ecs.TaskDefinition, list[pulumi.Resource]]:
        around, program, size = self._around, self._task.program, self._task.size
        logs = around.logs.declare_log_group(self._base, around.settings.log_days, self)
        images = [program.image.repository_arn, around.migrations.repository_arn]
        starter, starter_policy = declare_role(
            f"{self._base}-start",
            around.cluster,
            around.region,
            to_start_it(images, logs, around.database, around.region),
            self,
        )
        role, policy = declare_role(
            f"{self._base}-task",
            around.cluster,
            around.region,
            [to_log_in(around.database, program.user), *self._task.may],
            self,
        )
        log = Log(logs.name, around.region)
        definition = aws.ecs.TaskDefinition(
            self._base,
            family=self._base,
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(size.cpu),
            memory=str(size.memory_mib),
            runtime_platform=aws.ecs.TaskDefinitionRuntimePlatformArgs(
                cpu_architecture=around.settings.architecture, operating_system_family="LINUX"
            ),
            volumes=[aws.ecs.TaskDefinitionVolumeArgs(name=SCRATCH)] if program.scratch_gib else None,
            ephemeral_storage=disk(program.scratch_gib),
            execution_role_arn=starter.arn,
            task_role_arn=role.arn,
            container_definitions=pulumi.Output.json_dumps(
                [
                    migration_container(around.migrations, around.database, log),
                    program_container(program, around.database, log),
                ]
            ),
            # A deploy that fails goes back to the revision before.
            skip_destroy=True,
            opts=self._inside,
        )
        return definition, [starter_policy, policy]

    def _declare_service(
        self, definition: aws.ecs.TaskDefinition, policies: list[pulumi.Resource], behind: Behind | None
    ) -> aws.ecs.Service:
        around, program, size = self._around, self._task.program, self._task.size
        rollout = behind.rollout if behind else Rollout.ROLLING
        minutes = f"{rollouts.MINUTES[rollout]}m"
        targets = [
            aws.ecs.ServiceLoadBalancerArgs(
                target_group_arn=each.target_group_arn,
                container_name=program.name,
                container_port=program.port or 0,
                advanced_configuration=each.advanced,
            )
            for each in [behind]
            if each
        ]
        return aws.ecs.Service(
            self._base,
            cluster=around.cluster.arn,
            task_definition=definition.arn,
            desired_count=size.tasks_min,
            capacity_provider_strategies=[
                aws.ecs.ServiceCapacityProviderStrategyArgs(
                    capacity_provider="FARGATE_SPOT" if size.spot else "FARGATE", weight=1
                )
            ],
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=around.subnet_ids,
                assign_public_ip=around.public_ip,
                security_groups=[self.security_group_id, around.database.client_security_group_id],
            ),
            load_balancers=targets,
            health_check_grace_period_seconds=behind.start_s if behind else None,
            # New tasks come first, then the old ones go.
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_configuration=rollouts.strategy(rollout),
            deployment_circuit_breaker=rollouts.circuit_breaker(rollout),
            alarms=roll_back_on(around.rollback_alarm_names) if behind else None,
            availability_zone_rebalancing="ENABLED",
            # An update that ends well has replaced the tasks.
            wait_for_steady_state=True,
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            opts=pulumi.ResourceOptions(
                parent=self,
                # Without its rights a task cannot start, and ECS takes no targets that nothing listens for.
                depends_on=[*policies, around.cluster.capacity, *(behind.needs if behind else [])],
                ignore_changes=["desiredCount"],
                custom_timeouts=pulumi.CustomTimeouts(create=minutes, update=minutes),
            ),
        )


def disk(gib: int | None) -> aws.ecs.TaskDefinitionEphemeralStorageArgs | None:
    return aws.ecs.TaskDefinitionEphemeralStorageArgs(size_in_gib=gib) if gib else None


def roll_back_on(alarm_names: Sequence[pulumi.Output[str]]) -> aws.ecs.ServiceAlarmsArgs | None:
    if not alarm_names:
        return None
    return aws.ecs.ServiceAlarmsArgs(alarm_names=list(alarm_names), enable=True, rollback=True)
