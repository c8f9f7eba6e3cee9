"""What a new copy starts with: put in once, by the ordinary way, and under the copy's own keys."""

import pytest

from infra.storage import PREFIX
from stacks.mock_engine import (
    AURORA,
    ROOT,
    SHAPES,
    Resource,
    Run,
    declared,
    run_changed_program,
    run_stack,
)

DUMP = {"seed": "s3://elsewhere/dumps/monday.sql.gz"}
HERE = "arn:aws:rds:eu-west-1:123456789012"
SNAPSHOT = {"seed": f"{HERE}:snapshot:monday"}
CLUSTER_SNAPSHOT = AURORA | {"seed": f"{HERE}:cluster-snapshot:monday"}
KINDS = ("s3/bucketObjectv2:BucketObjectv2", "s3/objectCopy:ObjectCopy")
COPIES = ("rds/snapshotCopy:SnapshotCopy", "rds/clusterSnapshotCopy:ClusterSnapshotCopy")


def seeds(run: Run, kinds: tuple[str, ...]) -> list[Resource]:
    return [each for kind in kinds for each in run.all(kind)]


def test_the_sample_is_the_one_that_the_project_ships() -> None:
    inputs = declared("dev").one("BucketObjectv2").inputs

    assert inputs == {
        "bucket": "rates-dev-batches-id",
        "key": "batches/seed/sample.sql",
        "source": "local/sample.sql",
    }


def test_the_sample_is_found_wherever_the_program_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "infra")

    assert (
        run_changed_program("dev").one("BucketObjectv2").inputs
        == declared("dev").one("BucketObjectv2").inputs
    )


def test_a_dump_is_copied_from_where_it_is_and_keeps_its_name() -> None:
    inputs = run_stack("dev", changes=DUMP).one("ObjectCopy").inputs

    assert inputs == {
        "bucket": "rates-dev-batches-id",
        "key": "batches/seed/monday.sql.gz",
        "source": "elsewhere/dumps/monday.sql.gz",
        "taggingDirective": "REPLACE",
    }


@pytest.mark.parametrize("changes", [{"seed": "sample"}, DUMP])
def test_an_object_goes_where_batches_go_once_the_queue_hears_of_it_and_the_key_is_ours(
    changes: dict[str, str],
) -> None:
    run = run_stack("dev", changes=changes)
    (put,) = seeds(run, KINDS)

    assert put.inputs["key"].startswith(PREFIX)
    first = ("BucketNotification", "BucketServerSideEncryptionConfiguration", "BucketVersioning")
    assert {run.one(kind).urn for kind in first} <= set(put.dependencies)
    # By default, that is: with the bucket's key.
    assert put.inputs.keys().isdisjoint({"serverSideEncryption", "kmsKeyId", "acl", "grants"})


@pytest.mark.parametrize(("changes", "key"), [(SNAPSHOT, "Db"), (CLUSTER_SNAPSHOT, "DbCluster")])
def test_a_snapshot_is_copied_under_the_databases_own_key_before_the_database_is_made_of_it(
    changes: dict[str, str], key: str
) -> None:
    run = run_stack("dev", changes=changes)
    (copy,) = seeds(run, COPIES)
    (database,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")

    assert copy.inputs == {
        f"source{key}SnapshotIdentifier": changes["seed"],
        f"target{key}SnapshotIdentifier": "rates-dev-database-seed",
        "kmsKeyId": database.inputs["kmsKeyId"],
    }
    assert database.inputs["snapshotIdentifier"] == "rates-dev-database-seed"
    assert copy.urn in database.dependencies
    assert database.inputs["manageMasterUserPassword"] is True, "or the snapshot's password would stay"
    assert seeds(run, KINDS) == []


@pytest.mark.parametrize("changes", [SNAPSHOT, CLUSTER_SNAPSHOT])
def test_a_database_of_a_snapshot_is_declared_as_any_other(changes: dict[str, str]) -> None:
    """What the provider does not tell RDS, it compares: another owner or name would mean another database."""
    without = run_stack("dev", changes=changes | {"seed": "none"})
    run = run_stack("dev", changes=changes)

    (one,) = without.all("rds/instance:Instance") + without.all("rds/cluster:Cluster")
    (other,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")
    assert one.inputs | {"snapshotIdentifier": "rates-dev-database-seed"} == other.inputs


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"seed": "sample"}, {"source"}),
        (DUMP, {"key", "source"}),
        (SNAPSHOT, {"sourceDbSnapshotIdentifier"}),
        (CLUSTER_SNAPSHOT, {"sourceDbClusterSnapshotIdentifier"}),
    ],
)
def test_another_file_or_source_is_not_put_into_a_stack_that_is_up(
    changes: dict[str, str], ignored: set[str]
) -> None:
    (seed,) = seeds(run_stack("dev", changes=changes), KINDS + COPIES)

    assert set(seed.ignore_changes) == ignored


@pytest.mark.parametrize("shape", SHAPES)
def test_no_database_is_made_anew_for_another_snapshot(shape: str) -> None:
    (database,) = declared(shape).all("rds/instance:Instance") + declared(shape).all("rds/cluster:Cluster")

    assert database.ignore_changes == ("snapshotIdentifier",)


@pytest.mark.parametrize("shape", ["staging", "prod"])
def test_a_stack_without_a_seed_starts_empty(shape: str) -> None:
    run = declared(shape)

    assert seeds(run, KINDS + COPIES) == []
    assert "snapshotIdentifier" not in run.one("rds/instance:Instance").inputs
