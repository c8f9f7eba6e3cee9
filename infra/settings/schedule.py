"""When a stack is awake, and when it may be taken down for good."""

import datetime
import re
from dataclasses import dataclass

from infra.settings.reader import Reader

HOURS = re.compile(r"(?P<start>[01]\d|2[0-3])-(?P<end>[01]\d|2[0-3])")
ZONE = re.compile(r"UTC|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_+-]+){1,2}")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class AwakeHours:
    """From Monday to Friday, by the clock of a time zone; asleep, database and tasks are stopped."""

    start: int
    end: int
    time_zone: str


def read_awake_hours(reader: Reader, production: bool) -> AwakeHours | None:
    value = reader.text_if_set("awakeHours", HOURS, "hours of a day, such as 07-20")
    time_zone = reader.text("timeZone", ZONE, "one of the tz database, such as Europe/Paris")
    match = HOURS.fullmatch(value or "")
    if match is None:
        return None
    start, end = int(match["start"]), int(match["end"])
    reader.demand("awakeHours", start < end, "the day has to end after it starts")
    reader.demand("awakeHours", not production, "production never sleeps")
    return AwakeHours(start, end, time_zone)


def read_expiry(reader: Reader, production: bool) -> datetime.date | None:
    """The last day of a copy; None for a stack that stays."""
    value = reader.text_if_set("expires", DAY, "a day such as 2030-01-31")
    if value is None or "expires" in reader.faults:
        return None
    reader.demand("expires", not production, "production stays")
    try:
        return datetime.date.fromisoformat(value)
    except ValueError:
        reader.demand("expires", False, "there is no such day")
        return None
