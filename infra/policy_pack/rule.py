"""What every rule of the pack is made with: how it sees a resource or a stack, and how it says what it found.

A rule about one resource stops it before AWS makes it. One about several sees them all at the end of a
preview; so it follows which resource names which, since ids are not known before `pulumi up`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

PROJECT = "rates"
# Stands for what only AWS can say. There is something; a rule that needs to know what, waits for `pulumi up`.
UNKNOWN = "not known before AWS has made it"


@dataclass(frozen=True)
class Declared:
    """A resource. Keys of `inputs` are the engine's; `points_at` has the URNs that each of them comes from.

    A rule about a stack sees what AWS has added, too.
    """

    type: str
    name: str
    urn: str
    inputs: Mapping[str, Any]
    protect: bool
    provider_inputs: Mapping[str, Any] | None
    points_at: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Stack:
    resources: Sequence[Declared]

    def all(self, *types: str) -> list[Declared]:
        return [each for each in self.resources if each.type in types]

    def pointing(self, kind: str, key: str, target: Declared) -> list[Declared]:
        """Those of a type that name the target in an input."""
        return [each for each in self.all(kind) if target.urn in each.points_at.get(key, ())]

    def named_by(self, resource: Declared, key: str, kind: str) -> list[Declared]:
        """Those of a type that the resource names in an input."""
        return [each for each in self.all(kind) if each.urn in resource.points_at.get(key, ())]


OneCheck = Callable[[Declared], Iterator[str]]
StackCheck = Callable[[Stack], Iterator[tuple[Declared, str]]]


def about(
    name: str, description: str, *types: str, level: EnforcementLevel = EnforcementLevel.MANDATORY
) -> Callable[[OneCheck], Policy]:
    """Makes a policy of a function that finds faults in one resource of these types, or of any of AWS's."""

    def policy(check: OneCheck) -> Policy:
        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            if args.resource_type in types or (not types and args.resource_type.startswith("aws:")):
                for fault in check(declared(args)):
                    report(fault, None)

        return ResourceValidationPolicy(name, description, validate, level)

    return policy


def about_stack(
    name: str, description: str, level: EnforcementLevel = EnforcementLevel.MANDATORY
) -> Callable[[StackCheck], Policy]:
    """Makes a policy of a function that says which resource does not fit the others, and why."""

    def policy(check: StackCheck) -> Policy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            for resource, fault in check(Stack([declared(each) for each in args.resources])):
                report(fault, resource.urn)

        return StackValidationPolicy(name, description, validate, level)

    return policy


def declared(args: ResourceValidationArgs | PolicyResource) -> Declared:
    points_at = args.property_dependencies if isinstance(args, PolicyResource) else {}
    return Declared(
        type=args.resource_type,
        name=args.name,
        urn=args.urn,
        inputs=plain(args.props),
        protect=args.opts.protect,
        provider_inputs=plain(args.provider.props) if args.provider else None,
        points_at={key: [each.urn for each in targets] for key, targets in points_at.items()},
    )


def plain(value: Any) -> Any:
    """Dicts, lists and values: Pulumi's own raise an error where a value is not known."""
    if isinstance(value, Mapping):
        return {key: plain_item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_item(value, index) for index in range(len(value))]
    return value


def plain_item(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def dig(inputs: Any, path: str) -> list[Any]:
    """What stands at a path such as `rules.filter.prefix`, in each item of the lists on the way."""
    found = [inputs]
    for key in path.split("."):
        found = [item for each in found for item in items(each)]
        found = [each[key] for each in found if isinstance(each, dict) and each.get(key) is not None]
    return [item for each in found for item in items(each)]


def items(value: Any) -> list[Any]:
    """A list as it is, one value as a list of it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def parse(text: Any) -> Any:
    """A document that AWS takes as JSON; None while it is not known."""
    return json.loads(text) if isinstance(text, str) and text != UNKNOWN else None


def in_production() -> bool:
    """The setting of the stack, which Pulumi gives to the pack as it does to the program."""
    return bool(pulumi.Config(PROJECT).get_bool("production"))
