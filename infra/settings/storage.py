"""How long a stack keeps batches, and which pages in browsers may upload them."""

import re
from dataclasses import dataclass

from infra.settings.reader import Reader

# S3 itself takes any number of days.
BATCH_DAYS = range(1, 3651)
ORIGIN = re.compile(r"https://([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(:\d{1,5})?")


@dataclass(frozen=True)
class StorageSettings:
    batch_days: int
    version_days: int  # of what was overwritten or deleted
    upload_origins: tuple[str, ...]  # none: no browser may
    production: bool


def read_storage(reader: Reader, production: bool) -> StorageSettings:
    return StorageSettings(
        batch_days=reader.whole("batchDays", BATCH_DAYS),
        version_days=reader.whole("batchVersionDays", BATCH_DAYS),
        upload_origins=reader.texts("uploadOrigins", ORIGIN, "origins such as https://app.example.com"),
        production=production,
    )
