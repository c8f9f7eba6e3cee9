"""Containers of ECS, and what they and builds find in their environment."""

import re
from collections.abc import Iterator
from typing import Any

from infra.policy_pack.rule import UNKNOWN, Declared, about, dig, in_production, parse

DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
BUILD = "aws:codebuild/project:Project"
DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
ROOTS = re.compile(r"(0|root)?(:.*)?")
SECRET = re.compile(r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(PRIVATE|API|ACCESS)_?KEY", re.IGNORECASE)
# By these a secret is found, and still needs a right to be read.
POINTERS = re.compile(r"_(ARN|ID|NAME|URL|PATH)$", re.IGNORECASE)
POINTER = re.compile(r"arn:aws:secretsmanager:.+")
SCRATCH = "/tmp"  # noqa: S108  # of a container, where there is one user


def containers(definition: Declared) -> list[dict[str, Any]]:
    return parse(definition.inputs.get("containerDefinitions")) or []


@about("image-by-digest", "A tag can be pushed anew; a digest is the image that was tested.", DEFINITION)
def image_by_digest(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        if not DIGEST.fullmatch(container.get("image", "")):
            yield f"found image {container.get('image')}: allowed is one by its digest, …@sha256:…"


@about(
    "file-system-is-read-only",
    "Who breaks into a program cannot leave another one behind where nothing can be written.",
    DEFINITION,
)
def file_system_is_read_only(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        found = container.get("readonlyRootFilesystem", False)
        if found is not True:
            yield f"found readonlyRootFilesystem {found} in {container.get('name')}: allowed is true"


@about(
    "only-scratch-is-written",
    "What a container may write besides is one more place to leave a program in.",
    DEFINITION,
)
def only_scratch_is_written(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        for mounted in container.get("mountPoints", []):
            path = mounted.get("containerPath")
            if path != SCRATCH and mounted.get("readOnly") is not True:
                yield f"found {path} mounted to be written in {container.get('name')}: allowed is {SCRATCH}"


@about("nobody-is-root", "Root in a container is one fault of the kernel away from the host.", DEFINITION)
def nobody_is_root(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        user = str(container.get("user", ""))
        if ROOTS.fullmatch(user):
            yield f"found user {user or 'not set'} in {container.get('name')}: allowed is any but root"


@about(
    "no-rights-of-the-kernel",
    "The programs need no right of the kernel, and what is not there cannot be abused.",
    DEFINITION,
)
def no_rights_of_the_kernel(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        if container.get("privileged"):
            yield f"found privileged in {container.get('name')}: allowed is none"
        if dig(container, "linuxParameters.capabilities.drop") != ["ALL"]:
            yield f"found capabilities kept in {container.get('name')}: allowed is to drop ALL"
        if added := dig(container, "linuxParameters.capabilities.add"):
            yield f"found capabilities {', '.join(added)} in {container.get('name')}: allowed is none"


@about(
    "no-secret-in-an-environment",
    "Whoever may look at a task or a build reads its environment; a secret stands in Secrets Manager.",
    DEFINITION,
    BUILD,
)
def no_secret_in_an_environment(resource: Declared) -> Iterator[str]:
    variables = [each for container in containers(resource) for each in container.get("environment", [])]
    variables += [
        each
        for each in dig(resource.inputs, "environment.environmentVariables")
        if each.get("type", "PLAINTEXT") == "PLAINTEXT"
    ]
    for variable in variables:
        name, value = variable.get("name", ""), variable.get("value")
        pointer = POINTERS.search(name) or POINTER.fullmatch(value or "")
        if SECRET.search(name) and value and not pointer:
            yield f"found {name} with a value: allowed is a reference to a secret"


@about("containers-log", "What a container says is lost with it, unless it has a log.", DEFINITION)
def containers_log(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        if not dig(container, "logConfiguration.logDriver"):
            yield f"found no logConfiguration in {container.get('name')}: allowed is one"


@about(
    "database-is-verified",
    "Without a check of its certificate, whoever sits between could answer as the database.",
    DEFINITION,
)
def database_is_verified(definition: Declared) -> Iterator[str]:
    for container in containers(definition):
        values = {each.get("name"): each.get("value") for each in container.get("environment", [])}
        if "PGHOST" in values and values.get("PGSSLMODE") not in ("verify-full", UNKNOWN):
            yield f"found PGSSLMODE {values.get('PGSSLMODE', 'not set')}: allowed is verify-full"
        elif "PGHOST" in values and not values.get("PGSSLROOTCERT"):
            yield "found PGSSLROOTCERT not set: allowed is the file of RDS's certificates"


@about(
    "no-shell-in-production",
    "A shell in a running task changes what nobody reviewed and reads what customers sent.",
    SERVICE,
)
def no_shell_in_production(service: Declared) -> Iterator[str]:
    if in_production() and service.inputs.get("enableExecuteCommand"):
        yield "found enableExecuteCommand: allowed is false in production"
