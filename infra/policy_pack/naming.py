"""Names and tags: no two resources are one by mistake, and each says whose it is."""

from collections.abc import Iterator
from typing import Any

from infra.policy_pack.rule import UNKNOWN, Declared, Stack, about, about_stack, parse

# Where each kind has a name that nothing else of its kind in the account and region may have.
NAMES = {
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
    "aws:codebuild/project:Project": "name",
    "aws:codepipeline/pipeline:Pipeline": "name",
    "aws:ecr/repository:Repository": "name",
    "aws:ecs/cluster:Cluster": "name",
    "aws:ecs/taskDefinition:TaskDefinition": "family",
    "aws:iam/role:Role": "name",
    "aws:kms/alias:Alias": "name",
    "aws:lb/loadBalancer:LoadBalancer": "name",
    "aws:lb/targetGroup:TargetGroup": "name",
    "aws:rds/cluster:Cluster": "clusterIdentifier",
    "aws:rds/clusterInstance:ClusterInstance": "identifier",
    "aws:rds/instance:Instance": "identifier",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "name",
    "aws:sns/topic:Topic": "name",
    "aws:sqs/queue:Queue": "name",
}
TAGS = ("Project", "Stack", "Owner", "ManagedBy")


@about_stack(
    "names-are-unique",
    "AWS knows a thing by its name: of two with one name, each update undoes the other's.",
)
def names_are_unique(stack: Stack) -> Iterator[tuple[Declared, str]]:
    seen: dict[tuple[str, str], Declared] = {}
    for resource in stack.all(*NAMES):
        name = resource.inputs.get(NAMES[resource.type])
        if name in (None, "", UNKNOWN):
            continue
        first = seen.setdefault((resource.type, name), resource)
        if first is not resource:
            yield resource, f"found the name {name}, which {first.name} has: allowed is one of its own"


@about(
    "tagged-with-whose-it-is",
    "Costs, clean-up and rights go by the tags, which the stack's provider sets; another sets none.",
)
def tagged_with_whose_it_is(resource: Declared) -> Iterator[str]:
    if resource.provider_inputs is None:
        return
    tags = tags_of(resource.provider_inputs)
    if missing := [] if tags is None else [tag for tag in TAGS if not tags.get(tag)]:
        yield f"found a provider without the tags {', '.join(missing)}: allowed is the stack's provider"


def tags_of(provider: dict[str, Any] | Any) -> dict[str, Any] | None:
    """None while they are not known. A provider has nested inputs as JSON."""
    default = provider.get("defaultTags")
    if default == UNKNOWN:
        return None
    return ((parse(default) if isinstance(default, str) else default) or {}).get("tags") or {}
