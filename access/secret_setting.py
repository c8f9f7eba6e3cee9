"""A secret setting: its value, or where it is: the path of a file, or the ARN of a secret in Secrets Manager.

What is not inline is read again once a minute, so that it changes without a restart. `tokens` and
`signatures` say what the values are.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from access.errors import AccessError, SettingUnavailable
from telemetry.log import get_logger

READ_AGAIN_S = 60.0
# While nothing was ever read; a request in between is told what went wrong, and does not wait.
TRY_AGAIN_S = 1.0
# A request waits for the first reading.
SECRET_TIMEOUTS_S = {"connect_timeout": 2, "read_timeout": 3}
ARN = "arn:"
NO_VALUE = "ResourceNotFoundException"
PATH = ("/", "./")
Value = TypeVar("Value")
log = get_logger("rates.access")


@dataclass
class SecretSetting(ABC, Generic[Value]):
    """What `setting` names, as `parse` reads it. Raises SettingMisconfigured where made of a value that is
    wrong.

    Threads may share it. While what holds it cannot be read, the value that was read last stays good.
    """

    variable: ClassVar[str]

    setting: str = field(repr=False)
    read_again_s: float = READ_AGAIN_S
    try_again_s: float = TRY_AGAIN_S
    _known: list[Value] | None = field(init=False, default=None, repr=False)
    _fault: str = field(init=False, default="")
    _due_at: float = field(init=False, default=0.0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if not is_elsewhere(self.setting):
            self._known = self.parse(self.setting)
            self._due_at = math.inf

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> list[Value]:
        """None for an empty text. Raises SettingMisconfigured."""

    def known(self) -> list[Value]:
        """All values, read again where that is due. Raises SettingUnavailable where none was ever read."""
        # A thread that comes while another reads goes by what was read last, and waits only for the first.
        if time.monotonic() >= self._due_at and self._lock.acquire(blocking=self._known is None):
            try:
                if time.monotonic() >= self._due_at:
                    self._read()
            finally:
                self._lock.release()
        if self._known is None:
            raise SettingUnavailable(self._fault)
        return self._known

    def _read(self) -> None:
        try:
            known = self.parse(read_elsewhere(self.setting))
        except AccessError as error:
            self._fault = str(error)
            log.warning("a secret setting could not be read", variable=self.variable, reason=self._fault)
        else:
            if not known and self._known != known:  # once, and not each minute
                log.warning("a secret setting has no value", variable=self.variable)
            self._known = known
        self._due_at = time.monotonic() + (self.try_again_s if self._known is None else self.read_again_s)


def is_elsewhere(setting: str) -> bool:
    return setting.startswith((ARN, *PATH))


def read_elsewhere(setting: str) -> str:
    """Raises SettingUnavailable."""
    if setting.startswith(PATH):
        try:
            return Path(setting).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingUnavailable(f"{setting} cannot be read: {error}") from error
    # 0.3 s and 30 MB that only a secret needs
    import boto3.session  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    config = Config(**SECRET_TIMEOUTS_S, retries={"mode": "standard", "total_max_attempts": 2})
    try:
        # A session of its own: making clients of boto3's shared one is not for threads.
        client = boto3.session.Session().client("secretsmanager", config=config)
        held = client.get_secret_value(SecretId=setting)
    except (BotoCoreError, ClientError) as error:
        # A secret that holds no value yet, as the one of a new stack, answers so.
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == NO_VALUE:
            return ""
        raise SettingUnavailable(f"the secret {setting} cannot be read: {error}") from error
    if "SecretString" not in held:
        raise SettingUnavailable(f"the secret {setting} holds bytes; text is expected")
    return held["SecretString"]
