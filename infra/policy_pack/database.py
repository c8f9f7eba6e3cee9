"""The database: who connects, how, and who knows its password (nobody)."""

import re
from collections.abc import Iterator

from pulumi_policy import EnforcementLevel

from infra.policy_pack.rule import Declared, Stack, about, about_stack, dig

INSTANCE = "aws:rds/instance:Instance"
CLUSTER = "aws:rds/cluster:Cluster"
MEMBER = "aws:rds/clusterInstance:ClusterInstance"
# Of each kind that takes connections: the input that names its parameters, and their type.
PARAMETERS = {
    INSTANCE: ("parameterGroupName", "aws:rds/parameterGroup:ParameterGroup"),
    CLUSTER: ("dbClusterParameterGroupName", "aws:rds/clusterParameterGroup:ClusterParameterGroup"),
}
PASSWORDS = ("password", "passwordWo", "masterPassword", "masterPasswordWo")
# RDS's authorities that are valid for decades; rds-ca-2019 has ended.
AUTHORITY = re.compile(r"rds-ca-(rsa2048|rsa4096|ecc384)-g1")


@about(
    "database-is-not-public",
    "A database with a public address is one rule away from the internet.",
    INSTANCE,
    MEMBER,
)
def database_is_not_public(server: Declared) -> Iterator[str]:
    found = server.inputs.get("publiclyAccessible", "not set")
    if found is not False:
        yield f"found publiclyAccessible {found}: allowed is false"


@about_stack(
    "database-demands-tls",
    "The server takes connections in the clear as well, unless its parameters refuse them.",
)
def database_demands_tls(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for database in stack.all(INSTANCE, CLUSTER):
        key, kind = PARAMETERS[database.type]
        groups = stack.named_by(database, key, kind)
        if not groups:
            yield database, f"found {key} not of this stack: allowed is a group with rds.force_ssl 1"
        for group in groups:
            found = {each.get("name"): each.get("value") for each in dig(group.inputs, "parameters")}
            if found.get("rds.force_ssl") != "1":
                yield database, f"found rds.force_ssl {found.get('rds.force_ssl', 'not set')}: allowed is 1"


@about(
    "database-takes-tokens",
    "Programs log in with IAM tokens, which end after a quarter of an hour; passwords stay.",
    INSTANCE,
    CLUSTER,
)
def database_takes_tokens(database: Declared) -> Iterator[str]:
    found = database.inputs.get("iamDatabaseAuthenticationEnabled")
    if found is not True:
        yield f"found iamDatabaseAuthenticationEnabled {found}: allowed is true"


@about(
    "nobody-knows-the-password",
    "A password that somebody typed stands in the state and in history; RDS makes, keeps and renews its own.",
    INSTANCE,
    CLUSTER,
)
def nobody_knows_the_password(database: Declared) -> Iterator[str]:
    found = database.inputs.get("manageMasterUserPassword")
    if found is not True:
        yield f"found manageMasterUserPassword {found}: allowed is true"
    for key in PASSWORDS:
        if database.inputs.get(key):
            yield f"found {key}: allowed is none, RDS makes one"


@about(
    "database-has-a-known-certificate",
    "Named, so that clients trust it and a new default of AWS restarts nobody's server.",
    INSTANCE,
    MEMBER,
)
def database_has_a_known_certificate(server: Declared) -> Iterator[str]:
    found = server.inputs.get("caCertIdentifier", "not set")
    if not AUTHORITY.fullmatch(found):
        yield f"found caCertIdentifier {found}: allowed are rds-ca-(rsa2048, rsa4096 or ecc384)-g1"


# A copy's data can be had again, from the sample or the dump that it began with.
@about(
    "database-is-backed-up",
    "Without backups a wrong statement is for good.",
    INSTANCE,
    CLUSTER,
    level=EnforcementLevel.ADVISORY,
)
def database_is_backed_up(database: Declared) -> Iterator[str]:
    if not database.inputs.get("backupRetentionPeriod"):
        yield "found backups of 0 days: advised are 1 to 35"
