"""The database of a stack: engine, size, and how safe its data is."""

import re
from dataclasses import dataclass
from enum import StrEnum

from infra.settings.reader import Reader

# The majors that migrations and queries are tried on. RDS has 18 since 18.1, Aurora since 18.3.
POSTGRES_VERSION = re.compile(r"(15|16|17|18)(\.\d+)?")
INSTANCE_CLASS = re.compile(r"db\.[a-z0-9]+\.[a-z0-9]+")
# What RDS sells of gp3 for PostgreSQL.
STORAGE_GIB = range(20, 65537)
ACUS = re.compile(r"\d{1,3}(\.[05])?")
ACUS_MAX = 256
# What Aurora takes beside the writer.
READERS = range(16)
BACKUP_DAYS = range(36)
# A fault of a Friday evening is found on Monday; a week lets it be undone.
PRODUCTION_BACKUP_DAYS_MIN = 7


class Engine(StrEnum):
    """As RDS names them."""

    POSTGRES = "postgres"
    AURORA = "aurora-postgresql"


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
    multi_az: bool  # of an instance; a cluster has readers
    readers: int  # of a cluster, beside the writer, in other zones
    backup_days: int
    deletion_protection: bool
    final_snapshot: bool
    apply_immediately: bool
    production: bool

    @property
    def pauses(self) -> bool:
        return isinstance(self.size, ServerlessSize) and self.size.pauses

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]

    @property
    def follows_minors(self) -> bool:
        """Whether RDS upgrades it by itself, which would undo a minor that is given."""
        return self.version == self.major


def read_database(reader: Reader, production: bool) -> DatabaseSettings:
    engine = reader.choice("databaseEngine", Engine)
    database = DatabaseSettings(
        engine=engine,
        version=reader.text("databaseVersion", POSTGRES_VERSION, "15 to 18, alone or with a minor"),
        size=read_size(reader, engine),
        multi_az=reader.flag("databaseMultiAz"),
        readers=reader.whole("databaseReaders", READERS),
        backup_days=reader.whole("databaseBackupDays", BACKUP_DAYS),
        deletion_protection=reader.flag("databaseDeletionProtection"),
        final_snapshot=reader.flag("databaseFinalSnapshot"),
        apply_immediately=reader.flag("databaseApplyImmediately"),
        production=production,
    )
    if engine is Engine.AURORA:
        reader.demand("databaseBackupDays", database.backup_days >= 1, "Aurora keeps at least 1")
        reason = f"engine {engine} has readers in other zones, any of which takes over: set databaseReaders"
        reader.demand("databaseMultiAz", not database.multi_az, reason)
    else:
        reason = f"engine {engine} has none; its standby, databaseMultiAz, answers nobody"
        reader.demand("databaseReaders", not database.readers, reason)
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
    days = PRODUCTION_BACKUP_DAYS_MIN
    if database.engine is Engine.AURORA:
        reason = "production needs 1 or more, to outlive a zone"
        reader.demand("databaseReaders", database.readers >= 1, reason)
    else:
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
        not database.pauses,
        "production does not pause: the first request after a pause waits about 15 s",
    )
