"""What the months are like that `stacks.cost` reckons with, an idle and a busy one, and why.

What does not follow from the declared sizes stands here and nowhere else; docs/costs.md has it in sentences.
"""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stacks.mock_engine import PROJECT

# As AWS reckons: a year has 8,760.
HOURS = 730
WEEKDAYS = 5 * 365 / 7 / 12
# Bursts: about three hours of each working day.
BUSY_HOURS = 60
# An answer of a month of days, with its headers.
ANSWER_KB = 1.5
# Clients keep connections; a load balancer's unit is 1 GB an hour, 25 new ones a second or 1,000 rules.
REQUESTS_PER_CONNECTION = 20
LCU_GB = 1
LCU_CONNECTIONS_PER_S = 25
# More would fill a database within a year.
BATCHES_SHARE = 0.1
# Where Aurora takes as much as it needs.
AURORA_GIB = 20
AURORA_IO_MILLIONS_PER_GIB = 5
# How full a database is, and how much of it a day's backup adds; below its declared size backups are free.
FULL_SHARE = 0.5
BACKUP_SHARE_A_DAY = 0.03
# Tokens, metrics, polls. Batches and images' layers pass S3's endpoint at no charge.
NAT_GB_PER_TASK = 1
# Neither program logs requests; errors, and what becomes of batches, are what there is.
LOG_GB_IDLE = 0.1
LOG_GB_BUSY = 1
# The noise of the internet at the public addresses of a zone: only what is refused is kept.
FLOW_LOG_GB_PER_ZONE = 0.2
LOG_COMPRESSED = 0.15
# A line of the load balancer's record, compressed.
ACCESS_LOG_GB_PER_MILLION = 0.1
IMAGES_GB = 1
OTHER_BUCKET_GB = 1
# Of a task's disk; and spare capacity has no discount on the rest.
DISK_GIB_FREE = 20
# Polls of 2 s, one after the other, so that a loader that is told to stop waits for no longer.
POLLS_PER_TASK_HOUR = 1800
# What the API and a loader count themselves, charged for the hours in which there are batches.
FIGURES_API = 5
FIGURES_LOADER = 14
# By AWS's documentation of Container Insights for ECS: a cluster's, a service's, a family of tasks', and with
# enhanced observability those of each task and its two containers.
INSIGHTS_CLUSTER = 8
INSIGHTS_SERVICE = 11
INSIGHTS_FAMILY = 6
INSIGHTS_TASK = 28
INSIGHTS_LOG_GB_PER_TASK = 0.1
# Code ships many times a day.
DEPLOYS = 200
BUILD_MINUTES = 6
ACTION_MINUTES = 6
NOTICES = 100

ASSUMPTIONS = (
    f"A month has {HOURS} hours. A stack with `awakeHours` runs its tasks and its database's server in those "
    "hours from Monday to Friday; its load balancer, addresses and storage are charged all the time.",
    "Idle: nobody asks, no batch comes, nobody deploys. Tasks and capacity are at their minimum.",
    f"Busy: {BUSY_HOURS} hours of bursts, about three each working day, in which services run halfway "
    "between their minimum and maximum, and each API task gets the requests at which more tasks would come.",
    f"An answer has {ANSWER_KB:g} KB; a connection carries {REQUESTS_PER_CONNECTION} requests.",
    f"A busy month's batches have {BATCHES_SHARE:.0%} of the declared size of the database "
    f"({AURORA_GIB} GiB where Aurora takes what it needs), and stay in the bucket as long as it keeps them.",
    f"A database is {FULL_SHARE:.0%} full, and a day's backup adds {BACKUP_SHARE_A_DAY:.0%} of that.",
    f"Through a NAT gateway go {NAT_GB_PER_TASK} GB a task and month, and what is logged.",
    f"A loader asks the queue {POLLS_PER_TASK_HOUR:,} times an hour. What the programs count of batches, "
    f"{FIGURES_API + FIGURES_LOADER} figures, is charged for the hours of bursts.",
    f"A log gets {LOG_GB_IDLE:g} GB in an idle month and {LOG_GB_BUSY:g} GB in a busy one, since no request "
    f"is logged; the log of refused connections {FLOW_LOG_GB_PER_ZONE:g} GB a zone; the load balancer's "
    f"record {ACCESS_LOG_GB_PER_MILLION:g} GB a million requests.",
    f"A repository of images holds {IMAGES_GB} GB, a bucket of other things {OTHER_BUCKET_GB} GB.",
    f"A busy month has {DEPLOYS} deploys, of {BUILD_MINUTES} minutes a build project and {ACTION_MINUTES} an "
    f"action of the pipeline; and {NOTICES} notices to people.",
)
NOT_COUNTED = (
    "Tax, support, AWS's free tiers, Savings Plans and reservations.",
    "What an account has once for all stacks: the domain's hosted zone, the bucket of Pulumi's state.",
    "Traffic between zones, requests to S3 and KMS, the second set of tasks during a deploy.",
)


@dataclass(frozen=True)
class Amount:
    """Of something, in each month."""

    idle: float
    busy: float

    def __mul__(self, factor: float) -> "Amount":
        return Amount(self.idle * factor, self.busy * factor)

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.idle + other.idle, self.busy + other.busy)


def always(amount: float) -> Amount:
    return Amount(amount, amount)


def when_busy(amount: float) -> Amount:
    return Amount(0, amount)


def awake_hours(config: Mapping[str, str]) -> float:
    """Of a month, by the setting; what it may be is the settings' to say."""
    match = re.fullmatch(r"(\d\d)-(\d\d)", config.get(f"{PROJECT}:awakeHours", ""))
    if match is None:
        return HOURS
    return (int(match[2]) - int(match[1])) * WEEKDAYS


def between(least: float, most: float, hours: float) -> Amount:
    """Hours of what runs `least` times, and in bursts halfway to `most`, while the stack is awake."""
    burst = min(BUSY_HOURS, hours)
    return Amount(least * hours, least * hours + (most - least) / 2 * burst)


def months_kept(days: float) -> float:
    return days * 12 / datetime.timedelta(days=365).days
