"""One page that shows how a copy is: what customers see, tasks, queue, batches, down to the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.cluster import Cluster
from infra.database import Database
from infra.load_balancer import LoadBalancer
from infra.metrics import (
    API,
    LOADER,
    PERIOD_S,
    Metric,
    numbered,
    of_balancer,
    of_program,
    of_queue,
    of_server,
    of_service,
    of_targets,
    of_tasks,
)
from infra.service_alarms import API_ERRORS_PERCENT, BALANCER_ERRORS_PERCENT, Watched
from infra.storage import BatchStorage

# CloudWatch's grid.
COLUMNS = 24
GRAPH_ROWS, TITLE_ROWS, TEXT_ROWS, ALARM_ROWS = 6, 1, 3, 3
# Of a batch, by what a loader calls their figures; checking and writing are of each chunk.
STAGES = {
    "plan": "plan",
    "check a chunk": "chunk_check",
    "write a chunk": "chunk_write",
    "publish": "publish",
    "load it all": "batch",
}
NONE = "none: the setting `dashboard` makes one, once there are services"


@dataclass(frozen=True)
class Graph:
    """Lines by their labels. Of those `calculated` by an expression, `metrics` are the parts by their ids."""

    title: str
    metrics: Mapping[str, Metric]
    calculated: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    title: str
    graphs: Sequence[Graph]


@dataclass(frozen=True)
class Page:
    """What stands above all: whose copy it is; and its alarms, if it has some."""

    text: str
    alarm_arns: Sequence[pulumi.Output[str]]
    sections: Sequence[Section]


class Dashboard(pulumi.ComponentResource):
    address: pulumi.Output[str]

    def __init__(
        self, name: str, region: str, page: Page, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:dashboard:Dashboard", name, None, opts)
        dashboard = aws.cloudwatch.Dashboard(
            name,
            dashboard_name=name,
            dashboard_body=pulumi.Output.json_dumps({"widgets": widgets(page, region)}),
            opts=pulumi.ResourceOptions(parent=self),
        )
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        self.address = pulumi.Output.concat(console, "#dashboards/dashboard/", dashboard.dashboard_name)
        self.register_outputs({"address": self.address})


def customer_section(balancer: LoadBalancer, stack: str) -> Section:
    requests = of_balancer(balancer, "RequestCount", "Sum")
    failed = of_balancer(balancer, "HTTPCode_Target_5XX_Count", "Sum")
    unanswered = of_balancer(balancer, "HTTPCode_ELB_5XX_Count", "Sum")
    times = {stat: of_balancer(balancer, "TargetResponseTime", stat) for stat in ("p50", "p99")}
    return Section(
        "What customers see",
        [
            Graph(
                "Requests a minute",
                {
                    "all": requests,
                    "with a file or waiting": of_program(API, stack, "long_requests"),
                    "turned away": of_program(API, stack, "requests_shed"),
                },
            ),
            Graph(
                "Faults of tasks, %",
                {"requests": requests, "errors": failed},
                {"of the tasks": API_ERRORS_PERCENT},
            ),
            Graph(
                "Requests that reach no task, %",
                {"requests": requests, "errors": unanswered},
                {"of the load balancer": BALANCER_ERRORS_PERCENT},
            ),
            Graph("Time of an answer, s", times),
        ],
    )


def api_section(balancer: LoadBalancer, cluster: Cluster, api: Watched) -> Section:
    targets = {
        **numbered("healthy ", of_targets(balancer, "HealthyHostCount", "Maximum")),
        **numbered("not healthy ", of_targets(balancer, "UnHealthyHostCount", "Maximum")),
    }
    return Section(
        "Tasks of the API",
        [Graph("At the load balancer", targets), *task_graphs(cluster, api)],
    )


def loader_section(storage: BatchStorage, cluster: Cluster, loader: Watched) -> Section:
    backlog = {
        "waiting": of_queue(storage.queue_name, "ApproximateNumberOfMessagesVisible"),
        "in hand": of_queue(storage.queue_name, "ApproximateNumberOfMessagesNotVisible"),
        "dead letters": of_queue(storage.dead_letter_queue_name, "ApproximateNumberOfMessagesVisible"),
    }
    ages = {
        "message": of_queue(storage.queue_name, "ApproximateAgeOfOldestMessage"),
        "dead letter": of_queue(storage.dead_letter_queue_name, "ApproximateAgeOfOldestMessage"),
    }
    return Section(
        "Queue and loaders",
        [Graph("Messages", backlog), Graph("Oldest, s", ages), *task_graphs(cluster, loader)],
    )


def batch_section(stack: str) -> Section:
    """What the programs count of batches, from their coming to their end."""
    ends = ("published", "rejected", "failed", "late")
    batches = {
        "accepted": of_program(API, stack, "batches_accepted"),
        "accepted past the API": of_program(LOADER, stack, "batches_accepted"),
        **{end: of_program(LOADER, stack, f"batches_{end}") for end in ends},
    }
    stages = {
        "to accept": of_program(API, stack, "accept_seconds", "Average"),
        **{
            f"to {what}": of_program(LOADER, stack, f"{stage}_seconds", "Average")
            for what, stage in STAGES.items()
        },
    }
    return Section(
        "Batches",
        [
            Graph("Batches a minute", batches),
            Graph("Rows of chunks a minute", {"rows": of_program(LOADER, stack, "chunk_rows")}),
            Graph("Seconds a stage", stages),
            Graph(
                "Callbacks a minute",
                {end: of_program(LOADER, stack, f"callbacks_{end}") for end in ("told", "given_up")},
            ),
        ],
    )


def task_graphs(cluster: Cluster, service: Watched) -> list[Graph]:
    used = {
        "processor": of_service(cluster, service.name, "CPUUtilization", "Average"),
        "memory": of_service(cluster, service.name, "MemoryUtilization", "Average"),
    }
    if not cluster.insights:
        return [Graph(f"In use by the {service.what}, %", used)]
    counts = {
        "run": of_tasks(cluster, service.name, "RunningTaskCount"),
        "should run": of_tasks(cluster, service.name, "DesiredTaskCount"),
    }
    return [Graph(f"Tasks of the {service.what}", counts), Graph(f"In use by the {service.what}, %", used)]


def database_sections(database: Database, on_disk: bool) -> list[Section]:
    """A line for each server. `on_disk` is an instance, whose storage can get full."""
    first = {
        "Processor, %": "CPUUtilization",
        **({"Load for each processor": "DBLoadRelativeToNumVCPUs"} if database.insights else {}),
        "Connections": "DatabaseConnections",
        "Free memory, bytes": "FreeableMemory",
    }
    second = {
        "To write, s": "WriteLatency",
        "To read, s": "ReadLatency",
        **({"Free storage, bytes": "FreeStorageSpace"} if on_disk else {}),
        **({"Behind the writer, ms": "AuroraReplicaLag"} if len(database.server_identifiers) > 1 else {}),
    }
    operations = {
        f"{what} {number}": of_server(server, metric)
        for number, server in enumerate(database.server_identifiers, start=1)
        for what, metric in (("writes", "WriteIOPS"), ("reads", "ReadIOPS"))
    }
    return [
        Section("Database", [server_graph(title, metric, database) for title, metric in first.items()]),
        Section(
            "Disk of the database",
            [
                *[server_graph(title, metric, database) for title, metric in second.items()],
                Graph("Operations a second", operations),
            ],
        ),
    ]


def server_graph(title: str, metric: str, database: Database) -> Graph:
    return Graph(
        title,
        {
            f"server {number}": of_server(server, metric)
            for number, server in enumerate(database.server_identifiers, start=1)
        },
    )


def widgets(page: Page, region: str) -> list[dict[str, Any]]:
    """Sections below each other, each as wide as the page."""
    placed = [place("text", 0, 0, COLUMNS, TEXT_ROWS, {"markdown": page.text})]
    top = TEXT_ROWS
    if page.alarm_arns:
        alarms = {"title": "Alarms", "alarms": list(page.alarm_arns)}
        placed.append(place("alarm", 0, top, COLUMNS, ALARM_ROWS, alarms))
        top += ALARM_ROWS
    for section in page.sections:
        title = {"markdown": f"## {section.title}"}
        placed.append(place("text", 0, top, COLUMNS, TITLE_ROWS, title))
        top += TITLE_ROWS
        width = COLUMNS // len(section.graphs)
        for number, graph in enumerate(section.graphs):
            shown = drawn(graph, region)
            placed.append(place("metric", number * width, top, width, GRAPH_ROWS, shown))
        top += GRAPH_ROWS
    return placed


def place(kind: str, x: int, y: int, width: int, height: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}


def drawn(graph: Graph, region: str) -> dict[str, Any]:
    """A metric is `[namespace, name, dimension, value, …, {how}]`, an expression `[{how}]`."""
    lines: list[list[Any]] = [
        [
            metric.namespace,
            metric.name,
            *[part for dimension in metric.dimensions.items() for part in dimension],
            {"stat": metric.stat} | ({"id": name, "visible": False} if graph.calculated else {"label": name}),
        ]
        for name, metric in graph.metrics.items()
    ]
    lines += [
        [{"expression": expression, "label": label, "id": f"line{number}"}]
        for number, (label, expression) in enumerate(graph.calculated.items())
    ]
    return {
        "title": graph.title,
        "view": "timeSeries",
        "stacked": False,
        "region": region,
        "period": PERIOD_S,
        # Nothing that is counted here is below.
        "yAxis": {"left": {"min": 0}},
        "metrics": lines,
    }
