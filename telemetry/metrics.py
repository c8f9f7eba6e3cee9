"""Counts and times in CloudWatch's embedded metric format: a line of the log from which it takes figures.

The format is CloudWatch's "Specification: Embedded metric format"; nothing is sent, and a log without
CloudWatch has the same figures to read.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from telemetry.log import get_logger

NAMESPACE = "rates"
Unit = Literal["Count", "Seconds", "Bytes", "Count/Second", "None"]


def emit(event: str, figures: dict[str, tuple[float, Unit]], **properties: Any) -> None:
    """Logs `event` with its figures, each a metric `name: (value, unit)` of the service that logs it.

    `properties` are on the line beside them and make no metric of their own: ids, above all.
    """
    directive = {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": [["service", "stack"]],
                "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in figures.items()],
            }
        ],
    }
    values = {name: value for name, (value, _) in figures.items()}
    get_logger("rates.metrics").info(event, **properties, **values, _aws=directive)
