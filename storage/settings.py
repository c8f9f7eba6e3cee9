"""What the environment says of the bucket and the queue: BATCH_BUCKET and BATCH_QUEUE_URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import StorageMisconfigured

REQUIRED = ("BATCH_BUCKET", "BATCH_QUEUE_URL")


@dataclass(frozen=True)
class StorageSettings:
    bucket: str
    queue_url: str


def read_storage_settings(environ: Mapping[str, str] = os.environ) -> StorageSettings:
    """Raises StorageMisconfigured naming every variable that is missing at once."""
    missing = [name for name in REQUIRED if not environ.get(name)]
    if missing:
        raise StorageMisconfigured(f"no place for batches is named: set {', '.join(missing)}")
    return StorageSettings(environ["BATCH_BUCKET"], environ["BATCH_QUEUE_URL"])
