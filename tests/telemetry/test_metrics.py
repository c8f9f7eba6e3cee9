"""Figures as the "Specification: Embedded metric format" of CloudWatch has them, or it takes none out."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from telemetry.log import bound, get_logger
from telemetry.metrics import Unit, emit
from tests.telemetry.logged import BATCH, Lines

UNITS = {"Count", "Seconds", "Bytes", "Count/Second", "None"}


def assert_is_embedded_metric_format(line: dict[str, Any]) -> None:
    """By the specification's rules for a document, its metadata, directives and definitions."""
    assert line["_aws"].keys() == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(line["_aws"]["Timestamp"], int)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60, "milliseconds since 1970"
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 256
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 1024 for name in dimensions)
        assert len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert metric.keys() == {"Name", "Unit"}
            assert metric["Unit"] in UNITS
            assert 1 <= len(metric["Name"]) <= 1024
            assert type(line[metric["Name"]]) in (int, float)


def names_of(line: dict[str, Any]) -> list[str]:
    return [metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]


def test_figures_are_told_as_cloudwatch_reads_them(lines: Lines) -> None:
    with bound(batch=BATCH, chunk=3):
        emit(
            "chunk written",
            {"chunk_rows": (20, "Count"), "chunk_write_seconds": (0.25, "Seconds")},
            file="a.csv",
        )
    line = lines.only()
    assert_is_embedded_metric_format(line)
    assert names_of(line) == ["chunk_rows", "chunk_write_seconds"]
    assert (line["event"], line["chunk_rows"], line["chunk_write_seconds"]) == ("chunk written", 20, 0.25)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "stack"]]
    assert (line["batch"], line["chunk"], line["file"]) == (str(BATCH), "3", "a.csv")


def test_every_unit_is_one_that_cloudwatch_knows(lines: Lines) -> None:
    units: list[Unit] = ["Count", "Seconds", "Bytes", "Count/Second", "None"]
    emit("all", {f"figure_{number}": (number, unit) for number, unit in enumerate(units)})
    assert_is_embedded_metric_format(lines.only())


def test_a_figure_of_the_databases_is_a_number(lines: Lines) -> None:
    emit("measured", {"rows_per_second": (Decimal("12.5"), "Count/Second"), "late": (True, "Count")})
    assert_is_embedded_metric_format(lines.only())
    assert (lines.only()["rows_per_second"], lines.only()["late"]) == (12.5, 1.0)


def test_what_is_no_number_is_left_out(lines: Lines) -> None:
    emit("measured", {"rate": (float("inf"), "None"), "share": (float("nan"), "None"), "rows": (1, "Count")})
    assert_is_embedded_metric_format(lines.only())
    assert names_of(lines.only()) == ["rows"]
    assert not {"rate", "share"} & lines.only().keys()


def test_an_ordinary_event_makes_no_metric(lines: Lines) -> None:
    get_logger("rates.test").info("chunk read", rows=3)
    assert "_aws" not in lines.only()
