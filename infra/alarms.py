"""Alarms as people get them: what is watched, from when on it matters, what that means and what to do.

`service_alarms` and `database_alarms` list them; `thresholds` has the figures, docs/runbook.md
a row for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pulumi
import pulumi_aws as aws

from infra.alarm_topic import AlarmTopic
from infra.metrics import PERIOD_S, Metric

ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"
# Of a minute without a value: nothing to complain of, or the worst.
FINE, BAD = "notBreaching", "breaching"


@dataclass(frozen=True)
class Alarm:
    """`expression` is of the metrics by their ids; without one there is one metric, and that is watched.

    It goes off after `minutes` beyond the threshold, out of the last `minutes_of`; all of them, if none.
    """

    name: str
    means: str
    todo: str
    metrics: Mapping[str, Metric]
    threshold: float
    minutes: int
    comparison: str = ABOVE
    expression: str = ""
    minutes_of: int = 0
    missing: str = FINE

    @property
    def description(self) -> str:
        return f"{self.means} {self.todo} More under Alarms in docs/runbook.md: {self.name}."


class Alarms(pulumi.ComponentResource):
    """Each tells the topic when it goes off and when it is over. They come `after` what they would miss."""

    names: list[pulumi.Output[str]]
    arns: list[pulumi.Output[str]]

    def __init__(
        self,
        name: str,
        kind: str,
        alarms: Iterable[Alarm],
        topic: AlarmTopic,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:alarms:Alarms", f"{name}-{kind}", None, opts)
        inside = pulumi.ResourceOptions(parent=self, depends_on=list(after))
        declared = [declare_alarm(f"{name}-{alarm.name}", alarm, topic, inside) for alarm in alarms]
        self.names = [alarm.name for alarm in declared]
        self.arns = [alarm.arn for alarm in declared]
        self.register_outputs({})


def declare_alarm(
    name: str, alarm: Alarm, topic: AlarmTopic, opts: pulumi.ResourceOptions
) -> aws.cloudwatch.MetricAlarm:
    return aws.cloudwatch.MetricAlarm(
        name,
        alarm_description=alarm.description,
        comparison_operator=alarm.comparison,
        threshold=alarm.threshold,
        datapoints_to_alarm=alarm.minutes,
        evaluation_periods=alarm.minutes_of or alarm.minutes,
        metric_queries=queries(alarm),
        treat_missing_data=alarm.missing,
        alarm_actions=[topic.arn],
        ok_actions=[topic.arn],
        opts=opts,
    )


def queries(alarm: Alarm) -> Sequence[aws.cloudwatch.MetricAlarmMetricQueryArgs]:
    metrics = [
        aws.cloudwatch.MetricAlarmMetricQueryArgs(
            id=name,
            metric=aws.cloudwatch.MetricAlarmMetricQueryMetricArgs(
                namespace=metric.namespace,
                metric_name=metric.name,
                dimensions=metric.dimensions,
                period=PERIOD_S,
                stat=metric.stat,
            ),
            return_data=not alarm.expression,
        )
        for name, metric in alarm.metrics.items()
    ]
    if not alarm.expression:
        return metrics
    watched = aws.cloudwatch.MetricAlarmMetricQueryArgs(
        id="watched", expression=alarm.expression, label=alarm.name, return_data=True
    )
    return [*metrics, watched]


def only_awake(alarms: Iterable[Alarm], awake: Metric) -> list[Alarm]:
    """For a copy that is stopped at night: a minute counts if `awake` has a value in it.

    CloudWatch calculates with minutes alone in which all have one.
    """
    return [
        replace(
            alarm,
            metrics={**alarm.metrics, "awake": awake},
            expression=f"({alarm.expression or next(iter(alarm.metrics))}) + 0 * awake",
            missing=FINE,
        )
        for alarm in alarms
    ]
