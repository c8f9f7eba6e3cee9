"""Logs that end some day, and alarms that somebody or something hears."""

from collections.abc import Iterator

from infra.policy_pack.containers import SERVICE
from infra.policy_pack.rule import Declared, Stack, about, about_stack

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
ALARMS = ("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/compositeAlarm:CompositeAlarm")


@about(
    "log-ends",
    "Without a retention CloudWatch keeps a log for ever, and what it says of people with it.",
    LOG_GROUP,
)
def log_ends(group: Declared) -> Iterator[str]:
    if not group.inputs.get("retentionInDays"):
        yield "found no retentionInDays: allowed are the numbers of days that CloudWatch offers"


@about(
    "log-is-encrypted-with-a-key-of-ours",
    "What programs say has data in it.",
    LOG_GROUP,
)
def log_is_encrypted(group: Declared) -> Iterator[str]:
    if not group.inputs.get("kmsKeyId"):
        yield "found no kmsKeyId: allowed is a key in KMS of our own"


@about_stack("alarm-acts", "An alarm that tells nobody is one that nobody hears.")
def alarm_acts(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for alarm in stack.all(*ALARMS):
        # By its name ECS asks for it, and rolls a deploy back.
        if stack.pointing(SERVICE, "alarms", alarm):
            continue
        if not alarm.inputs.get("alarmActions") or alarm.inputs.get("actionsEnabled") is False:
            yield alarm, "found no alarmActions, or none enabled: allowed is one that tells or does something"
