"""Secrets: their values are people's, and each is read by the tasks of the one program that needs it."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from infra.policy_pack.containers import DEFINITION
from infra.policy_pack.rights import IDENTITY, ROLE, allowing, is_boundary
from infra.policy_pack.rule import Declared, Stack, about, about_stack, items

SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105  # a type
VALUE = "aws:secretsmanager/secretVersion:SecretVersion"
READ = "secretsmanager:GetSecretValue"


@about(
    "secret-values-are-put-in-by-people",
    "A value in the program is read by all who see the program or its state, and put over the newer one.",
    VALUE,
)
def secret_values_are_put_in_by_people(_value: Declared) -> Iterator[str]:
    yield "found a SecretVersion: allowed is a Secret alone, and `aws secretsmanager put-secret-value`"


@about_stack(
    "secrets-are-read-by-one-program",
    "Who reads what callbacks are signed with can speak for us, and needs no other secret for it.",
)
def secrets_are_read_by_one_program(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for secret in stack.all(SECRET):
        readers = [each for kind in IDENTITY for each in stack.pointing(kind, "policy", secret)]
        for policy in readers:
            roles = stack.named_by(policy, "role", ROLE)
            if not roles or not all(stack.pointing(DEFINITION, "taskRoleArn", role) for role in roles):
                yield policy, f"found a right to {secret.name}: allowed is one in the role of a task"
        for policy in readers[1:]:
            yield policy, f"found a right to {secret.name} besides {readers[0].name}: allowed is one program"
        for policy in stack.all(*IDENTITY):
            for pattern in patterns_that_read(policy, secret):
                yield policy, f"found a right to {pattern}: allowed are secrets by name"


def patterns_that_read(policy: Declared, secret: Declared) -> Iterator[str]:
    """Resources with a wildcard that the secret's ARN, `…:secret:NAME-…`, would fit."""
    for statement in [] if is_boundary(policy) else allowing(policy, IDENTITY):
        actions = items(statement.get("Action"))
        if any(fnmatchcase(READ, action) for action in actions):
            for resource in items(statement.get("Resource")):
                name = resource.rpartition(":secret:")[2]
                if "*" in name and fnmatchcase(f"{secret.name}-1", name):
                    yield resource
