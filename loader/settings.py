"""What the commands that have to do with the queue read of their environment, beside the database's part."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from database.connect import connection_parameters
from database.errors import ConfigurationError, DatabaseUnavailable
from loader.planned import TICKETS_MAX
from storage.errors import StorageError
from storage.settings import StorageSettings, read_storage_settings

TICKETS_MAX_NAME = "RATES_TICKETS_MAX"
# 1 to 10,000.
NUMBER = re.compile(r"[1-9][0-9]{0,3}|10000")


@dataclass(frozen=True)
class QueueSettings:
    storage: StorageSettings
    tickets_max: int  # of a batch


def read_queue_settings(environ: Mapping[str, str] = os.environ) -> QueueSettings:
    """Raises ConfigurationError naming all that is missing or wrong, of the database too."""
    faults, storage = [], None
    with suppress(DatabaseUnavailable):  # which passes
        try:
            connection_parameters("rates-loader")
        except ConfigurationError as error:
            faults.append(str(error))
    try:
        storage = read_storage_settings(environ)
    except StorageError as error:
        faults.append(str(error))
    tickets_max = environ.get(TICKETS_MAX_NAME) or str(TICKETS_MAX)
    if not NUMBER.fullmatch(tickets_max):
        faults.append(f"{TICKETS_MAX_NAME} is {tickets_max!r}: allowed is 1 to 10000")
    if storage is None or faults:
        raise ConfigurationError("; ".join(faults))
    return QueueSettings(storage, int(tickets_max))
