"""Buckets that nobody outside the account sees, and nobody reads but over TLS."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra.iam import Statement, document, only_over_tls


def declare_closed_bucket(
    name: str,
    key_arn: pulumi.Input[str] | None,
    bucket_opts: pulumi.ResourceOptions,
    inside: pulumi.ResourceOptions,
    *,
    force_destroy: bool,
) -> aws.s3.Bucket:
    """A bucket, encrypted with a key of ours or, without one, with S3's own. It still needs its policy."""
    bucket = aws.s3.Bucket(name, force_destroy=force_destroy, opts=bucket_opts)
    by_default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="aws:kms" if key_arn else "AES256", kms_master_key_id=key_arn
    )
    aws.s3.BucketServerSideEncryptionConfiguration(
        name,
        bucket=bucket.id,
        rules=[
            aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=by_default,
                # One question to KMS for many objects, which costs a hundredth.
                bucket_key_enabled=bool(key_arn),
            )
        ],
        opts=inside,
    )
    # No access lists: rights come from policies alone.
    aws.s3.BucketOwnershipControls(
        name,
        bucket=bucket.id,
        rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=inside,
    )
    return bucket


def close_bucket(
    name: str, bucket: aws.s3.Bucket, inside: pulumi.ResourceOptions, may: Sequence[Statement] = ()
) -> aws.s3.BucketPolicy:
    """Nothing public, nothing without TLS; `may` says which service of AWS has rights of its own in it."""
    closed = aws.s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=inside,
    )
    everything = [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")]
    return aws.s3.BucketPolicy(
        name,
        bucket=bucket.id,
        policy=document(only_over_tls("s3:*", everything), *may),
        # S3 refuses two changes of a bucket's access at once.
        opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[closed])),
    )
