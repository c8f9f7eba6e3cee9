"""What a stack tells of itself, and to whom."""

import re
from dataclasses import dataclass

from infra.settings.reader import Reader

# Periods that CloudWatch Logs offers.
LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)
EMAIL = re.compile(r"[^@\s]{1,64}@[a-z0-9.-]+\.[a-z]{2,}")


@dataclass(frozen=True)
class ObservabilitySettings:
    dashboard: bool
    alarms: bool
    alarm_email: str | None
    container_insights: bool  # running tasks, and CPU and memory of each


def read_observability(reader: Reader, production: bool) -> ObservabilitySettings:
    settings = ObservabilitySettings(
        dashboard=reader.flag("dashboard"),
        alarms=reader.flag("alarms"),
        alarm_email=reader.text_if_set("alarmEmail", EMAIL, "an address such as oncall@example.com"),
        container_insights=reader.flag("containerInsights"),
    )
    reason = "alarms is false, so nobody would ever write to it"
    reader.demand("alarmEmail", settings.alarms or settings.alarm_email is None, reason)
    if production:
        reader.demand("alarms", settings.alarms, "production needs them, or customers notice first")
        reader.demand(
            "alarmEmail", settings.alarm_email is not None, "production needs it, or nobody reads alarms"
        )
        reader.demand("containerInsights", settings.container_insights, "production needs it, to count tasks")
    return settings
