"""What the environment says of the API; `database.connect` reads how to reach the database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from access.errors import SettingMisconfigured
from access.tokens import Tokens
from database.errors import ConfigurationError
from storage.errors import StorageMisconfigured
from storage.settings import StorageSettings, read_storage_settings

# S3 takes 10,000 parts, which `intake` makes of 8 MiB.
UPLOAD_BYTES_MAX = 64 * 2**30
ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


@dataclass(frozen=True)
class Settings:
    """PORT, WEB_CONCURRENCY (processes), API_THREADS (threads each), API_DRAIN_S (how long to go on serving
    after SIGTERM), RATES_DAYS_MAX (days a request may ask for), RATES_STRICT (1 where a request that does not
    say is strict), RATES_ANSWERS_BYTES_MAX (of answers kept in memory, 0 for none), RATES_DB_PAUSES (1 where
    the database pauses while nobody asks), RATES_UPLOAD_BYTES_MAX (of a body), RATES_CORS_ORIGINS (pages that
    may ask from a browser: origins with commas between, or * for all), RATES_LIMIT (`api.limits`),
    RATES_PRIVATE_BATCHES (1 where reading batches takes a token with the scope `read`),
    RATES_PROXIES (how many of ours stand before the API; each appends an address to X-Forwarded-For),
    RATES_API_TOKENS (`access.tokens`; without any, nobody may write), BATCH_BUCKET and BATCH_QUEUE_URL
    (`storage.settings`)."""

    port: int
    workers: int
    threads: int
    drain_s: int
    days_max: int
    strict: bool
    answers_bytes_max: int
    database_pauses: bool
    upload_bytes_max: int
    cors_origins: tuple[str, ...]
    limit: str
    private_batches: bool
    proxies: int
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
    except SettingMisconfigured as error:
        faults.append(str(error))
    settings = Settings(
        port=number("PORT", 8000, 1, 65535),
        workers=number("WEB_CONCURRENCY", 2, 1, 64),
        threads=number("API_THREADS", 4, 1, 64),
        drain_s=number("API_DRAIN_S", 0, 0, 30),
        days_max=number("RATES_DAYS_MAX", 366, 1, 36_600),
        strict=bool(number("RATES_STRICT", 0, 0, 1)),
        answers_bytes_max=number("RATES_ANSWERS_BYTES_MAX", 32 * 2**20, 0, 2**30),
        database_pauses=bool(number("RATES_DB_PAUSES", 0, 0, 1)),
        upload_bytes_max=number("RATES_UPLOAD_BYTES_MAX", 2 * 2**30, 1, UPLOAD_BYTES_MAX),
        cors_origins=read_origins(environ, faults),
        limit=read_limit(environ, faults),
        private_batches=bool(number("RATES_PRIVATE_BATCHES", 0, 0, 1)),
        proxies=number("RATES_PROXIES", 0, 0, 10),
        api_tokens=api_tokens,
        storage=storage,
    )
    if faults:
        raise ConfigurationError("; ".join(faults))
    return settings


def read_origins(environ: Mapping[str, str], faults: list[str]) -> tuple[str, ...]:
    text = environ.get("RATES_CORS_ORIGINS", "")
    origins = tuple(origin.strip() for origin in text.split(",")) if text.strip() else ()
    if origins != ("*",) and not all(ORIGIN.fullmatch(origin) for origin in origins):
        faults.append(
            f"RATES_CORS_ORIGINS is {text!r}: origins such as https://app.example.com, with commas between,"
            " or * is allowed"
        )
    return origins


def read_limit(environ: Mapping[str, str], faults: list[str]) -> str:
    text = environ.get("RATES_LIMIT", "").strip()
    if text:
        from api.limits import read_limits  # noqa: PLC0415  # 60 ms that only a limit needs

        try:
            read_limits(text)
        except ValueError:
            faults.append(f"RATES_LIMIT is {text!r}: requests a time, such as 100/minute, is allowed")
    return text
