"""Runs policies over what the mock engine saw declared, as Pulumi would over a preview of it."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi.runtime import set_all_config
from pulumi_policy import (
    Policy,
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from stacks.mock_engine import Resource, Run

# A value of an input that only AWS can say, as a preview has it.
UNKNOWN = UNKNOWN_STRING_VALUE


@dataclass(frozen=True)
class Violation:
    policy: str
    resource: str  # its name
    message: str


def violations(run: Run, policies: Sequence[Policy]) -> list[Violation]:
    """In a context of its own: Pulumi keeps the settings that the policies read in context variables."""
    return contextvars.copy_context().run(lambda: list(violations_here(run, policies)))


def violations_here(run: Run, policies: Sequence[Policy]) -> Iterable[Violation]:
    set_all_config(dict(run.config), [])
    names = {resource.urn: resource.name for resource in run.resources}
    seen = as_stack(run)
    for policy in policies:
        found: list[tuple[str, str | None]] = []

        def report(message: str, urn: str | None = None, found: list[Any] = found) -> None:
            found.append((message, urn))

        if isinstance(policy, ResourceValidationPolicy):
            for each in seen:
                found.clear()
                policy.validate(as_resource(each), report)
                yield from [Violation(policy.name, each.name, message) for message, _ in found]
        elif isinstance(policy, StackValidationPolicy):
            policy.validate(StackValidationArgs(seen), report)
            yield from [Violation(policy.name, names[urn or ""], message) for message, urn in found]


def as_resource(seen: PolicyResource) -> ResourceValidationArgs:
    return ResourceValidationArgs(
        seen.resource_type, seen.props, seen.urn, seen.name, seen.opts, seen.provider
    )


def as_stack(run: Run) -> list[PolicyResource]:
    """Each with what it depends on, as Pulumi links them."""
    seen = {resource.urn: as_policy_resource(run, resource) for resource in run.resources}
    for resource in run.resources:
        linked = seen[resource.urn]
        linked.parent = seen.get(resource.parent)
        linked.dependencies += [seen[urn] for urn in resource.dependencies if urn in seen]
        for key, urns in resource.property_dependencies.items():
            linked.property_dependencies[key] = [seen[urn] for urn in urns if urn in seen]
    return list(seen.values())


def as_policy_resource(run: Run, resource: Resource) -> PolicyResource:
    options = PolicyResourceOptions(
        protect=resource.protect,
        ignore_changes=list(resource.ignore_changes),
        delete_before_replace=None,
        aliases=[],
        custom_timeouts=PolicyCustomTimeouts(0, 0, 0),
        additional_secret_outputs=[],
        parent=resource.parent,
    )
    return PolicyResource(
        resource.type,
        unknown_checking_proxy(resource.inputs),
        resource.urn,
        resource.name,
        options,
        provider_of(run, resource),
        None,
        [],
        {},
    )


def provider_of(run: Run, resource: Resource) -> PolicyProviderResource | None:
    """A resource names its provider by URN and id."""
    for provider in run.resources:
        if provider.type.startswith("pulumi:providers:") and resource.provider.startswith(provider.urn):
            props = unknown_checking_proxy(provider.inputs)
            return PolicyProviderResource(provider.type, props, provider.urn, provider.name)
    return None
