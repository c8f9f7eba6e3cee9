"""What a stack may choose: read from its configuration, and checked as a whole before anything is declared.

`Pulumi.yaml` holds the default of each key, `Pulumi.<stack>.yaml` what a stack does otherwise; `__main__.py`
has both read here, as the one map that Pulumi makes of them.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from infra.settings.bastion import BastionSettings, read_bastion
from infra.settings.database import DatabaseSettings, read_database
from infra.settings.delivery import DeliverySettings, ReviewSettings, read_delivery
from infra.settings.edge import EdgeSettings, read_edge
from infra.settings.images import ImageSettings, read_images
from infra.settings.network import NetworkSettings, read_network
from infra.settings.observability import ObservabilitySettings, read_observability
from infra.settings.reader import Reader
from infra.settings.schedule import AwakeHours, read_awake_hours, read_expiry
from infra.settings.seed import Seed, Snapshot, read_seed
from infra.settings.services import (
    ApiSettings,
    LoaderSettings,
    Rollout,
    TaskSettings,
    read_api,
    read_loader,
    read_tasks,
)
from infra.settings.storage import StorageSettings, read_storage

# A stack's name is part of physical names. RDS allows them lower-case letters, digits and single hyphens, and
# 63 characters, of which `rates-`, `-database-1-` and the random end leave this many.
STACK_NAME = re.compile(r"(?=.{1,32}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
# Characters that AWS allows in every tag.
OWNER = re.compile(r"[\w.:/=+@ -]{1,64}", re.ASCII)


class SettingsError(pulumi.RunError):
    """All that is wrong with a stack's configuration, a line each. Pulumi prints it without a traceback."""

    def __init__(self, stack: str, faults: Sequence[str]) -> None:
        super().__init__("\n  ".join([f"the configuration of stack {stack} cannot be used:", *faults]))


@dataclass(frozen=True)
class Settings:
    region: str
    owner: str
    expires: datetime.date | None
    awake: AwakeHours | None  # None: always
    production: bool
    network: NetworkSettings
    database: DatabaseSettings
    seed: Seed
    storage: StorageSettings
    images: ImageSettings
    edge: EdgeSettings
    tasks: TaskSettings
    api: ApiSettings
    loader: LoaderSettings
    observability: ObservabilitySettings
    bastion: BastionSettings | None
    delivery: DeliverySettings | None
    review: ReviewSettings | None


def read_settings(project: str, stack: str, config: Mapping[str, str]) -> Settings:
    """Reads a stack's whole configuration, defaults included, keyed `namespace:key`.

    Raises SettingsError, which names every bad key at once: what was found, and what is allowed or why not.
    """
    aws, rates = Reader("aws", config), Reader(project, config)
    production = rates.flag("production")
    database = read_database(rates, production)
    delivery, review = read_delivery(rates, production)
    settings = Settings(
        region=aws.text("region", REGION, "an AWS region, such as eu-west-1"),
        owner=rates.text("owner", OWNER, "1 to 64 letters, digits, blanks and any of _.:/=+@-"),
        expires=read_expiry(rates, production),
        awake=read_awake_hours(rates, production),
        production=production,
        network=read_network(rates, production),
        database=database,
        seed=read_seed(rates, database.engine, production),
        storage=read_storage(rates, production),
        images=read_images(rates, production),
        edge=read_edge(rates, production),
        tasks=read_tasks(rates),
        api=read_api(rates, production),
        loader=read_loader(rates, production),
        observability=read_observability(rates, production),
        bastion=read_bastion(rates),
        delivery=delivery,
        review=review,
    )
    demand_what_fits_together(rates, stack, settings)
    faults = [*aws.faults.values(), *rates.faults.values(), *rates.unknown()]
    if not STACK_NAME.fullmatch(stack):
        faults.append(f"the stack's name is {stack!r}: allowed is 1 to 32 of a-z, 0-9 and single hyphens")
    if faults:
        raise SettingsError(stack, faults)
    return settings


def demand_what_fits_together(rates: Reader, stack: str, settings: Settings) -> None:
    """What no concern can tell by itself."""
    pauses = settings.database.pauses and not settings.production
    reason = "databaseAcusMin is 0, and a loader that always runs would let the database never pause"
    rates.demand("loaderTasksMin", not (pauses and settings.loader.size.tasks_min), reason)
    reason = "databaseAcusMin is 0, and a database that pauses by itself is not stopped by the clock as well"
    rates.demand("awakeHours", not (pauses and settings.awake), reason)
    safe = settings.api.rollout is Rollout.ROLLING or settings.observability.alarms
    reason = "alarms is false, and only they take it back: ECS's circuit breaker is for rolling ones"
    rates.demand("apiRollout", safe, reason)
    here = not isinstance(settings.seed, Snapshot) or settings.seed.region == settings.region
    rates.demand("seed", here, f"the stack is in {settings.region}: copy the snapshot there first")
    rates.demand("production", settings.production or stack != "prod", "the stack named prod is production")
