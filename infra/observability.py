"""Who watches a copy, and where it is seen: the topic, alarms before and after the services, the dashboard.

`service_alarms` and `database_alarms` say what is watched, `dashboard` what is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pulumi

from infra import dashboard
from infra.alarm_topic import AlarmTopic
from infra.alarms import Alarm, Alarms, only_awake
from infra.cluster import Cluster
from infra.dashboard import Dashboard, Page
from infra.database import Database
from infra.database_alarms import database_alarms
from infra.load_balancer import LoadBalancer
from infra.metrics import of_server
from infra.service_alarms import (
    Watched,
    balancer_alarms,
    batch_alarms,
    customer_alarms,
    queue_alarms,
    service_alarms,
)
from infra.settings.database import InstanceSize
from infra.settings.stack import Settings
from infra.storage import BatchStorage


@dataclass(frozen=True)
class Parts:
    """What is there before any service, and the stack's name."""

    stack: str
    balancer: LoadBalancer
    cluster: Cluster
    database: Database
    storage: BatchStorage


class Observability(pulumi.ComponentResource):
    """`topic` is where messages about the copy are published, None for a copy without alarms.

    `rollback_alarm_names` are of what customers feel. `watch` the services once they run: before, they would
    be missed. After that `dashboard` is an address, or says that there is none.
    """

    topic: AlarmTopic | None
    rollback_alarm_names: list[pulumi.Output[str]]
    dashboard: pulumi.Input[str]

    def __init__(
        self, name: str, settings: Settings, parts: Parts, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:observability:Observability", name, None, opts)
        self._base = name
        self._settings = settings
        self._parts = parts
        self._inside = pulumi.ResourceOptions(parent=self)
        wanted = settings.observability
        self.topic = (
            AlarmTopic(name, settings.region, wanted.alarm_email, self._inside) if wanted.alarms else None
        )
        self._alarm_arns: list[pulumi.Output[str]] = []
        self.rollback_alarm_names = self._alarm(
            "customer-alarms", customer_alarms(parts.balancer, parts.stack), []
        )
        self.dashboard = dashboard.NONE
        self.register_outputs({"topicArn": self.topic.arn if self.topic else None})

    def watch(self, api: Watched, loader: Watched, services: Sequence[pulumi.Resource]) -> None:
        parts, settings = self._parts, self._settings
        causes = [
            *balancer_alarms(parts.balancer, sleeps=settings.awake is not None),
            *service_alarms(parts.cluster, api),
            *service_alarms(parts.cluster, loader),
            *queue_alarms(parts.storage),
            *batch_alarms(parts.stack),
            *database_alarms(parts.database, settings.database),
        ]
        self._alarm("cause-alarms", causes, services)
        if settings.observability.dashboard:
            page = Page(self._text(), self._alarm_arns, self._sections(api, loader))
            self.dashboard = Dashboard(self._base, settings.region, page, self._inside).address

    def _alarm(
        self, kind: str, alarms: Iterable[Alarm], after: Sequence[pulumi.Resource]
    ) -> list[pulumi.Output[str]]:
        if self.topic is None:
            return []
        if self._settings.awake:
            # It is stopped with the rest, and measured always but then.
            server = self._parts.database.server_identifiers[0]
            alarms = only_awake(alarms, of_server(server, "CPUUtilization"))
        declared = Alarms(self._base, kind, alarms, self.topic, after, self._inside)
        self._alarm_arns += declared.arns
        return declared.names

    def _sections(self, api: Watched, loader: Watched) -> list[dashboard.Section]:
        parts = self._parts
        return [
            dashboard.customer_section(parts.balancer, parts.stack),
            dashboard.api_section(parts.balancer, parts.cluster, api),
            dashboard.loader_section(parts.storage, parts.cluster, loader),
            dashboard.batch_section(parts.stack),
            *dashboard.database_sections(
                parts.database, on_disk=isinstance(self._settings.database.size, InstanceSize)
            ),
        ]

    def _text(self) -> str:
        settings = self._settings
        kind = "Serves customers." if settings.production else "Serves no customers."
        awake = settings.awake
        sleep = (
            f" Awake from Monday to Friday, {awake.start:02} to {awake.end:02} h in {awake.time_zone}."
            if awake
            else ""
        )
        return (
            f"# {self._base}\n{kind}{sleep} {settings.owner} answers for it. "
            "What to do: docs/runbook.md; how big it is: docs/stacks.md. Each point is a minute."
        )
