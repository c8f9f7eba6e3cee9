"""Stops the database and the tasks of a copy outside its hours, and starts them again.

Tasks sleep by their autoscaling, which may run none of them; the database by calls of AWS's scheduler. The
clock knows nothing of what people do: what somebody starts at night runs until the next evening.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_aws import appautoscaling as scaling

from infra.database import Database
from infra.iam import account_of, allow, document, trust
from infra.settings.database import Engine
from infra.settings.schedule import AwakeHours
from infra.settings.services import ServiceSize

# RDS takes some minutes to start a server, and tasks are of no use before.
DATABASE_AHEAD_MINUTES = 15
# Tasks that leave end what they have in hand, within two minutes (`timeouts`).
DATABASE_AFTER_MINUTES = 5
HOUR_MINUTES = 60
DAY_HOURS = 24
# RDS stops nothing while it makes a backup or a change: it is asked again, for an hour.
RETRY_S = 3600
RETRIES_MAX = 10
WORKDAYS = "MON-FRI"
EVES_OF_WORKDAYS = "SUN-THU"
# What somebody started on a Saturday too, and what RDS starts by itself: it leaves nothing stopped for longer
# than 7 days.
EVERY_DAY = "*"


@dataclass(frozen=True)
class Sleeper:
    """A service whose number of tasks autoscaling chooses, and between which numbers when it is awake."""

    name: str
    target: scaling.Target
    size: ServiceSize


@dataclass(frozen=True)
class Kind:
    """What AWS calls an instance or a cluster when it is stopped and started."""

    suffix: str
    identifier: str


KINDS = {
    Engine.POSTGRES: Kind("DBInstance", "DbInstanceIdentifier"),
    Engine.AURORA: Kind("DBCluster", "DbClusterIdentifier"),
}


class Sleep(pulumi.ComponentResource):
    """Nobody needs anything of it.

    Autoscaling's range is declared awake, and a preview does not look at the real one. A `refresh` at night
    does: the update after it wakes the tasks, until the next evening. Were the range ignored instead, a new
    number of tasks would wait for the next morning.
    """

    def __init__(
        self,
        name: str,
        awake: AwakeHours,
        engine: Engine,
        database: Database,
        sleepers: Sequence[Sleeper],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:sleep:Sleep", name, None, opts)
        self._base = name
        self._awake = awake
        self._kind = KINDS[engine]
        self._database = database
        self._inside = pulumi.ResourceOptions(parent=self)
        self._group = aws.scheduler.ScheduleGroup(name, opts=self._inside)
        self._role = self._declare_role()
        self._call_at(database_start(awake), "start")
        self._call_at(cron(awake.end, DATABASE_AFTER_MINUTES, EVERY_DAY), "stop")
        for sleeper in sleepers:
            size = sleeper.size
            morning, evening = cron(awake.start, 0, WORKDAYS), cron(awake.end, 0, EVERY_DAY)
            self._allow_tasks(sleeper, "awake", morning, size.tasks_min, size.tasks_max)
            self._allow_tasks(sleeper, "asleep", evening, 0, 0)
        self.register_outputs({})

    def _declare_role(self) -> aws.iam.Role:
        """For schedules of this copy alone. AWS knows them by their group."""
        conditions = {
            "StringEquals": {"aws:SourceAccount": account_of(self._group.arn)},
            "ArnEquals": {"aws:SourceArn": self._group.arn},
        }
        role = aws.iam.Role(
            self._base,
            assume_role_policy=trust("scheduler.amazonaws.com", conditions),
            opts=self._inside,
        )
        actions = [f"rds:Start{self._kind.suffix}", f"rds:Stop{self._kind.suffix}"]
        aws.iam.RolePolicy(
            self._base,
            role=role.id,
            policy=document(allow(actions, self._database.arn)),
            opts=self._inside,
        )
        return role

    def _call_at(self, when: str, call: str) -> None:
        aws.scheduler.Schedule(
            f"{self._base}-{call}",
            group_name=self._group.name,
            schedule_expression=when,
            schedule_expression_timezone=self._awake.time_zone,
            flexible_time_window=aws.scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
            target=aws.scheduler.ScheduleTargetArgs(
                arn=f"arn:aws:scheduler:::aws-sdk:rds:{call}{self._kind.suffix}",
                role_arn=self._role.arn,
                input=pulumi.Output.json_dumps({self._kind.identifier: self._database.identifier}),
                retry_policy=aws.scheduler.ScheduleTargetRetryPolicyArgs(
                    maximum_event_age_in_seconds=RETRY_S, maximum_retry_attempts=RETRIES_MAX
                ),
            ),
            opts=self._inside,
        )

    def _allow_tasks(self, sleeper: Sleeper, what: str, when: str, tasks_min: int, tasks_max: int) -> None:
        scaling.ScheduledAction(
            f"{self._base}-{sleeper.name}-{what}",
            service_namespace=sleeper.target.service_namespace,
            scalable_dimension=sleeper.target.scalable_dimension,
            resource_id=sleeper.target.resource_id,
            schedule=when,
            timezone=self._awake.time_zone,
            scalable_target_action=scaling.ScheduledActionScalableTargetActionArgs(
                min_capacity=tasks_min, max_capacity=tasks_max
            ),
            opts=self._inside,
        )


def database_start(awake: AwakeHours) -> str:
    """Ahead of the tasks; of those that start at midnight, on the evening before."""
    hour = (awake.start - 1) % DAY_HOURS
    days = WORKDAYS if awake.start else EVES_OF_WORKDAYS
    return cron(hour, HOUR_MINUTES - DATABASE_AHEAD_MINUTES, days)


def cron(hour: int, minute: int, days: str) -> str:
    """As both schedulers take it: of day and day of the week, one has to be `?`."""
    return f"cron({minute} {hour} ? * {days} *)"
