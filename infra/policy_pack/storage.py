"""Buckets: nobody outside sees them, access lists say nothing, and nothing lies or travels in the clear."""

from collections.abc import Iterator

from infra.policy_pack.balancer import LOAD_BALANCER
from infra.policy_pack.rights import denies_without_tls
from infra.policy_pack.rule import Declared, Stack, about_stack, dig, parse

BUCKET = "aws:s3/bucket:Bucket"
PUBLIC_ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
OWNERSHIP = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


@about_stack(
    "bucket-is-closed",
    "A bucket that can be made public is made public one day; the block overrules policies and lists.",
)
def bucket_is_closed(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for bucket in stack.all(BUCKET):
        blocks = stack.pointing(PUBLIC_ACCESS_BLOCK, "bucket", bucket)
        if not blocks:
            yield bucket, "found no BucketPublicAccessBlock: allowed is one with all four switched on"
        for block in blocks:
            if off := [key for key in BLOCKS if block.inputs.get(key) is not True]:
                yield bucket, f"found {', '.join(off)} off: allowed is all four switched on"


@about_stack(
    "bucket-owner-owns-all",
    "Access lists would give rights that no policy shows; an owner who owns every object has none.",
)
def bucket_owner_owns_all(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for bucket in stack.all(BUCKET):
        controls = stack.pointing(OWNERSHIP, "bucket", bucket)
        found = [each for control in controls for each in dig(control.inputs, "rule.objectOwnership")]
        if found != ["BucketOwnerEnforced"]:
            yield bucket, f"found object ownership {found or 'not set'}: allowed is BucketOwnerEnforced"


@about_stack(
    "bucket-is-encrypted-with-a-key-of-ours",
    "Then reading an object takes the key too. A load balancer can write its log with S3's own key only.",
)
def bucket_is_encrypted(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for bucket in stack.all(BUCKET):
        configurations = stack.pointing(ENCRYPTION, "bucket", bucket)
        rule = "rules.applyServerSideEncryptionByDefault"
        found = [each for one in configurations for each in dig(one.inputs, rule)]
        algorithms = {each.get("sseAlgorithm") for each in found}
        if algorithms == {"AES256"} and stack.pointing(LOAD_BALANCER, "accessLogs", bucket):
            continue
        if algorithms != {"aws:kms"} or not all(each.get("kmsMasterKeyId") for each in found):
            named = ", ".join(sorted(map(str, algorithms))) or "nothing"
            yield bucket, f"found encryption with {named}: allowed is aws:kms with a key of ours"


@about_stack(
    "bucket-takes-tls-only",
    "S3 answers plain HTTP as well, unless the bucket's policy refuses it.",
)
def bucket_takes_tls_only(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for bucket in stack.all(BUCKET):
        policies = stack.pointing(POLICY, "bucket", bucket)
        documents = [parse(each.inputs.get("policy")) for each in policies]
        if not policies or not all(each is None or denies_without_tls(each, "s3:*") for each in documents):
            yield bucket, "found no policy that denies s3:* without TLS (aws:SecureTransport): allowed is one"
