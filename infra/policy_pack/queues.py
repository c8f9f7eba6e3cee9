"""Queues: nothing travels in the clear, and what fails for good is kept where somebody sees it."""

from collections.abc import Iterator

from infra.policy_pack.rights import denies_without_tls
from infra.policy_pack.rule import Declared, Stack, about_stack, dig, parse

QUEUE = "aws:sqs/queue:Queue"
POLICY = "aws:sqs/queuePolicy:QueuePolicy"
REDRIVE = "aws:sqs/redrivePolicy:RedrivePolicy"
ALLOW_REDRIVE = "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy"
SCHEDULE = "aws:scheduler/schedule:Schedule"


@about_stack(
    "queue-takes-tls-only",
    "SQS answers plain HTTP as well, unless the queue's policy refuses it.",
)
def queue_takes_tls_only(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for queue in stack.all(QUEUE):
        policies = stack.pointing(POLICY, "queueUrl", queue)
        documents = [parse(each.inputs.get("policy")) for each in policies]
        if not policies or not all(each is None or denies_without_tls(each, "sqs:*") for each in documents):
            yield queue, "found no policy that denies sqs:* without TLS (aws:SecureTransport): allowed is one"


@about_stack(
    "queue-has-dead-letters",
    "A message that always fails would come back for days, and then be gone without a trace.",
)
def queue_has_dead_letters(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for queue in stack.all(QUEUE):
        redriven = queue.inputs.get("redrivePolicy") or stack.pointing(REDRIVE, "queueUrl", queue)
        if not redriven and not takes_dead_letters(stack, queue):
            yield queue, "found no RedrivePolicy: allowed is one, or a queue of dead letters itself"


def takes_dead_letters(stack: Stack, queue: Declared) -> bool:
    schedules = stack.pointing(SCHEDULE, "target", queue)
    return bool(
        stack.pointing(ALLOW_REDRIVE, "queueUrl", queue)
        or stack.pointing(REDRIVE, "redrivePolicy", queue)
        or [each for each in schedules if dig(each.inputs, "target.deadLetterConfig")]
    )
