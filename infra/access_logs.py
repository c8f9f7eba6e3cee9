"""The load balancer's record of requests: who asked for what, when, and how it was answered."""

import pulumi
import pulumi_aws as aws

from infra.buckets import close_bucket, declare_closed_bucket
from infra.iam import Statement

# The principal in which load balancers write, in every region.
WRITER = "logdelivery.elasticloadbalancing.amazonaws.com"


class AccessLogs(pulumi.ComponentResource):
    """A bucket of its own. The load balancer tries to write as it is told of it, so after `ready`."""

    bucket_name: pulumi.Output[str]
    ready: pulumi.Resource

    def __init__(
        self,
        name: str,
        days: int,
        production: bool,
        account: pulumi.Output[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:access_logs:AccessLogs", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        # As with batches: `pulumi state unprotect` first, and even then AWS keeps it.
        data = pulumi.ResourceOptions(parent=self, protect=production, retain_on_delete=production)
        # With S3's own key, since load balancers write with no other.
        bucket = declare_closed_bucket(name, None, data, inside, force_destroy=not production)
        self.ready = close_bucket(name, bucket, inside, [let_load_balancers_write(bucket, account)])
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="old-logs",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
                )
            ],
            opts=inside,
        )
        self.bucket_name = bucket.id
        self.register_outputs({"bucketName": self.bucket_name})


def let_load_balancers_write(bucket: aws.s3.Bucket, account: pulumi.Output[str]) -> Statement:
    """Those of the account alone: each writes under its own account's number, and nowhere else.

    Without a condition on aws:SourceArn, which they do not always send: they would be refused.
    """
    return {
        "Effect": "Allow",
        "Principal": {"Service": WRITER},
        "Action": ["s3:PutObject"],
        "Resource": pulumi.Output.concat(bucket.arn, "/AWSLogs/", account, "/*"),
    }
