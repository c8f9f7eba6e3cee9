"""What a stack may choose: read from its configuration, and checked as a whole before anything is declared.

`Pulumi.yaml` holds the default of each key, `Pulumi.<stack>.yaml` what a stack does otherwise; `__main__.py`
has both read here, as the one map that Pulumi makes of them.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pulumi

from infra.reader import Reader
from infra.workload_settings import (
    LOG_DAYS,
    ApiSettings,
    ImageSettings,
    LoaderSettings,
    StorageSettings,
    TaskSettings,
    read_api,
    read_images,
    read_loader,
    read_storage,
    read_tasks,
)

# A stack's name is part of physical names. RDS allows them lower-case letters, digits and single hyphens, and
# 63 characters, of which `rates-`, `-database-1-` and the random end leave this many.
STACK_NAME = re.compile(r"(?=.{1,32}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# Characters that AWS allows in every tag.
OWNER = re.compile(r"[\w.:/=+@ -]{1,64}", re.ASCII)
# AWS allows a VPC /16 to /28; below /22 the smallest subnets of `network` leave no room for tasks.
VPC_PREFIXES = range(16, 23)
# The upper end is the room in the layout of `network`.
ZONES = range(2, 5)
# The majors that migrations and queries are tried on. RDS has 18 since 18.1, Aurora since 18.3.
POSTGRES_VERSION = re.compile(r"(15|16|17|18)(\.\d+)?")
INSTANCE_CLASS = re.compile(r"db\.[a-z0-9]+\.[a-z0-9]+")
# What RDS sells of gp3 for PostgreSQL.
STORAGE_GIB = range(20, 65537)
ACUS = re.compile(r"\d{1,3}(\.[05])?")
ACUS_MAX = 256
BACKUP_DAYS = range(36)
# A fault of a Friday evening is found on Monday; a week lets it be undone.
PRODUCTION_BACKUP_DAYS_MIN = 7


class SettingsError(pulumi.RunError):
    """All that is wrong with a stack's configuration, a line each. Pulumi prints it without a traceback."""

    def __init__(self, stack: str, faults: Sequence[str]) -> None:
        super().__init__("\n  ".join([f"the configuration of stack {stack} cannot be used:", *faults]))


class Nat(StrEnum):
    """NAT gateways, by which private subnets reach the internet."""

    NONE = "none"
    SINGLE = "single"
    PER_ZONE = "per-zone"


class Engine(StrEnum):
    """As RDS names them."""

    POSTGRES = "postgres"
    AURORA = "aurora-postgresql"


@dataclass(frozen=True)
class NetworkSettings:
    cidr: ipaddress.IPv4Network
    zones: int
    nat: Nat
    flow_log_days: int  # 0: no flow logs


@dataclass(frozen=True)
class InstanceSize:
    """An RDS instance, whose storage grows by itself up to a limit."""

    instance_class: str
    storage_gib: int
    storage_gib_max: int


@dataclass(frozen=True)
class ServerlessSize:
    """An Aurora Serverless v2 cluster, in Aurora capacity units of about 2 GiB of memory each."""

    acus_min: float
    acus_max: float

    @property
    def pauses(self) -> bool:
        return self.acus_min == 0


@dataclass(frozen=True)
class DatabaseSettings:
    engine: Engine
    version: str
    size: InstanceSize | ServerlessSize
    multi_az: bool
    backup_days: int
    deletion_protection: bool
    final_snapshot: bool
    apply_immediately: bool
    production: bool

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    @property
    def follows_minors(self) -> bool:
        """Whether RDS upgrades it by itself, which would undo a minor that is given."""
        return self.version == self.major


@dataclass(frozen=True)
class Settings:
    region: str
    owner: str
    production: bool
    network: NetworkSettings
    database: DatabaseSettings
    storage: StorageSettings
    images: ImageSettings
    tasks: TaskSettings
    api: ApiSettings
    loader: LoaderSettings


def read_settings(project: str, stack: str, config: Mapping[str, str]) -> Settings:
    """Reads a stack's whole configuration, defaults included, keyed `namespace:key`.

    Raises SettingsError, which names every bad key at once: what was found, and what is allowed or why not.
    """
    aws, rates = Reader("aws", config), Reader(project, config)
    production = rates.flag("production")
    settings = Settings(
        region=aws.text("region", REGION, "an AWS region, such as eu-west-1"),
        owner=rates.text("owner", OWNER, "1 to 64 letters, digits, blanks and any of _.:/=+@-"),
        production=production,
        network=read_network(rates, production),
        database=read_database(rates, production),
        storage=read_storage(rates, production),
        images=read_images(rates, production),
        tasks=read_tasks(rates),
        api=read_api(rates, production),
        loader=read_loader(rates, production),
    )
    size = settings.database.size
    pauses = isinstance(size, ServerlessSize) and size.pauses and not production
    reason = "databaseAcusMin is 0, and a loader that always runs would let the database never pause"
    rates.demand("loaderTasksMin", not (pauses and settings.loader.size.tasks_min), reason)
    rates.demand("production", production or stack != "prod", "the stack named prod is production")
    faults = [*aws.faults.values(), *rates.faults.values(), *rates.unknown()]
    if not STACK_NAME.fullmatch(stack):
        faults.append(f"the stack's name is {stack!r}: allowed is 1 to 32 of a-z, 0-9 and single hyphens")
    if faults:
        raise SettingsError(stack, faults)
    return settings


def read_network(reader: Reader, production: bool) -> NetworkSettings:
    nat = reader.choice("natGateways", Nat)
    if production:
        reason = (
            "production takes none or per-zone: when the zone of a single one fails, all lose their way out"
        )
        reader.demand("natGateways", nat is not Nat.SINGLE, reason)
    return NetworkSettings(
        cidr=reader.private_cidr("vpcCidr", VPC_PREFIXES),
        zones=reader.whole("zones", ZONES, "; a database needs subnets in two zones"),
        nat=nat,
        flow_log_days=reader.whole("flowLogDays", (0, *LOG_DAYS)),
    )


def read_database(reader: Reader, production: bool) -> DatabaseSettings:
    engine = reader.choice("databaseEngine", Engine)
    database = DatabaseSettings(
        engine=engine,
        version=reader.text("databaseVersion", POSTGRES_VERSION, "15 to 18, alone or with a minor"),
        size=read_size(reader, engine),
        multi_az=reader.flag("databaseMultiAz"),
        backup_days=reader.whole("databaseBackupDays", BACKUP_DAYS),
        deletion_protection=reader.flag("databaseDeletionProtection"),
        final_snapshot=reader.flag("databaseFinalSnapshot"),
        apply_immediately=reader.flag("databaseApplyImmediately"),
        production=production,
    )
    if engine is Engine.AURORA:
        reader.demand("databaseBackupDays", database.backup_days >= 1, "Aurora keeps at least 1")
    if production:
        demand_production(reader, database)
    return database


def read_size(reader: Reader, engine: Engine) -> InstanceSize | ServerlessSize:
    """The engine's own keys have to be set, and those of the other engine must not be."""
    instance_class = reader.text_if_set(
        "databaseInstanceClass", INSTANCE_CLASS, "a class such as db.t4g.micro"
    )
    storage_gib = reader.whole_if_set("databaseStorageGib", STORAGE_GIB)
    storage_gib_max = reader.whole_if_set("databaseStorageGibMax", STORAGE_GIB)
    acus_min, acus_max = read_acus(reader, "databaseAcusMin", 0), read_acus(reader, "databaseAcusMax", 1)
    instance = {
        "databaseInstanceClass": instance_class,
        "databaseStorageGib": storage_gib,
        "databaseStorageGibMax": storage_gib_max,
    }
    serverless = {"databaseAcusMin": acus_min, "databaseAcusMax": acus_max}
    postgres = engine is Engine.POSTGRES
    if "databaseEngine" not in reader.faults:
        for key, value in (instance if postgres else serverless).items():
            reader.demand(key, value is not None, f"engine {engine} needs it")
        for key, value in (serverless if postgres else instance).items():
            reader.demand(key, value is None, f"engine {engine} has none, its size is set by other keys")
    if storage_gib and storage_gib_max:
        enough = storage_gib_max * 10 >= storage_gib * 11
        reason = f"RDS wants it a tenth above databaseStorageGib, {storage_gib}, or more"
        reader.demand("databaseStorageGibMax", enough, reason)
    if acus_min is not None and acus_max is not None:
        reader.demand("databaseAcusMin", acus_min <= acus_max, f"databaseAcusMax is only {acus_max:g}")
    if postgres:
        return InstanceSize(instance_class or "", storage_gib or 0, storage_gib_max or 0)
    return ServerlessSize(acus_min or 0, acus_max or 0)


def read_acus(reader: Reader, key: str, lowest: int) -> float | None:
    value = reader.text_if_set(key, ACUS, f"{lowest} to {ACUS_MAX} in steps of 0.5")
    if value is None or key in reader.faults:
        return None
    reader.demand(key, lowest <= float(value) <= ACUS_MAX, f"allowed is {lowest} to {ACUS_MAX}")
    return float(value)


def demand_production(reader: Reader, database: DatabaseSettings) -> None:
    """What a database that serves customers does not do without."""
    size, days = database.size, PRODUCTION_BACKUP_DAYS_MIN
    reader.demand("databaseMultiAz", database.multi_az, "production needs it, to outlive a zone")
    reader.demand(
        "databaseDeletionProtection",
        database.deletion_protection,
        "production needs it, or one call deletes the data",
    )
    reader.demand(
        "databaseFinalSnapshot",
        database.final_snapshot,
        "production needs it, or what is deleted is gone for good",
    )
    reader.demand(
        "databaseBackupDays",
        database.backup_days >= days,
        f"production needs {days} or more, to undo a fault that is found late",
    )
    reader.demand(
        "databaseAcusMin",
        not (isinstance(size, ServerlessSize) and size.pauses),
        "production does not pause: the first request after a pause waits about 15 s",
    )
