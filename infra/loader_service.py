"""The loader: tasks that take batches off the queue, as many as its backlog asks for, from none at all.

Losing a task loses nothing: a chunk is a transaction, and its message comes back.
"""

import pulumi
import pulumi_aws as aws
from pulumi_aws import appautoscaling as scaling
from pulumi_aws.appautoscaling import PolicyStepScalingPolicyConfigurationStepAdjustmentArgs as Step

from infra import timeouts
from infra.containers import Program
from infra.fargate import FargateService, Surroundings, Task
from infra.settings.images import Image
from infra.settings.services import LoaderSettings

# Whom the migrations make for it: writes batches, and changes no schema.
USER = "rates_loader"
# What a loader does at once (`loader.work.SLOTS`), and how many messages a batch has at most by itself
# (`loader.planned.TICKETS_MAX`). With fewer messages than slots some loaders would have nothing of it.
SLOTS, TICKETS_MAX = 2, 32
MINUTE_S = 60
# SQS counts only about right, and a pause between two batches is no end.
EMPTY_MINUTES = 10
# Messages that wait, and those in hand: a task that works is not one too many.
BACKLOG_METRICS = {
    "waiting": "ApproximateNumberOfMessagesVisible",
    "taken": "ApproximateNumberOfMessagesNotVisible",
}


class LoaderService(pulumi.ComponentResource):
    """Reached by nobody: it asks the queue, the bucket and the database, and calls back who wants to be told.

    `target` is what autoscaling scales, `service_name` what metrics call it, `running` as in `fargate`.
    """

    target: scaling.Target
    service_name: pulumi.Output[str]
    running: dict[str, pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        image: Image,
        settings: LoaderSettings,
        around: Surroundings,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:loader_service:LoaderService", name, None, opts)
        self._base = name
        self._settings = settings
        self._queue_name = around.ingestion.storage.queue_name
        self._inside = pulumi.ResourceOptions(parent=self)
        program = Program(
            name="loader",
            image=image,
            user=USER,
            stop_s=timeouts.LOADER_STOP_S,
            environment={
                **around.ingestion.loader_environment,
                "RATES_TICKETS_MAX": str(max(TICKETS_MAX, SLOTS * settings.size.tasks_max)),
            },
            scratch_gib=settings.storage_gib,
        )
        task = Task(program, settings.size, around.ingestion.to_take_batches())
        service = FargateService(name, task, around, opts=self._inside)
        self.target = scaling.Target(
            name,
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=service.resource_id,
            min_capacity=settings.size.tasks_min,
            max_capacity=settings.size.tasks_max,
            opts=self._inside,
        )
        self.service_name = service.name
        self._scale_with_the_backlog()
        self._rest_when_there_is_none()
        self.running = service.running
        self.register_outputs({})

    def _scale_with_the_backlog(self) -> None:
        """Steps to a number of tasks: target tracking divides by how many run, and knows no way from none."""
        size, backlog = self._settings.size, self._settings.backlog_per_task
        adjustments = [
            Step(
                scaling_adjustment=tasks,
                metric_interval_lower_bound=str(start),
                metric_interval_upper_bound=None if end is None else str(end),
            )
            for tasks, start, end in steps(size.tasks_min, size.tasks_max, backlog)
        ]
        policy = self._declare_policy("backlog", adjustments)
        self._declare_alarm("backlog", "GreaterThanOrEqualToThreshold", 1, 1, policy, "notBreaching")

    def _rest_when_there_is_none(self) -> None:
        """SQS tells nothing of a queue that nobody has used for 6 hours: it is empty."""
        rest = Step(scaling_adjustment=self._settings.size.tasks_min, metric_interval_upper_bound="0")
        policy = self._declare_policy("empty", [rest])
        self._declare_alarm("empty", "LessThanOrEqualToThreshold", 0, EMPTY_MINUTES, policy, "breaching")

    def _declare_policy(self, what: str, adjustments: list[Step]) -> scaling.Policy:
        return scaling.Policy(
            f"{self._base}-{what}",
            policy_type="StepScaling",
            service_namespace=self.target.service_namespace,
            scalable_dimension=self.target.scalable_dimension,
            resource_id=self.target.resource_id,
            step_scaling_policy_configuration=scaling.PolicyStepScalingPolicyConfigurationArgs(
                adjustment_type="ExactCapacity",
                metric_aggregation_type="Maximum",
                cooldown=MINUTE_S,
                step_adjustments=adjustments,
            ),
            opts=self._inside,
        )

    def _declare_alarm(
        self, what: str, comparison: str, threshold: int, minutes: int, policy: scaling.Policy, missing: str
    ) -> None:
        metrics = [
            aws.cloudwatch.MetricAlarmMetricQueryArgs(
                id=name,
                metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                    namespace="AWS/SQS",
                    metric_name=metric,
                    dimensions={"QueueName": self._queue_name},
                    period=MINUTE_S,
                    stat="Maximum",
                ),
            )
            for name, metric in BACKLOG_METRICS.items()
        ]
        backlog = aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id="backlog", expression=" + ".join(BACKLOG_METRICS), label="Backlog", return_data=True
        )
        aws.cloudwatch.MetricAlarm(
            f"{self._base}-{what}",
            alarm_description=f"Not for people: scales the loader by its queue ({what})",
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=minutes,
            metric_queries=[*metrics, backlog],
            treat_missing_data=missing,
            alarm_actions=[policy.arn],
            opts=self._inside,
        )


def steps(tasks_min: int, tasks_max: int, backlog_per_task: int) -> list[tuple[int, int, int | None]]:
    """One task, two, four and so on, at most `tasks_max`: how many, and from and to which backlog.

    Bounds are counted from the alarm's threshold, 1 message. Doubling stays below the 20 steps of AWS.
    """
    counts = [max(tasks_min, 1)]
    while counts[-1] < tasks_max:
        counts.append(min(counts[-1] * 2, tasks_max))
    ends = [count * backlog_per_task for count in counts[:-1]]
    return list(zip(counts, [0, *ends], [*ends, None], strict=True))
