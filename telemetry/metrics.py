"""Counts and times in CloudWatch's embedded metric format: a line of the log from which it takes figures.

The format is CloudWatch's "Specification: Embedded metric format"; nothing is sent, and a log without
CloudWatch has the same figures to read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal, SupportsFloat

from telemetry.log import get_logger

NAMESPACE = "rates"
Unit = Literal["Count", "Seconds", "Bytes", "Count/Second", "None"]


def emit(event: str, figures: Mapping[str, tuple[SupportsFloat, Unit]], **properties: Any) -> None:
    """Logs `event` with its figures, each a metric `name: (value, unit)` of the service that logs it.

    `properties` are on the line beside them and make no metric of their own: ids, above all. A figure that is
    no number (of rows a second in no time) is left out.
    """
    values = {name: number(value) for name, (value, _) in figures.items()}
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    directive = {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["service", "stack"]],
                "Metrics": [{"Name": name, "Unit": figures[name][1]} for name in known],
            }
        ],
    }
    get_logger("rates.metrics").info(event, **properties, **known, _aws=directive)


def number(value: SupportsFloat) -> float:
    """As JSON has it: the database's decimals would become strings."""
    return value if type(value) is int else float(value)
