"""What a stack that serves customers has besides: it survives the loss of a zone, and a wrong command."""

from collections.abc import Iterator

from infra.policy_pack.balancer import LOAD_BALANCER
from infra.policy_pack.database import CLUSTER, INSTANCE, MEMBER
from infra.policy_pack.encryption import REPOSITORY
from infra.policy_pack.rule import Declared, Stack, about, about_stack, in_production

# Which input makes AWS refuse to delete it.
PROTECTIONS = {
    INSTANCE: "deletionProtection",
    CLUSTER: "deletionProtection",
    LOAD_BALANCER: "enableDeletionProtection",
}
# Long enough to find a fault that nobody saw at once.
BACKUP_DAYS_MIN = 7
MEMBERS_MIN = 2


@about(
    "production-cannot-be-deleted",
    "One call with too many rights would delete it, unless AWS refuses.",
    *PROTECTIONS,
)
def production_cannot_be_deleted(resource: Declared) -> Iterator[str]:
    key = PROTECTIONS[resource.type]
    if in_production() and resource.inputs.get(key) is not True:
        yield f"found {key} {resource.inputs.get(key)}: allowed is true in production"


@about(
    "production-data-is-protected",
    "Pulumi would replace a database for a change that AWS cannot make in place, and its data with it.",
    INSTANCE,
    CLUSTER,
)
def production_data_is_protected(database: Declared) -> Iterator[str]:
    if in_production() and not database.protect:
        yield "found it without `protect`: allowed is protect=True in production"


@about(
    "production-leaves-a-snapshot",
    "A database that is deleted on purpose is missed a week later.",
    INSTANCE,
    CLUSTER,
)
def production_leaves_a_snapshot(database: Declared) -> Iterator[str]:
    if in_production() and database.inputs.get("skipFinalSnapshot") is not False:
        yield "found skipFinalSnapshot: allowed is false in production"


@about(
    "production-goes-back-a-week",
    "A fault that is found late is undone from a backup before it.",
    INSTANCE,
    CLUSTER,
)
def production_goes_back_a_week(database: Declared) -> Iterator[str]:
    days = database.inputs.get("backupRetentionPeriod") or 0
    if in_production() and days < BACKUP_DAYS_MIN:
        yield f"found backups of {days:g} days: allowed are {BACKUP_DAYS_MIN} or more in production"


@about_stack("production-survives-a-zone", "A zone fails every few years, and with it all that is there.")
def production_survives_a_zone(stack: Stack) -> Iterator[tuple[Declared, str]]:
    if not in_production():
        return
    for instance in stack.all(INSTANCE):
        if instance.inputs.get("multiAz") is not True:
            yield instance, "found multiAz false: allowed is true in production"
    for cluster in stack.all(CLUSTER):
        members = stack.pointing(MEMBER, "clusterIdentifier", cluster)
        if len(members) < MEMBERS_MIN:
            yield cluster, f"found {len(members)} servers: allowed are {MEMBERS_MIN} or more in production"


@about(
    "production-repositories-keep-images",
    "What runs is pulled from the repository each time a task starts.",
    REPOSITORY,
)
def production_repositories_keep_images(repository: Declared) -> Iterator[str]:
    if in_production() and repository.inputs.get("forceDelete"):
        yield "found forceDelete: allowed is false in production"
