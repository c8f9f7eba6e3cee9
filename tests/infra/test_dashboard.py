"""The dashboard: a body that CloudWatch takes, of what is declared, with all that an alarm watches."""

import itertools
import json
from typing import Any

import pytest

from infra.dashboard import NONE
from stacks.mock_engine import AURORA, NO_IMAGES, PLACE, Run, declared, run_stack
from tests.infra.test_alarms import alarms, known_names, metrics

AURORA_PROD = AURORA | {"databaseAcusMin": "2", "databaseReaders": "2"}
# The dimensions that AWS has for what we look at.
DIMENSIONS = {
    "AWS/ApplicationELB": [{"LoadBalancer"}, {"LoadBalancer", "TargetGroup"}],
    "AWS/ECS": [{"ClusterName", "ServiceName"}],
    "ECS/ContainerInsights": [{"ClusterName", "ServiceName"}],
    "AWS/RDS": [{"DBInstanceIdentifier"}],
    "AWS/SQS": [{"QueueName"}],
    "rates": [{"service", "stack"}],
}


@pytest.fixture(params=["prod", "staging", "aurora", "plain"], scope="module")
def run(request: pytest.FixtureRequest) -> Run:
    match request.param:
        case "aurora":
            return run_stack("prod", changes=AURORA_PROD)
        case "plain":
            return run_stack("dev", changes={"dashboard": "true"})
        case stack:
            return declared(stack)


def widgets(run: Run) -> list[dict[str, Any]]:
    return json.loads(run.one("cloudwatch/dashboard:Dashboard").inputs["dashboardBody"])["widgets"]


def graphs(run: Run) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in widgets(run) if widget["type"] == "metric"]


def shown(run: Run) -> list[tuple[str, str, dict[str, str]]]:
    """Namespace, metric and dimensions of every line."""
    lines = [line[:-1] for graph in graphs(run) for line in graph["metrics"] if len(line) > 1]
    return [(line[0], line[1], dict(zip(line[2::2], line[3::2], strict=True))) for line in lines]


def cells(widget: dict[str, Any]) -> set[tuple[int, int]]:
    columns = range(widget["x"], widget["x"] + widget["width"])
    return set(itertools.product(columns, range(widget["y"], widget["y"] + widget["height"])))


def test_no_widget_lies_on_another_or_beside_the_page(run: Run) -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets(run):
        assert cells(widget)
        assert taken.isdisjoint(cells(widget)), widget["properties"]
        taken |= cells(widget)
    assert {x for x, _y in taken} == set(range(24))
    assert len(widgets(run)) <= 500, "the most that CloudWatch takes"


def test_widgets_are_of_kinds_that_cloudwatch_knows_and_have_what_it_wants(run: Run) -> None:
    needed = {"text": {"markdown"}, "alarm": {"alarms", "title"}, "metric": {"metrics", "region", "title"}}

    for widget in widgets(run):
        assert widget.keys() == {"type", "x", "y", "width", "height", "properties"}
        assert needed[widget["type"]] <= widget["properties"].keys()


def test_every_graph_is_of_the_stacks_region_and_of_minutes(run: Run) -> None:
    for graph in graphs(run):
        assert (graph["region"], graph["period"], graph["view"]) == ("eu-west-1", 60, "timeSeries")
        assert graph["metrics"]


def test_every_line_is_well_formed_and_of_something_that_is_declared(run: Run) -> None:
    names = known_names(run)

    for graph in graphs(run):
        assert any("expression" in line[-1] or "label" in line[-1] for line in graph["metrics"])
        for *_metric, how in graph["metrics"]:
            assert isinstance(how, dict)
    for namespace, _metric, dimensions in shown(run):
        assert dimensions.keys() in DIMENSIONS[namespace]
        for dimension, value in dimensions.items():
            assert value in names[dimension]


def test_a_calculated_line_has_its_parts_and_they_are_not_drawn(run: Run) -> None:
    calculated = [
        graph for graph in graphs(run) if any("expression" in line[-1] for line in graph["metrics"])
    ]

    assert len(calculated) == 2
    for graph in calculated:
        *parts, line = graph["metrics"]
        assert {part[-1]["id"] for part in parts} == {"requests", "errors"}
        assert [part[-1]["visible"] for part in parts] == [False, False]
        assert "requests" in line[0]["expression"]


def test_lines_of_a_graph_are_told_apart(run: Run) -> None:
    for graph in graphs(run):
        labels = [line[-1].get("label") or line[-1]["id"] for line in graph["metrics"]]
        assert len(labels) == len(set(labels))


@pytest.mark.parametrize("changes", [{}, AURORA_PROD])
def test_whatever_an_alarm_watches_is_on_it(changes: dict[str, str]) -> None:
    run = run_stack("prod", changes=changes)

    for name, alarm in alarms(run).items():
        for metric in metrics(alarm).values():
            assert (metric["namespace"], metric["metricName"], metric["dimensions"]) in shown(run), name


def test_it_shows_the_state_of_every_alarm_where_there_are_some() -> None:
    run = declared("prod")
    (status,) = [widget for widget in widgets(run) if widget["type"] == "alarm"]

    assert sorted(status["properties"]["alarms"]) == sorted(
        f"arn:aws:cloudwatch:{PLACE}:rates-prod-{name}" for name in alarms(run)
    )
    bare = run_stack("dev", changes={"dashboard": "true"})
    assert [widget for widget in widgets(bare) if widget["type"] == "alarm"] == []


def test_it_says_whose_copy_it_is() -> None:
    prod, dev = declared("prod"), run_stack("dev", changes={"dashboard": "true", "owner": "anna"})

    assert widgets(prod)[0]["properties"]["markdown"].startswith(
        "# rates-prod\nServes customers. rates answers for it."
    )
    assert widgets(dev)[0]["properties"]["markdown"].startswith(
        "# rates-dev\nServes no customers. Awake from Monday to Friday, 06 to 20 h in UTC. anna answers"
    )


def test_its_address_is_an_output_or_a_sentence_that_says_what_makes_one() -> None:
    assert declared("prod").exports["dashboard"].endswith("region=eu-west-1#dashboards/dashboard/rates-prod")
    assert declared("dev").exports["dashboard"] == NONE
    assert run_stack("prod", changes=NO_IMAGES).exports["dashboard"] == NONE
