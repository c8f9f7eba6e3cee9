"""What a new copy starts with."""

import re
from dataclasses import dataclass

from infra.settings.database import Engine
from infra.settings.reader import Reader

SEED = re.compile(
    r"none|sample"
    r"|s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[\w!.*'()/-]+)"
    r"|arn:aws:rds:[a-z0-9-]+:\d{12}:(?P<kind>snapshot|cluster-snapshot):[\w:-]+",
    re.ASCII,
)
SNAPSHOTS = {Engine.POSTGRES: "snapshot", Engine.AURORA: "cluster-snapshot"}


@dataclass(frozen=True)
class Sample:
    """The one that the project ships."""


@dataclass(frozen=True)
class Dump:
    """A `pg_dump` file, an object in S3."""

    bucket: str
    key: str


@dataclass(frozen=True)
class Snapshot:
    """Of the database's engine. The new database is made of it, under a key of its own."""

    arn: str

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


Seed = Sample | Dump | Snapshot | None


def read_seed(reader: Reader, engine: Engine, production: bool) -> Seed:
    allowed = "none, sample, a dump as s3://BUCKET/KEY or a snapshot as arn:aws:rds:…"
    match = SEED.fullmatch(reader.text("seed", SEED, allowed))
    if match is None or match.string == "none":
        return None
    if match.string == "sample":
        reader.demand("seed", not production, "production takes no prices that are made up")
        return Sample()
    if match["bucket"]:
        return Dump(match["bucket"], match["key"])
    reason = f"engine {engine} is made of a {SNAPSHOTS[engine]}"
    reader.demand("seed", match["kind"] == SNAPSHOTS[engine], reason)
    return Snapshot(match.string)
