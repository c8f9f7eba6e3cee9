"""What a new copy starts with: an object put where batches go, or a snapshot that the database is made of.

Once a stack is up its seed is history: neither a newer file nor another source is put in a second time.
"""

from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra.settings.database import Engine
from infra.settings.seed import Dump, Sample, Snapshot
from infra.storage import PREFIX, BatchStorage

# Pulumi starts in `infra/`, tests elsewhere, and a folder that is linked to is still this one.
SAMPLE = Path(__file__).resolve().parents[1] / "local/sample.sql"


class SeedObject(pulumi.ComponentResource):
    """The sample or a dump in the bucket, by the way that every batch takes.

    It expires as batches do. An object that S3 copies at one go has 5 GB at most.
    """

    def __init__(
        self,
        name: str,
        seed: Sample | Dump,
        storage: BatchStorage,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:seed:SeedObject", name, None, opts)
        # Before the notification is there S3 tells nobody of an object, and before the encryption it takes
        # another key: so all of the storage comes first.
        inside = pulumi.ResourceOptions(parent=self, depends_on=[storage])
        match seed:
            case Sample():
                aws.s3.BucketObjectv2(
                    name,
                    bucket=storage.bucket_name,
                    key=seed_key(SAMPLE.name),
                    source=pulumi.FileAsset(SAMPLE),
                    opts=put_once(inside, "source"),
                )
            case Dump(bucket, key):
                aws.s3.ObjectCopy(
                    name,
                    bucket=storage.bucket_name,
                    key=seed_key(Path(key).name),
                    source=f"{bucket}/{key}",
                    # The stack's tags, and not those of the source.
                    tagging_directive="REPLACE",
                    opts=put_once(inside, "key", "source"),
                )
        self.register_outputs({})


def copy_of_snapshot(
    name: str, seed: Snapshot, engine: Engine, key_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Names a copy under the new database's own key, since a database keeps the key of its snapshot."""
    if engine is Engine.AURORA:
        cluster = aws.rds.ClusterSnapshotCopy(
            name,
            source_db_cluster_snapshot_identifier=seed.arn,
            target_db_cluster_snapshot_identifier=name,
            kms_key_id=key_arn,
            opts=put_once(opts, "sourceDbClusterSnapshotIdentifier"),
        )
        return cluster.target_db_cluster_snapshot_identifier
    instance = aws.rds.SnapshotCopy(
        name,
        source_db_snapshot_identifier=seed.arn,
        target_db_snapshot_identifier=name,
        kms_key_id=key_arn,
        opts=put_once(opts, "sourceDbSnapshotIdentifier"),
    )
    return instance.target_db_snapshot_identifier


def seed_key(file_name: str) -> str:
    return f"{PREFIX}seed/{file_name}"


def put_once(opts: pulumi.ResourceOptions, *properties: str) -> pulumi.ResourceOptions:
    """A change of these would put the seed in again, where customers' data may be by now."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=list(properties)))
