"""The tasks of the API and the loader: how big, how many, and how new ones take over."""

import re
from dataclasses import dataclass
from enum import StrEnum

from infra.settings.observability import LOG_DAYS
from infra.settings.reader import Reader, any_of
from infra.settings.storage import ORIGIN

# What Fargate sells: 1024ths of a processor, and the MiB of memory that go with so many.
FARGATE = {
    256: (512, 1024, 2048),
    512: range(1024, 4097, 1024),
    1024: range(2048, 8193, 1024),
    2048: range(4096, 16385, 1024),
    4096: range(8192, 30721, 1024),
    8192: range(16384, 61441, 4096),
    16384: range(32768, 122881, 8192),
}
MEMORY_MIB = range(512, 122881)
TASKS = range(1, 501)
TASKS_FROM_NONE = range(501)
# ECS spreads them over the zones.
PRODUCTION_TASKS_MIN = 2
REQUESTS_PER_TASK = range(1, 1_000_001)
ANY_ORIGIN = "*"
API_ORIGIN = re.compile(rf"{re.escape(ANY_ORIGIN)}|{ORIGIN.pattern}")
# Of what the library `limits` takes, what leaves no doubt.
LIMIT = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)(; ?[1-9]\d{0,8}/(second|minute|hour|day))*")
BACKLOG_PER_TASK = range(1, 10_001)
# Up to 20 GiB a task has anyway, and Fargate takes no setting for it.
STORAGE_GIB = range(21, 201)


class Rollout(StrEnum):
    """How new API tasks take over from old ones."""

    ROLLING = "rolling"  # as they get ready
    CANARY = "canary"  # a few requests first, then all
    LINEAR = "linear"  # more requests step by step


class Architecture(StrEnum):
    """As ECS names them. The images have to be built for it."""

    X86_64 = "X86_64"
    ARM64 = "ARM64"


@dataclass(frozen=True)
class TaskSettings:
    """What holds for the tasks of every service."""

    architecture: Architecture
    log_days: int


@dataclass(frozen=True)
class ServiceSize:
    """A task's size, and the range in which autoscaling chooses how many there are."""

    cpu: int  # 1024 are one processor
    memory_mib: int
    tasks_min: int
    tasks_max: int
    spot: bool


@dataclass(frozen=True)
class LoaderSettings:
    size: ServiceSize
    backlog_per_task: int  # messages
    storage_gib: int  # of a disk that goes with the task


@dataclass(frozen=True)
class ApiSettings:
    size: ServiceSize
    requests_per_task: int  # a minute
    rollout: Rollout
    origins: tuple[str, ...]  # of pages in browsers; none: no page may
    limit: str | None  # None: none
    private_batches: bool  # reading them takes a token


def read_tasks(reader: Reader) -> TaskSettings:
    return TaskSettings(
        architecture=reader.choice("cpuArchitecture", Architecture),
        log_days=reader.whole("logDays", LOG_DAYS),
    )


def read_api(reader: Reader, production: bool) -> ApiSettings:
    api = ApiSettings(
        size=read_service_size(reader, "api", TASKS),
        requests_per_task=reader.whole("apiRequestsPerTask", REQUESTS_PER_TASK),
        rollout=reader.choice("apiRollout", Rollout),
        origins=reader.texts("apiOrigins", API_ORIGIN, "origins such as https://app.example.com, or *"),
        limit=reader.text_if_set("apiLimit", LIMIT, "requests a time such as 100/minute; 5000/day"),
        private_batches=reader.flag("apiPrivateBatches"),
    )
    alone = api.origins == (ANY_ORIGIN,) or ANY_ORIGIN not in api.origins
    reader.demand("apiOrigins", alone, "* stands for all, and alone")
    if production:
        enough = api.size.tasks_min >= PRODUCTION_TASKS_MIN
        reader.demand("apiTasksMin", enough, "production needs 2 or more, to outlive a zone")
        reason = "production takes none: AWS takes Spot back when it likes, from all tasks at once"
        reader.demand("apiSpot", not api.size.spot, reason)
    return api


def read_loader(reader: Reader, production: bool) -> LoaderSettings:
    loader = LoaderSettings(
        size=read_service_size(reader, "loader", TASKS_FROM_NONE),
        backlog_per_task=reader.whole("loaderBacklogPerTask", BACKLOG_PER_TASK),
        storage_gib=reader.whole("loaderStorageGib", STORAGE_GIB),
    )
    if production:
        reason = "production needs 1 or more: from none, a batch waits minutes for its first task"
        reader.demand("loaderTasksMin", loader.size.tasks_min >= 1, reason)
    return loader


def read_service_size(reader: Reader, service: str, tasks_min: range) -> ServiceSize:
    size = ServiceSize(
        cpu=reader.whole(f"{service}Cpu", tuple(FARGATE)),
        memory_mib=reader.whole(f"{service}MemoryMib", MEMORY_MIB),
        tasks_min=reader.whole(f"{service}TasksMin", tasks_min),
        tasks_max=reader.whole(f"{service}TasksMax", TASKS),
        spot=reader.flag(f"{service}Spot"),
    )
    if size.cpu:
        sold = FARGATE[size.cpu]
        steps = f" in steps of {sold.step}" if isinstance(sold, range) else ""
        reason = f"with {service}Cpu {size.cpu}, allowed is {any_of(sold)}{steps}"
        reader.demand(f"{service}MemoryMib", size.memory_mib in sold, reason)
    if f"{service}TasksMax" not in reader.faults:
        enough = size.tasks_min <= size.tasks_max
        reader.demand(f"{service}TasksMin", enough, f"{service}TasksMax is only {size.tasks_max}")
    return size
