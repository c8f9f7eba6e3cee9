"""The database: closed, encrypted, without a password that anyone knows, and kept where the stack says so."""

import json

import pytest

from api.settings import read_settings
from stacks.mock_engine import AURORA, PLACE, SHAPES, STACKS, Resource, Run, declared, run_stack


def database(run: Run) -> Resource:
    (resource,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")
    return resource


def rules(run: Run, kind: str, name: str) -> list[dict]:
    """What gets into the groups of the database and of its clients, or out."""
    groups = {f"{name}-id", f"{name}-clients-id"}
    return [rule.inputs for rule in run.all(kind) if rule.inputs["securityGroupId"] in groups]


def parameters(run: Run, kind: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in run.one(kind).inputs["parameters"]}


@pytest.mark.parametrize("shape", SHAPES)
def test_only_what_carries_the_client_group_reaches_it_and_only_on_its_port(shape: str) -> None:
    run = declared(shape)
    name = f"rates-{run.stack}-database"
    tcp_5432 = {"ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432}

    assert database(run).inputs["vpcSecurityGroupIds"] == [f"{name}-id"]
    assert database(run).inputs["port"] == 5432
    assert rules(run, "SecurityGroupIngressRule", name) == [
        {"securityGroupId": f"{name}-id", "referencedSecurityGroupId": f"{name}-clients-id"} | tcp_5432
    ]
    assert rules(run, "SecurityGroupEgressRule", name) == [
        {"securityGroupId": f"{name}-clients-id", "referencedSecurityGroupId": f"{name}-id"} | tcp_5432
    ]
    for group in run.all("SecurityGroup"):
        assert group.inputs.keys() == {"description", "vpcId"}, "inline rules undo those of other components"


@pytest.mark.parametrize("shape", SHAPES)
def test_it_lies_in_subnets_without_a_way_out(shape: str) -> None:
    run = declared(shape)
    zones = range(1, 4 if shape == "prod" else 3)
    group = run.one("rds/subnetGroup:SubnetGroup")

    assert group.inputs["subnetIds"] == [f"rates-{run.stack}-isolated-{zone}" for zone in zones]
    for server in [database(run), *run.all("ClusterInstance")]:
        assert server.inputs["dbSubnetGroupName"] == group.name


@pytest.mark.parametrize("shape", SHAPES)
def test_data_backups_and_secret_are_encrypted_with_a_key_of_its_own_that_rotates(shape: str) -> None:
    run = declared(shape)
    key, inputs = run.one("kms/key:Key", "-database"), database(run).inputs

    assert key.inputs["enableKeyRotation"] is True
    assert inputs["storageEncrypted"] is True
    assert inputs["kmsKeyId"] == inputs["masterUserSecretKmsKeyId"]
    assert inputs["kmsKeyId"] == f"arn:aws:kms:{PLACE}:{key.name}"


@pytest.mark.parametrize("shape", SHAPES)
def test_people_and_programs_log_in_without_a_password_of_their_own_and_over_tls(shape: str) -> None:
    run = declared(shape)
    inputs = database(run).inputs
    group = (
        "rds/clusterParameterGroup:ClusterParameterGroup"
        if shape == "aurora"
        else "rds/parameterGroup:ParameterGroup"
    )

    assert inputs["manageMasterUserPassword"] is True
    assert inputs["iamDatabaseAuthenticationEnabled"] is True
    assert parameters(run, group)["rds.force_ssl"] == "1"
    for server in run.all("rds/instance:Instance") + run.all("ClusterInstance"):
        assert server.inputs["caCertIdentifier"] == "rds-ca-rsa2048-g1"


@pytest.mark.parametrize("shape", SHAPES)
def test_its_log_shows_slow_statements_and_waits_for_locks(shape: str) -> None:
    run = declared(shape)

    assert "postgresql" in database(run).inputs["enabledCloudwatchLogsExports"]
    logged = parameters(run, "rds/parameterGroup:ParameterGroup")
    assert (logged["log_min_duration_statement"], logged["log_lock_waits"]) == ("1000", "1")


@pytest.mark.parametrize(
    ("shape", "backup", "maintenance"),
    [
        ("prod", "backupWindow", "maintenanceWindow"),
        ("aurora", "preferredBackupWindow", "preferredMaintenanceWindow"),
    ],
)
def test_backups_end_before_maintenance_starts(shape: str, backup: str, maintenance: str) -> None:
    """RDS refuses windows that overlap."""
    inputs = database(declared(shape)).inputs
    backup_end = inputs[backup].partition("-")[2]
    maintenance_start = inputs[maintenance].partition("-")[0].partition(":")[2]

    assert backup_end <= maintenance_start


@pytest.mark.parametrize("stack", STACKS)
def test_an_instance_is_watched_and_its_storage_is_of_the_newer_kind(stack: str) -> None:
    inputs = database(declared(stack)).inputs

    assert inputs["storageType"] == "gp3"
    assert inputs["performanceInsightsEnabled"] is True
    assert inputs["performanceInsightsRetentionPeriod"] == 7, "longer is not free"
    assert inputs["performanceInsightsKmsKeyId"] == inputs["kmsKeyId"]


@pytest.mark.parametrize("stack", STACKS)
def test_pulumi_protects_what_data_would_be_lost_with_in_production_only(stack: str) -> None:
    run = declared(stack)
    protected = {resource.type for resource in run.resources if resource.protect}

    expected = {
        "aws:kms/key:Key",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:secretsmanager/secret:Secret",
    }
    assert protected == (expected if stack == "prod" else set())


def test_pulumi_protects_every_server_of_a_cluster_in_production() -> None:
    run = run_stack("prod", changes=AURORA | {"databaseAcusMin": "2", "databaseReaders": "1"})

    assert {resource.type for resource in run.resources if resource.protect} == {
        "aws:kms/key:Key",
        "aws:rds/cluster:Cluster",
        "aws:rds/clusterInstance:ClusterInstance",
        "aws:s3/bucket:Bucket",
        "aws:secretsmanager/secret:Secret",
    }
    assert [resource.name for resource in run.all("ClusterInstance") if not resource.protect] == []


@pytest.mark.parametrize("changes", [{}, AURORA])
@pytest.mark.parametrize("kept", ["true", "false"])
def test_a_snapshot_that_outlives_the_database_keeps_its_key(changes: dict[str, str], kept: str) -> None:
    run = run_stack("dev", changes=changes | {"databaseFinalSnapshot": kept})
    inputs = database(run).inputs

    assert inputs["skipFinalSnapshot"] is (kept == "false")
    assert inputs.get("finalSnapshotIdentifier") == (
        "rates-dev-database-final-key-of-rates-dev-database" if kept == "true" else None
    )
    assert run.one("kms/key:Key", "-database").retain_on_delete is (kept == "true")
    assert inputs["copyTagsToSnapshot"] is True


@pytest.mark.parametrize("changes", [{}, AURORA])
def test_the_stack_says_how_long_backups_stay_and_when_changes_happen(changes: dict[str, str]) -> None:
    said = {
        "databaseBackupDays": "5",
        "databaseDeletionProtection": "true",
        "databaseApplyImmediately": "false",
        "databaseVersion": "17.10",
    }
    run = run_stack("dev", changes=changes | said)
    inputs = database(run).inputs

    assert inputs["backupRetentionPeriod"] == 5
    assert inputs["deletionProtection"] is True
    assert inputs["applyImmediately"] is False
    assert inputs["engineVersion"] == "17.10"
    assert run.one("rds/parameterGroup:ParameterGroup").inputs["family"] == f"{inputs['engine']}17"
    for server in run.all("ClusterInstance"):
        assert server.inputs["applyImmediately"] is False


@pytest.mark.parametrize(("version", "upgrades"), [("18", True), ("17.10", False)])
@pytest.mark.parametrize("changes", [{}, AURORA])
def test_rds_upgrades_minors_only_where_none_is_given(
    changes: dict[str, str], version: str, upgrades: bool
) -> None:
    run = run_stack("dev", changes=changes | {"databaseVersion": version})
    (server,) = run.all("rds/instance:Instance") + run.all("ClusterInstance")

    assert server.inputs["autoMinorVersionUpgrade"] is upgrades


def test_a_pausing_cluster_pauses_as_soon_as_aurora_lets_it_and_ends_sessions_that_keep_it_awake() -> None:
    run = declared("aurora")

    assert database(run).inputs["serverlessv2ScalingConfiguration"] == {
        "minCapacity": 0,
        "maxCapacity": 4,
        "secondsUntilAutoPause": 300,
    }
    assert parameters(run, "rds/parameterGroup:ParameterGroup")["idle_session_timeout"] == "60000"
    (server,) = run.all("ClusterInstance")
    assert server.inputs["instanceClass"] == "db.serverless"
    assert server.inputs["performanceInsightsEnabled"] is False


def test_a_cluster_that_does_not_pause_leaves_idle_sessions_alone_and_is_watched() -> None:
    run = run_stack("dev", changes=AURORA | {"databaseAcusMin": "2"})

    assert database(run).inputs["serverlessv2ScalingConfiguration"] == {"minCapacity": 2, "maxCapacity": 4}
    assert "idle_session_timeout" not in parameters(run, "rds/parameterGroup:ParameterGroup")
    assert run.one("ClusterInstance").inputs["performanceInsightsEnabled"] is True


def test_a_cluster_has_its_readers_and_the_api_reads_from_them_but_nothing_is_written_there() -> None:
    run = run_stack("dev", changes=AURORA | {"databaseReaders": "2"})

    assert [server.name for server in run.all("ClusterInstance")] == [
        "rates-dev-database-1",
        "rates-dev-database-2",
        "rates-dev-database-3",
    ]
    writer, readers = "rates-dev-database.rds.example", "rates-dev-database.ro.rds.example"
    assert hosts(run, "-api") == {"migrate": writer, "api": readers}
    assert hosts(run, "-loader") == {"migrate": writer, "loader": writer}


def test_a_cluster_without_readers_answers_the_api_too() -> None:
    assert set(hosts(declared("aurora"), "-api").values()) == {"rates-dev-database.rds.example"}


# GiB, as AWS lists the class.
MEMORY_GIB = {"db.t4g.micro": 1, "db.t4g.small": 2, "db.r8g.large": 16}
# What RDS lets in at most, by default: a connection for so many bytes of the memory that it has left itself.
BYTES_PER_CONNECTION = 9_531_392
LEFT_TO_POSTGRESQL = 0.75
# One for each of two slots (`loader.work.SLOTS`), one to tidy, one to tell of batches.
LOADER_CONNECTIONS = 4


@pytest.mark.parametrize("stack", STACKS)
def test_the_server_takes_all_connections_of_all_tasks_in_the_middle_of_a_deploy(stack: str) -> None:
    """docs/decisions/0006: there is no proxy before it. A deploy has twice the tasks for a while."""
    run = declared(stack)
    api, loader = (
        run.one("appautoscaling/target:Target", name).inputs["maxCapacity"] for name in ("-api", "-loader")
    )
    pools = read_settings(environment(run, "-api", "api"))
    needed = 2 * (api * pools.workers * pools.threads + loader * LOADER_CONNECTIONS)
    memory = MEMORY_GIB[database(run).inputs["instanceClass"]] * 2**30

    assert needed < memory * LEFT_TO_POSTGRESQL / BYTES_PER_CONNECTION


def environment(run: Run, service: str, container: str) -> dict[str, str]:
    (found,) = [each for each in containers(run, service) if each["name"] == container]
    return {entry["name"]: entry["value"] for entry in found["environment"]}


def containers(run: Run, service: str) -> list[dict]:
    return json.loads(run.one("TaskDefinition", service).inputs["containerDefinitions"])


def hosts(run: Run, service: str) -> dict[str, str]:
    """The database's host, by container."""
    return {
        each["name"]: environment(run, service, each["name"])["PGHOST"] for each in containers(run, service)
    }
