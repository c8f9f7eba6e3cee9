"""What the environment says of the API; `database.connect` reads how to reach the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from access.errors import TokensMisconfigured
from access.tokens import Tokens
from database.errors import ConfigurationError
from storage.errors import StorageMisconfigured
from storage.settings import StorageSettings, read_storage_settings

# S3 takes 10,000 parts, which `intake` makes of 8 MiB.
UPLOAD_BYTES_MAX = 64 * 2**30


@dataclass(frozen=True)
class Settings:
    """PORT, WEB_CONCURRENCY (processes), API_THREADS (threads each), API_DRAIN_S (how long to go on serving
    after SIGTERM), RATES_DAYS_MAX (days a request may ask for), RATES_ANSWERS_BYTES_MAX (of answers kept in
    memory, 0 for none), RATES_DB_PAUSES (1 where the database pauses while nobody asks),
    RATES_UPLOAD_BYTES_MAX (of a body), RATES_API_TOKENS (`access.tokens`; without any, nobody may write),
    BATCH_BUCKET and BATCH_QUEUE_URL (`storage.settings`)."""

    port: int
    workers: int
    threads: int
    drain_s: int
    days_max: int
    answers_bytes_max: int
    database_pauses: bool
    upload_bytes_max: int
    api_tokens: str = field(repr=False)
    storage: StorageSettings


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises ConfigurationError naming every bad variable at once."""
    faults: list[str] = []

    def number(name: str, default: int, low: int, high: int) -> int:
        text = environ.get(name) or str(default)
        if text.isdecimal() and low <= int(text) <= high:
            return int(text)
        faults.append(f"{name} is {text!r}: a number from {low} to {high} is allowed")
        return default

    storage = StorageSettings("", "")
    try:
        storage = read_storage_settings(environ)
    except StorageMisconfigured as error:
        faults.append(str(error))
    api_tokens = environ.get("RATES_API_TOKENS", "")
    try:
        Tokens(api_tokens)
    except TokensMisconfigured as error:
        faults.append(str(error))
    settings = Settings(
        port=number("PORT", 8000, 1, 65535),
        workers=number("WEB_CONCURRENCY", 2, 1, 64),
        threads=number("API_THREADS", 4, 1, 64),
        drain_s=number("API_DRAIN_S", 0, 0, 30),
        days_max=number("RATES_DAYS_MAX", 366, 1, 36_600),
        answers_bytes_max=number("RATES_ANSWERS_BYTES_MAX", 32 * 2**20, 0, 2**30),
        database_pauses=bool(number("RATES_DB_PAUSES", 0, 0, 1)),
        upload_bytes_max=number("RATES_UPLOAD_BYTES_MAX", 2 * 2**30, 1, UPLOAD_BYTES_MAX),
        api_tokens=api_tokens,
        storage=storage,
    )
    if faults:
        raise ConfigurationError("; ".join(faults))
    return settings
