"""The ECS cluster in which the tasks of the API and the loader run, and the key of what they log."""

import pulumi
import pulumi_aws as aws

from infra.iam import account_of
from infra.keys import declare_key, let_service_use

# What CloudWatch Logs does with a key, spelt out.
LOGS_KEY_ACTIONS = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
]


class Cluster(pulumi.ComponentResource):
    """Nothing in it runs by itself. `capacity` has to be there before a service asks for it."""

    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    capacity: pulumi.Resource

    def __init__(self, name: str, region: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rates:cluster:Cluster", name, None, opts)
        self._base = name
        self._inside = pulumi.ResourceOptions(parent=self)
        cluster = aws.ecs.Cluster(name, opts=self._inside)
        # Spot is a choice of each service, and has to be on offer.
        self.capacity = aws.ecs.ClusterCapacityProviders(
            name, cluster_name=cluster.name, capacity_providers=["FARGATE", "FARGATE_SPOT"], opts=self._inside
        )
        self._key = declare_key(f"{name}-logs", f"Logs of {name}", self._inside)
        self._key_policy = self._let_logs_use_the_key(region)

        self.arn = cluster.arn
        self.name = cluster.name
        self.register_outputs({"name": self.name})

    def declare_log_group(self, name: str, days: int, parent: pulumi.Resource) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            name,
            retention_in_days=days,
            kms_key_id=self._key.arn,
            # CloudWatch refuses a key that it may not use yet.
            opts=pulumi.ResourceOptions(parent=parent, depends_on=[self._key_policy]),
        )

    def _let_logs_use_the_key(self, region: str) -> aws.kms.KeyPolicy:
        """CloudWatch may use it for the logs of this copy."""
        account = account_of(self._key.arn)
        logs = pulumi.Output.concat("arn:aws:logs:", region, ":", account, f":log-group:{self._base}-*")
        return let_service_use(
            f"{self._base}-logs",
            self._key,
            f"logs.{region}.amazonaws.com",
            LOGS_KEY_ACTIONS,
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            self._inside,
        )
