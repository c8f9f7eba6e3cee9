"""The API: tasks behind the load balancer, as many as requests and CPU ask for.

They read answers from the database and put batches into the bucket, which the loader takes from there.
"""

from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi_aws import appautoscaling as scaling

from infra import rollouts, timeouts
from infra.containers import Program
from infra.fargate import Behind, FargateService, Surroundings, Task
from infra.load_balancer import API_PORT, LoadBalancer
from infra.security_groups import let_through
from infra.settings.images import Image
from infra.settings.services import ApiSettings

# Whom the migrations make for it: reads what answers are made of, and nothing else.
USER = "rates_api"
# Above, a burst would find too little left until new tasks serve.
CPU_PERCENT = 60
# More tasks at once, fewer only when a burst is surely over.
SCALE_OUT_AFTER_S = 60
SCALE_IN_AFTER_S = 300
# The load balancer, which appends to X-Forwarded-For who has asked it.
PROXIES = 1
# Of Fargate's units. Each whole one has a process: two on one only take turns (docs/decisions/0018).
ONE_CPU = 1024
# Whether the process serves at all. It is the image's own check, which ECS does not look at.
ALIVE = (
    "import http.client, os, sys; "
    "c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); "
    "c.request('GET', '/health/live'); "
    "sys.exit(c.getresponse().status != 200)"
)
HEALTH_CHECK = {
    "command": ["CMD", "python", "-c", ALIVE],
    "interval": 10,
    "timeout": 3,
    "startPeriod": 10,
    "retries": 3,
}


class ApiService(pulumi.ComponentResource):
    """Reached by the load balancer alone, whose address is its own.

    `target` is what autoscaling scales, `service_name` what metrics call it, `running` as in `fargate`.
    """

    target: scaling.Target
    service_name: pulumi.Output[str]
    running: dict[str, pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        image: Image,
        settings: ApiSettings,
        around: Surroundings,
        balancer: LoadBalancer,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:api_service:ApiService", name, None, opts)
        self._base = name
        self._settings = settings
        self._balancer = balancer
        self._inside = pulumi.ResourceOptions(parent=self)
        program = Program(
            name="api",
            image=image,
            user=USER,
            stop_s=timeouts.API_STOP_S,
            reads_only=True,
            environment={
                "API_DRAIN_S": str(timeouts.DRAIN_S),
                "PORT": str(API_PORT),
                "RATES_CORS_ORIGINS": ",".join(settings.origins),
                "RATES_DB_PAUSES": str(int(around.database.pauses)),
                "RATES_LIMIT": settings.limit or "",
                "RATES_PRIVATE_BATCHES": str(int(settings.private_batches)),
                "RATES_PROXIES": str(PROXIES),
                "WEB_CONCURRENCY": str(max(1, settings.size.cpu // ONE_CPU)),
                **around.ingestion.api_environment,
            },
            port=API_PORT,
            health_check=HEALTH_CHECK,
        )
        self._service = FargateService(
            name,
            Task(program, settings.size, around.ingestion.to_accept_batches()),
            around,
            self._join(balancer),
            self._inside,
        )
        let_through(
            f"{name}-from-balancer",
            balancer.security_group_id,
            self._service.security_group_id,
            API_PORT,
            self._inside,
        )
        self.service_name = self._service.name
        self.running = self._service.running
        self.target = self._scale()
        self.register_outputs({})

    def _join(self, balancer: LoadBalancer) -> Behind:
        """One way for every rollout, so that another one changes nothing but what ECS is told."""
        role, policy = rollouts.declare_role(f"{self._base}-rollout", balancer, self._inside)
        first, alternate = balancer.target_group_arns
        return Behind(
            target_group_arn=first,
            advanced=aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgs(
                alternate_target_group_arn=alternate,
                production_listener_rule=balancer.rule.arn,
                role_arn=role.arn,
            ),
            rollout=self._settings.rollout,
            start_s=timeouts.START_S,
            needs=[balancer.rule, policy],
        )

    def _scale(self) -> scaling.Target:
        """Each policy asks for a number of tasks; the higher one counts."""
        target = scaling.Target(
            self._base,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=self._service.resource_id,
            min_capacity=self._settings.size.tasks_min,
            max_capacity=self._settings.size.tasks_max,
            opts=self._inside,
        )
        cpu = scaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
            predefined_metric_type="ECSServiceAverageCPUUtilization"
        )
        requests = requests_per_task(self._balancer)
        self._follow(target, "cpu", CPU_PERCENT, predefined_metric_specification=cpu)
        self._follow(
            target, "requests", self._settings.requests_per_task, customized_metric_specification=requests
        )
        return target

    def _follow(self, target: scaling.Target, what: str, value: int, **metric: Any) -> None:
        scaling.Policy(
            f"{self._base}-{what}",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration=scaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
                **metric,
                target_value=value,
                scale_out_cooldown=SCALE_OUT_AFTER_S,
                scale_in_cooldown=SCALE_IN_AFTER_S,
            ),
            opts=self._inside,
        )


def requests_per_task(balancer: LoadBalancer) -> dict[str, Any]:
    """In a minute, whichever group of targets the tasks are in; in a rollout, of old and new ones together.

    AWS's own ALBRequestCountPerTarget looks at one group, and sees nothing once ECS has moved to the other.
    """
    groups = [
        {
            "id": f"group{number}",
            "metric_stat": {
                "metric": {
                    "namespace": "AWS/ApplicationELB",
                    "metric_name": "RequestCountPerTarget",
                    "dimensions": [
                        {"name": "LoadBalancer", "value": balancer.arn_suffix},
                        {"name": "TargetGroup", "value": suffix},
                    ],
                },
                "stat": "Sum",
            },
            "return_data": False,
        }
        for number, suffix in enumerate(balancer.target_group_arn_suffixes)
    ]
    # SUM passes over a group without tasks, which has no figures; with + there would be none at all.
    names = ", ".join(str(each["id"]) for each in groups)
    total = {"id": "requests", "expression": f"SUM([{names}])", "label": "Requests", "return_data": True}
    return {"metrics": [*groups, total]}
