"""`python -m delivery.verify OUTPUTS`: is what was deployed what runs? The last step of a deploy.

OUTPUTS is the file that `pulumi stack output --json` wrote. A rollout that ECS's circuit breaker or an alarm
rolled back ends as steady as one that worked, and Pulumi reports success for both (pulumi-aws#4487): only
the task definition of the primary deployment tells which it was.

Exit codes: 0 it runs; 1 it does not; 2 the outputs cannot be used; 3 it cannot be known, since AWS does not
answer or the rollout takes longer than --wait-s.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

OUTPUTS = ("apiService", "loaderService")
DONE, NOT_RUNNING, UNUSABLE, UNKNOWN = 0, 1, 2, 3
# Pulumi has waited for a steady service already; ECS says COMPLETED up to a minute later.
WAIT_S = 600
POLL_S = 10


class VerifyError(Exception):
    """What a person has to know, and the exit code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Deployed:
    """A service as the stack exports it: what it should be running."""

    cluster: str
    service: str
    task_definition: str

    @property
    def name(self) -> str:
        return self.service.rpartition("/")[2]


def read_outputs(file: Path) -> list[Deployed]:
    """Raises VerifyError that names every output that is missing."""
    try:
        outputs = json.loads(file.read_text())
        missing = [name for name in OUTPUTS if not outputs.get(name)]
        if missing:
            raise VerifyError(UNUSABLE, f"the stack exports no {' and no '.join(missing)}")
        found = [outputs[name] for name in OUTPUTS]
        return [Deployed(each["cluster"], each["service"], each["taskDefinition"]) for each in found]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise VerifyError(UNUSABLE, f"{file} cannot be used as the outputs of a stack: {error!r}") from error


def verify(ecs: Any, deployed: Deployed, deadline: float, poll_s: float = POLL_S) -> str:
    """Waits while the right rollout is under way. Returns what runs; raises VerifyError."""
    while True:
        primary = primary_deployment(ecs, deployed)
        running, state = primary["taskDefinition"], primary.get("rolloutState")
        if running != deployed.task_definition:
            instead = f"it runs {short(running)}, not {short(deployed.task_definition)}"
            raise VerifyError(NOT_RUNNING, f"{deployed.name} was rolled back: {instead}; its events say why")
        if state == "COMPLETED":
            return f"{deployed.name} runs {short(running)}"
        if state == "FAILED":
            reason = primary.get("rolloutStateReason", "ECS gives no reason")
            raise VerifyError(NOT_RUNNING, f"the rollout of {deployed.name} failed: {reason}")
        if time.monotonic() >= deadline:
            raise VerifyError(UNKNOWN, f"the rollout of {deployed.name} has not ended: it is {state} still")
        time.sleep(poll_s)


def primary_deployment(ecs: Any, deployed: Deployed) -> dict[str, Any]:
    try:
        answer = ecs.describe_services(cluster=deployed.cluster, services=[deployed.service])
    except (BotoCoreError, ClientError) as error:
        raise VerifyError(UNKNOWN, f"ECS does not say what {deployed.name} runs: {error}") from error
    # A deleted service stays visible as INACTIVE for a while.
    active = [service for service in answer["services"] if service["status"] == "ACTIVE"]
    for deployment in active[0]["deployments"] if active else []:
        if deployment["status"] == "PRIMARY":
            return deployment
    raise VerifyError(NOT_RUNNING, f"there is no service {deployed.name} in {short(deployed.cluster)}")


def short(arn: str) -> str:
    return arn.rpartition("/")[2]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m delivery.verify", description=__doc__.partition("\n")[0])
    parser.add_argument("outputs", type=Path, help="what `pulumi stack output --json` wrote")
    parser.add_argument("--wait-s", type=float, default=WAIT_S, help="for a rollout to end (%(default)s)")
    options = parser.parse_args(arguments)
    worst = DONE
    try:
        services = read_outputs(options.outputs)
        ecs = boto3.client("ecs")
    except VerifyError as error:
        return report(error)
    except BotoCoreError as error:
        return report(VerifyError(UNKNOWN, f"ECS cannot be asked: {error}"))
    deadline = time.monotonic() + options.wait_s
    for deployed in services:
        try:
            sys.stdout.write(f"{verify(ecs, deployed, deadline)}\n")
        except VerifyError as error:
            worst = worst or report(error)
    return worst


def report(error: VerifyError) -> int:
    sys.stderr.write(f"{error}\n")
    return error.code


if __name__ == "__main__":
    sys.exit(main())
