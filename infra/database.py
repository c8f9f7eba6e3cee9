"""PostgreSQL: an RDS instance or an Aurora Serverless v2 cluster, and the group of those who may reach it.

Nobody handles the master password: RDS makes it, keeps it in Secrets Manager and rotates it. The API and the
loader log in with IAM tokens.
"""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.keys import declare_key
from infra.logs import Logs
from infra.security_groups import let_through
from infra.seed import copy_of_snapshot, put_once
from infra.settings.database import DatabaseSettings, Engine, InstanceSize, ServerlessSize
from infra.settings.seed import Seed, Snapshot

DATABASE_NAME = "rates"
MASTER_USER = "rates_owner"
PORT = 5432
# RDS's default, valid until 2061; named, so that a new default restarts nobody's server.
CA_CERTIFICATE = "rds-ca-rsa2048-g1"
# UTC; apart, as RDS wants them, and in Europe's night. RDS picks any hour where none is given.
BACKUP_WINDOW = "01:00-02:00"
MAINTENANCE_WINDOW = "sun:03:00-sun:04:00"
# The free tier of Performance Insights.
INSIGHTS_DAYS = 7
# AWS advises against it on servers that may have less.
INSIGHTS_ACUS_MIN = 2
TLS_ONLY = {"rds.force_ssl": "1"}
# Statements from 1,000 ms on, and waits for locks.
LOGGING = {"log_min_duration_statement": "1000", "log_lock_waits": "1"}
# Aurora pauses once nobody has been connected for this long, 300 s at least; so idle sessions have to end.
PAUSE_AFTER_S = 300
END_IDLE_SESSIONS = {"idle_session_timeout": "60000"}  # ms
# What it exports to CloudWatch Logs; `upgrade` of an instance is there when RDS takes it to another major.
EXPORTED_LOGS = {Engine.POSTGRES: ["postgresql", "upgrade"], Engine.AURORA: ["postgresql"]}


def exported_log_groups(name: str, engine: Engine) -> dict[str, str]:
    """Where RDS writes each log."""
    kind = "cluster" if engine is Engine.AURORA else "instance"
    return {log: f"/aws/rds/{kind}/{name}/{log}" for log in EXPORTED_LOGS[engine]}


@dataclass(frozen=True)
class Server:
    """What an instance and a cluster have in common once they are declared."""

    identifier: pulumi.Output[str]
    arn: pulumi.Output[str]
    host: pulumi.Output[str]
    reader_host: pulumi.Output[str]
    resource_id: pulumi.Output[str]
    master_secret_arn: pulumi.Output[str]
    server_identifiers: list[pulumi.Output[str]]
    insights: bool


@dataclass(frozen=True)
class Place:
    """Where the servers lie, and where what they log is kept."""

    vpc_id: pulumi.Output[str]
    subnet_ids: pulumi.Output[list[str]]
    logs: Logs


class Database(pulumi.ComponentResource):
    """Reachable on `port` by what carries `client_security_group_id`, and by nothing else.

    Its names are fixed, so that its logs can be declared before it; a change that would replace it fails.
    `reader_host` is where to read only: the readers of a cluster that has some, and otherwise `host`.
    `server_identifiers` are the instance's, or those of a cluster; `insights` says whether load is measured.
    `pauses` says whether it sleeps while nobody asks; `key_arn` is the key of the master secret too.
    """

    host: pulumi.Output[str]
    reader_host: pulumi.Output[str]
    port: int
    identifier: pulumi.Output[str]
    server_identifiers: list[pulumi.Output[str]]
    insights: bool
    arn: pulumi.Output[str]
    database_name: str
    pauses: bool
    master_secret_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    client_security_group_id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: DatabaseSettings,
        seed: Seed,
        place: Place,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:database:Database", name, None, opts)
        self._base = name
        self._settings = settings
        self._inside = pulumi.ResourceOptions(parent=self)
        # For what data would be lost with: Pulumi deletes or replaces it only after `pulumi state unprotect`.
        self._data = pulumi.ResourceOptions(parent=self, protect=settings.production)
        self._logged = pulumi.ResourceOptions.merge(
            self._data, pulumi.ResourceOptions(depends_on=self._declare_log_groups(place.logs))
        )

        self._key = declare_key(
            name,
            f"Data, backups and master secret of {name}",
            # A snapshot that outlives the stack is worth nothing without its key.
            pulumi.ResourceOptions.merge(
                self._data, pulumi.ResourceOptions(retain_on_delete=settings.final_snapshot)
            ),
        )
        # Its owner and its database have to be called as here, which those of any copy of this system are.
        self._snapshot = (
            copy_of_snapshot(f"{name}-seed", seed, settings.engine, self._key.arn, self._inside)
            if isinstance(seed, Snapshot)
            else None
        )
        self._subnet_group = aws.rds.SubnetGroup(name, subnet_ids=place.subnet_ids, opts=self._inside)
        self._security_group = aws.ec2.SecurityGroup(
            name, description="The database", vpc_id=place.vpc_id, opts=self._inside
        )
        self.client_security_group_id = self._declare_clients(place.vpc_id)
        match settings.size:
            case InstanceSize() as size:
                server = self._declare_instance(size)
            case ServerlessSize() as size:
                server = self._declare_cluster(size)

        self.identifier = server.identifier
        self.server_identifiers = server.server_identifiers
        self.insights = server.insights
        self.arn = server.arn
        self.host = server.host
        self.reader_host = server.reader_host
        self.port = PORT
        self.database_name = DATABASE_NAME
        self.pauses = settings.pauses
        self.master_secret_arn = server.master_secret_arn
        self.key_arn = self._key.arn
        self._server = server
        self.register_outputs({"host": self.host, "clientSecurityGroupId": self.client_security_group_id})

    def login_arn(self, user: str) -> pulumi.Output[str]:
        """What IAM policies call a user of this database in `rds-db:connect`."""

        def login(arn: str, resource_id: str) -> str:
            _arn, partition, _rds, region, account, *_rest = arn.split(":")
            return f"arn:{partition}:rds-db:{region}:{account}:dbuser:{resource_id}/{user}"

        return pulumi.Output.all(self._server.arn, self._server.resource_id).apply(lambda both: login(*both))

    def _declare_log_groups(self, logs: Logs) -> list[aws.cloudwatch.LogGroup]:
        groups = exported_log_groups(self._base, self._settings.engine)
        return [
            logs.declare_log_group(f"{self._base}-{log}", logs.days, self, group)
            for log, group in groups.items()
        ]

    def _declare_clients(self, vpc_id: pulumi.Input[str]) -> pulumi.Output[str]:
        clients = aws.ec2.SecurityGroup(
            f"{self._base}-clients",
            description="Whatever carries this group may connect to the database",
            vpc_id=vpc_id,
            opts=self._inside,
        )
        let_through(f"{self._base}-from-clients", clients.id, self._security_group.id, PORT, self._inside)
        return clients.id

    def _declare_instance(self, size: InstanceSize) -> Server:
        settings = self._settings
        instance = aws.rds.Instance(
            self._base,
            identifier=self._base,
            engine=settings.engine,
            engine_version=settings.version,
            auto_minor_version_upgrade=settings.follows_minors,
            instance_class=size.instance_class,
            storage_type="gp3",
            allocated_storage=size.storage_gib,
            max_allocated_storage=size.storage_gib_max,
            multi_az=settings.multi_az,
            snapshot_identifier=self._snapshot,
            db_name=DATABASE_NAME,
            port=PORT,
            db_subnet_group_name=self._subnet_group.name,
            vpc_security_group_ids=[self._security_group.id],
            publicly_accessible=False,
            ca_cert_identifier=CA_CERTIFICATE,
            iam_database_authentication_enabled=True,
            username=MASTER_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=self._key.arn,
            storage_encrypted=True,
            kms_key_id=self._key.arn,
            parameter_group_name=self._parameter_group(TLS_ONLY | LOGGING),
            enabled_cloudwatch_logs_exports=EXPORTED_LOGS[settings.engine],
            performance_insights_enabled=True,
            performance_insights_retention_period=INSIGHTS_DAYS,
            performance_insights_kms_key_id=self._key.arn,
            backup_retention_period=settings.backup_days,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            apply_immediately=settings.apply_immediately,
            deletion_protection=settings.deletion_protection,
            delete_automated_backups=not settings.production,
            skip_final_snapshot=not settings.final_snapshot,
            final_snapshot_identifier=self._final_snapshot(),
            copy_tags_to_snapshot=True,
            # RDS makes a new database of another snapshot.
            opts=put_once(self._logged, "snapshotIdentifier"),
        )
        return Server(
            identifier=instance.identifier,
            arn=instance.arn,
            host=instance.address,
            reader_host=instance.address,
            resource_id=instance.resource_id,
            master_secret_arn=instance.master_user_secrets[0].secret_arn,
            server_identifiers=[instance.identifier],
            insights=True,
        )

    def _declare_cluster(self, size: ServerlessSize) -> Server:
        settings = self._settings
        cluster = aws.rds.Cluster(
            self._base,
            cluster_identifier=self._base,
            engine=settings.engine,
            engine_mode="provisioned",  # which Serverless v2 is too; `serverless` is the end-of-life v1
            engine_version=settings.version,
            serverlessv2_scaling_configuration=aws.rds.ClusterServerlessv2ScalingConfigurationArgs(
                min_capacity=size.acus_min,
                max_capacity=size.acus_max,
                seconds_until_auto_pause=PAUSE_AFTER_S if size.pauses else None,
            ),
            snapshot_identifier=self._snapshot,
            database_name=DATABASE_NAME,
            port=PORT,
            db_subnet_group_name=self._subnet_group.name,
            vpc_security_group_ids=[self._security_group.id],
            iam_database_authentication_enabled=True,
            master_username=MASTER_USER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=self._key.arn,
            storage_encrypted=True,
            kms_key_id=self._key.arn,
            db_cluster_parameter_group_name=self._cluster_parameter_group(TLS_ONLY),
            enabled_cloudwatch_logs_exports=EXPORTED_LOGS[settings.engine],
            backup_retention_period=settings.backup_days,
            preferred_backup_window=BACKUP_WINDOW,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            apply_immediately=settings.apply_immediately,
            deletion_protection=settings.deletion_protection,
            delete_automated_backups=not settings.production,
            skip_final_snapshot=not settings.final_snapshot,
            final_snapshot_identifier=self._final_snapshot(),
            copy_tags_to_snapshot=True,
            opts=put_once(self._logged, "snapshotIdentifier"),
        )
        # Aurora takes these from the servers' group alone; in the cluster's they would silently do nothing.
        parameter_group_name = self._parameter_group(LOGGING | (END_IDLE_SESSIONS if size.pauses else {}))
        insights = size.acus_min >= INSIGHTS_ACUS_MIN
        # Numbered, since writer and reader swap roles in a failover. Aurora spreads them over the zones.
        servers = [
            aws.rds.ClusterInstance(
                f"{self._base}-{number}",
                identifier=f"{self._base}-{number}",
                cluster_identifier=cluster.id,
                engine=aws.rds.EngineType.AURORA_POSTGRESQL,
                engine_version=cluster.engine_version,
                auto_minor_version_upgrade=settings.follows_minors,
                instance_class="db.serverless",
                db_subnet_group_name=self._subnet_group.name,
                db_parameter_group_name=parameter_group_name,
                publicly_accessible=False,
                ca_cert_identifier=CA_CERTIFICATE,
                performance_insights_enabled=insights,
                performance_insights_kms_key_id=self._key.arn if insights else None,
                apply_immediately=settings.apply_immediately,
                copy_tags_to_snapshot=True,
                opts=self._data,
            )
            for number in range(1, settings.readers + 2)
        ]
        return Server(
            identifier=cluster.cluster_identifier,
            arn=cluster.arn,
            host=cluster.endpoint,
            reader_host=cluster.reader_endpoint if settings.readers else cluster.endpoint,
            resource_id=cluster.cluster_resource_id,
            master_secret_arn=cluster.master_user_secrets[0].secret_arn,
            server_identifiers=[server.identifier for server in servers],
            insights=insights,
        )

    def _parameter_group(self, parameters: dict[str, str]) -> pulumi.Output[str]:
        group = aws.rds.ParameterGroup(
            self._base,
            family=f"{self._settings.engine}{self._settings.major}",
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name=parameter, value=value)
                for parameter, value in parameters.items()
            ],
            opts=self._inside,
        )
        return group.name

    def _cluster_parameter_group(self, parameters: dict[str, str]) -> pulumi.Output[str]:
        group = aws.rds.ClusterParameterGroup(
            self._base,
            family=f"{self._settings.engine}{self._settings.major}",
            parameters=[
                aws.rds.ClusterParameterGroupParameterArgs(name=parameter, value=value)
                for parameter, value in parameters.items()
            ],
            opts=self._inside,
        )
        return group.name

    def _final_snapshot(self) -> pulumi.Output[str] | None:
        """Unique by the key's id, since it outlives the stack, and the next of that name leaves one too."""
        if not self._settings.final_snapshot:
            return None
        return pulumi.Output.concat(self._base, "-final-", self._key.key_id)
