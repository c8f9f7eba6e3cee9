"""What is watched of the database: of each of its servers, since those of a cluster swap roles."""

import pulumi

from infra import thresholds
from infra.alarms import BELOW, Alarm
from infra.database import Database
from infra.metrics import of_server
from infra.settings.database import DatabaseSettings, InstanceSize, ServerlessSize

GIB = 2**30
ACU_BYTES = 2 * GIB
# Memory of a `large` one, by the first letter of its class; AWS doubles it from size to size. Of a class that
# is not here the least is assumed: its alarm comes late rather than for nothing.
LARGE_GIB = {"c": 4, "m": 8, "t": 8, "r": 16, "z": 16, "x": 32}
LARGES = {"micro": 1 / 8, "small": 1 / 4, "medium": 1 / 2, "large": 1, "xlarge": 2}


def memory_bytes(size: InstanceSize | ServerlessSize) -> int:
    """At its largest: CloudWatch counts a cluster's free memory from there too."""
    if isinstance(size, ServerlessSize):
        return int(size.acus_max * ACU_BYTES)
    _db, family, named = size.instance_class.split(".")
    times = named.removesuffix("xlarge")
    larges = 2 * int(times) if times.isdigit() else LARGES.get(named, 1)
    return int(LARGE_GIB.get(family[0], min(LARGE_GIB.values())) * larges * GIB)


def connections_max(size: InstanceSize | ServerlessSize) -> int:
    small = isinstance(size, ServerlessSize) and size.acus_min <= 0.5
    most = thresholds.SMALL_CLUSTER_CONNECTIONS_MAX if small else thresholds.CONNECTIONS_MAX
    return min(memory_bytes(size) // thresholds.CONNECTION_BYTES, most)


def database_alarms(database: Database, settings: DatabaseSettings) -> list[Alarm]:
    servers = database.server_identifiers
    names = ["database"] if len(servers) == 1 else [f"database-{n}" for n in range(1, len(servers) + 1)]
    return [
        alarm
        for name, server in zip(names, servers, strict=True)
        for alarm in [
            *pressure_alarms(name, server, settings),
            *load_alarms(name, server, database.insights),
            *storage_alarms(name, server, settings),
        ]
    ]


def pressure_alarms(name: str, server: pulumi.Output[str], settings: DatabaseSettings) -> list[Alarm]:
    return [
        Alarm(
            name=f"{name}-cpu",
            means="The processor of the database is busy.",
            todo="Performance Insights show which statements it works on; a larger server is a setting.",
            metrics={"cpu": of_server(server, "CPUUtilization")},
            threshold=thresholds.CPU_PERCENT,
            minutes=thresholds.BUSY_MINUTES,
        ),
        Alarm(
            name=f"{name}-memory",
            means="The database has nearly no memory left.",
            todo="See how many connections there are; a larger server is a setting.",
            metrics={"free": of_server(server, "FreeableMemory")},
            comparison=BELOW,
            threshold=int(memory_bytes(settings.size) * thresholds.FREE_MEMORY_SHARE),
            minutes=thresholds.PRESSED_MINUTES,
        ),
        Alarm(
            name=f"{name}-connections",
            means="The database takes not many more connections.",
            todo="See who holds them in pg_stat_activity; fewer or smaller tasks need fewer.",
            metrics={"connections": of_server(server, "DatabaseConnections", "Maximum")},
            threshold=int(connections_max(settings.size) * thresholds.CONNECTIONS_SHARE),
            minutes=thresholds.BUSY_MINUTES,
        ),
    ]


def load_alarms(name: str, server: pulumi.Output[str], insights: bool) -> list[Alarm]:
    if not insights:
        return []
    return [
        Alarm(
            name=f"{name}-load",
            means="More sessions of the database work or wait than it has processors.",
            todo="Performance Insights show what they wait for: locks, the disk or the processor.",
            metrics={"load": of_server(server, "DBLoadRelativeToNumVCPUs")},
            threshold=thresholds.LOAD_PER_VCPU,
            minutes=thresholds.PRESSED_MINUTES,
        )
    ]


def storage_alarms(name: str, server: pulumi.Output[str], settings: DatabaseSettings) -> list[Alarm]:
    latencies = [
        Alarm(
            name=f"{name}-{what}",
            means=f"To {what} takes the database's disk over {int(threshold_s * 1000)} ms.",
            todo="Compare its operations a second with what its storage allows; more storage has more.",
            metrics={"latency": of_server(server, metric)},
            threshold=threshold_s,
            minutes=thresholds.BUSY_MINUTES,
        )
        for what, metric, threshold_s in [
            ("write", "WriteLatency", thresholds.WRITE_S),
            ("read", "ReadLatency", thresholds.READ_S),
        ]
    ]
    if isinstance(settings.size, InstanceSize):
        return [*latencies, full_alarm(name, server)]
    return [*latencies, *([lag_alarm(name, server)] if settings.readers else [])]


def full_alarm(name: str, server: pulumi.Output[str]) -> Alarm:
    return Alarm(
        name=f"{name}-storage",
        means="The database's storage is nearly full, and it stops when it is.",
        todo="It grows by itself up to databaseStorageGibMax, at most every 6 hours: raise that.",
        metrics={"free": of_server(server, "FreeStorageSpace", "Minimum")},
        comparison=BELOW,
        threshold=thresholds.FREE_STORAGE_BYTES,
        minutes=thresholds.BUSY_MINUTES,
    )


def lag_alarm(name: str, server: pulumi.Output[str]) -> Alarm:
    """The writer, whichever it is, has no lag and no value."""
    return Alarm(
        name=f"{name}-lag",
        means="A reader is behind the writer, and so are the answers that come from it.",
        todo="See whether a load writes much, or a long statement holds the reader up.",
        metrics={"lag": of_server(server, "AuroraReplicaLag", "Maximum")},
        threshold=thresholds.REPLICA_LAG_MS,
        minutes=thresholds.BUSY_MINUTES,
    )
