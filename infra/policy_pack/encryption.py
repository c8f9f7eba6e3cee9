"""What lies encrypted, and with whose key: one of ours, so that reading takes a right to the key as well."""

from collections.abc import Iterator

from infra.policy_pack.database import CLUSTER, INSTANCE, MEMBER
from infra.policy_pack.rule import Declared, about, dig

KEY = "aws:kms/key:Key"
REPOSITORY = "aws:ecr/repository:Repository"
# Where each kind of resource names its key.
KEYS = {
    INSTANCE: ("kmsKeyId", "masterUserSecretKmsKeyId"),
    CLUSTER: ("kmsKeyId", "masterUserSecretKmsKeyId"),
    "aws:sqs/queue:Queue": ("kmsMasterKeyId",),
    "aws:sns/topic:Topic": ("kmsMasterKeyId",),
    "aws:secretsmanager/secret:Secret": ("kmsKeyId",),
    "aws:codebuild/project:Project": ("encryptionKey",),
    "aws:codepipeline/pipeline:Pipeline": ("artifactStores.encryptionKey.id",),
}
INSIGHTS, INSIGHTS_KEY = "performanceInsightsEnabled", "performanceInsightsKmsKeyId"


@about(
    "key-rotates",
    "What one key has encrypted for years is lost at once with it; AWS renews it each year by itself.",
    KEY,
)
def key_rotates(key: Declared) -> Iterator[str]:
    kind = key.inputs.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    found = key.inputs.get("enableKeyRotation")
    # AWS rotates no other kind.
    if kind == "SYMMETRIC_DEFAULT" and found is not True:
        yield f"found enableKeyRotation {found}: allowed is true"


@about(
    "encrypted-with-a-key-of-ours",
    "With AWS's shared key, whoever may read the resource may read what is in it; ours is asked as well.",
    *KEYS,
)
def encrypted_with_a_key_of_ours(resource: Declared) -> Iterator[str]:
    for path in KEYS[resource.type]:
        found = dig(resource.inputs, path)
        # `alias/aws/…` is AWS's.
        if not found or any("alias/aws/" in each for each in found):
            yield f"found {path} {found[0] if found else 'not set'}: allowed is a key in KMS of our own"


@about("database-is-encrypted", "Encryption of a database cannot be switched on later.", INSTANCE, CLUSTER)
def database_is_encrypted(database: Declared) -> Iterator[str]:
    found = database.inputs.get("storageEncrypted")
    if found is not True:
        yield f"found storageEncrypted {found}: allowed is true"


@about(
    "insights-are-encrypted-with-a-key-of-ours",
    "Performance Insights keeps statements, which have data in them.",
    INSTANCE,
    MEMBER,
)
def insights_are_encrypted(server: Declared) -> Iterator[str]:
    if server.inputs.get(INSIGHTS) and not server.inputs.get(INSIGHTS_KEY):
        yield f"found {INSIGHTS} without {INSIGHTS_KEY}: allowed is a key in KMS of our own"


@about(
    "repository-is-sound",
    "An image is what was pushed and scanned under its tag, and lies encrypted with a key in KMS.",
    REPOSITORY,
)
def repository_is_sound(repository: Declared) -> Iterator[str]:
    for path, allowed in {
        "encryptionConfigurations.encryptionType": "KMS",
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration.scanOnPush": True,
    }.items():
        found = dig(repository.inputs, path)
        if found != [allowed]:
            yield f"found {path} {found[0] if found else 'not set'}: allowed is {allowed}"
