"""All rules of the pack: each policy that stands in one of its modules."""

from types import ModuleType

from pulumi_policy import Policy

from infra.policy_pack import (
    balancer,
    containers,
    database,
    delivery,
    encryption,
    logs,
    naming,
    network,
    production,
    queues,
    rights,
    secret_values,
    servers,
    storage,
)

NAME = "rates"
MODULES = (
    network,
    balancer,
    servers,
    storage,
    queues,
    encryption,
    rights,
    secret_values,
    containers,
    database,
    logs,
    delivery,
    naming,
    production,
)


def policies_of(module: ModuleType) -> list[Policy]:
    return [each for each in vars(module).values() if isinstance(each, Policy)]


POLICIES = [policy for module in MODULES for policy in policies_of(module)]
