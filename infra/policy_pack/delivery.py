"""Builds: what they make is encrypted, and what they say lies where we keep logs."""

from collections.abc import Iterator

from infra.policy_pack.containers import BUILD
from infra.policy_pack.rule import Declared, about, dig

# Each says for one place whether it is left in the clear.
IN_THE_CLEAR = (
    "artifacts.encryptionDisabled",
    "secondaryArtifacts.encryptionDisabled",
    "logsConfig.s3Logs.encryptionDisabled",
)


@about(
    "build-leaves-nothing-in-the-clear",
    "What is built runs in production, and whoever could change or read it on its way could do anything.",
    BUILD,
)
def build_leaves_nothing_in_the_clear(build: Declared) -> Iterator[str]:
    for path in IN_THE_CLEAR:
        if True in dig(build.inputs, path):
            yield f"found {path} true: allowed is false"


@about(
    "build-logs-to-a-group-of-ours",
    "CodeBuild makes a log group of its own, without an end or a key, where it is given none.",
    BUILD,
)
def build_logs_to_a_group_of_ours(build: Declared) -> Iterator[str]:
    if not dig(build.inputs, "logsConfig.cloudwatchLogs.groupName"):
        yield "found no logsConfig.cloudwatchLogs.groupName: allowed is a log group of the stack"
