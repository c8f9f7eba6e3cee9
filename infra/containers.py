"""The containers of a task, as ECS takes them: the migration first, then the program.

No container is root or may write to its file system; one that unpacks files has a disk at /tmp. A password
stands in none: ECS puts the owner's into the migration from Secrets Manager, and the programs log in with IAM
tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from infra.database import Database
from infra.settings.images import Image

# User and group that the images make.
USER = "10001:10001"
# Where the images have RDS's certificates.
CERTIFICATES = "/etc/ssl/certs/rds.pem"
MIGRATION = "migrate"
# A disk that goes with its task. It has the rights that /tmp has in the image, whose VOLUME it is.
SCRATCH, SCRATCH_PATH = "tmp", "/tmp"  # noqa: S108  # nobody shares it


@dataclass(frozen=True)
class Program:
    """What a service's tasks run, and as which user it logs into the database."""

    name: str
    image: Image
    user: str
    stop_s: int
    reads_only: bool = False
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    port: int | None = None
    health_check: Mapping[str, Any] | None = None
    scratch_gib: int | None = None  # None: it writes nothing


@dataclass(frozen=True)
class Log:
    group: pulumi.Output[str]
    region: str


def program_container(program: Program, database: Database, log: Log) -> dict[str, Any]:
    host = database.reader_host if program.reads_only else database.host
    environment = {
        "AWS_DEFAULT_REGION": log.region,
        "PGUSER": program.user,
        "RATES_DB_AUTH": "iam",
    }
    container = {
        **closed(program.name, program.image, log),
        "essential": True,
        "dependsOn": [{"containerName": MIGRATION, "condition": "SUCCESS"}],
        "environment": variables({**reach(database, host), **environment, **program.environment}),
        "stopTimeout": program.stop_s,
    }
    if program.port:
        container["portMappings"] = [{"containerPort": program.port, "protocol": "tcp"}]
    if program.scratch_gib:
        container["mountPoints"] = [
            {"sourceVolume": SCRATCH, "containerPath": SCRATCH_PATH, "readOnly": False}
        ]
    if program.health_check:
        # ECS does not look at the one in the image.
        container["healthCheck"] = dict(program.health_check)
    return container


def migration_container(image: Image, database: Database, log: Log) -> dict[str, Any]:
    """Ends before the program starts, and where it fails no program does. It takes a lock: many may run."""
    return {
        **closed(MIGRATION, image, log),
        "essential": False,
        "command": ["migrate"],
        "environment": variables(reach(database, database.host)),
        # `arn:key::` is one key of the secret, in its newest version.
        "secrets": [
            {"name": name, "valueFrom": pulumi.Output.concat(database.master_secret_arn, f":{key}::")}
            for name, key in [("PGPASSWORD", "password"), ("PGUSER", "username")]
        ],
    }


def closed(name: str, image: Image, log: Log) -> dict[str, Any]:
    return {
        "name": name,
        "image": image.reference,
        "user": USER,
        "readonlyRootFilesystem": True,
        # Init reaps what a program leaves behind and passes signals on.
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log.group,
                "awslogs-region": log.region,
                "awslogs-stream-prefix": name,
            },
        },
    }


def reach(database: Database, host: pulumi.Output[str]) -> dict[str, pulumi.Input[str]]:
    return {
        "PGDATABASE": database.database_name,
        "PGHOST": host,
        "PGPORT": str(database.port),
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": CERTIFICATES,
    }


def variables(environment: Mapping[str, pulumi.Input[str]]) -> Sequence[Mapping[str, pulumi.Input[str]]]:
    """ECS gives them back sorted; otherwise each preview would show a difference."""
    return [{"name": name, "value": environment[name]} for name in sorted(environment)]
