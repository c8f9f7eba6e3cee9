"""How long a stack keeps batches."""

from dataclasses import dataclass

from infra.settings.reader import Reader

# S3 itself takes any number of days.
BATCH_DAYS = range(1, 3651)


@dataclass(frozen=True)
class StorageSettings:
    batch_days: int
    version_days: int  # of what was overwritten or deleted
    production: bool


def read_storage(reader: Reader, production: bool) -> StorageSettings:
    return StorageSettings(
        batch_days=reader.whole("batchDays", BATCH_DAYS),
        version_days=reader.whole("batchVersionDays", BATCH_DAYS),
        production=production,
    )
