"""The API: tasks behind the load balancer, as many as requests and CPU ask for."""

import pulumi
from pulumi_aws import appautoscaling as scaling

from infra import timeouts
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
    """Reached by the load balancer alone. Nobody needs anything of it: its address is the balancer's."""

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
                "RATES_DB_PAUSES": str(int(around.database.pauses)),
                "WEB_CONCURRENCY": str(settings.processes),
            },
            port=API_PORT,
            health_check=HEALTH_CHECK,
        )
        self._service = FargateService(
            name,
            Task(program, settings.size),
            around,
            Behind(balancer.target_group_arn, balancer.listener, timeouts.START_S),
            self._inside,
        )
        let_through(
            f"{name}-from-balancer",
            balancer.security_group_id,
            self._service.security_group_id,
            API_PORT,
            self._inside,
        )
        self._scale()
        self.register_outputs({})

    def _scale(self) -> None:
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
        balancer = self._balancer
        label = pulumi.Output.concat(balancer.arn_suffix, "/", balancer.target_group_arn_suffix)
        self._follow(target, "requests", "ALBRequestCountPerTarget", self._settings.requests_per_task, label)
        self._follow(target, "cpu", "ECSServiceAverageCPUUtilization", CPU_PERCENT)

    def _follow(
        self,
        target: scaling.Target,
        what: str,
        metric: str,
        value: int,
        label: pulumi.Output[str] | None = None,
    ) -> None:
        predefined = scaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs
        scaling.Policy(
            f"{self._base}-{what}",
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration=scaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
                predefined_metric_specification=predefined(
                    predefined_metric_type=metric, resource_label=label
                ),
                target_value=value,
                scale_out_cooldown=SCALE_OUT_AFTER_S,
                scale_in_cooldown=SCALE_IN_AFTER_S,
            ),
            opts=self._inside,
        )
