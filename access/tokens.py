"""Bearer tokens: known by name, scopes and SHA-256, never by themselves.

RATES_API_TOKENS holds entries `name:scopes:sha256` with space between, scopes as `read` or `read,write`; or
it is the path of a file that holds them, or the ARN of such a secret in Secrets Manager. What is not inline
is read again once a minute, so that a token comes and goes without a restart.

`python -m access.tokens NAME [SCOPES]` makes a new one, and the secret by which its bearer checks
what `signatures` signs. It is random, 256 bits: a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from access.errors import AccessError, TokensMisconfigured, TokensUnavailable
from telemetry.log import get_logger

READ, WRITE = "read", "write"
SCOPES = (READ, WRITE)
TOKEN_BYTES = 32
READ_AGAIN_S = 60.0
# While nothing was ever read; whoever asks in between is told what went wrong, and waits for nobody.
TRY_AGAIN_S = 1.0
# A request waits for the first reading.
SECRET_TIMEOUTS_S = {"connect_timeout": 2, "read_timeout": 3}
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
DIGEST = re.compile(r"[0-9a-f]{64}")
ARN = "arn:"
NO_VALUE = "ResourceNotFoundException"
PATH = ("/", "./")
log = get_logger("rates.access")


@dataclass(frozen=True)
class Token:
    """What is known of a bearer; `digest` is the SHA-256 of the token, 32 bytes."""

    name: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)


@dataclass
class Tokens:
    """The tokens that `setting` names. Raises TokensMisconfigured where made of one that is wrong.

    Threads may share it. While what holds them cannot be read, those that were read last stay good.
    """

    setting: str = field(repr=False)
    read_again_s: float = READ_AGAIN_S
    try_again_s: float = TRY_AGAIN_S
    _known: list[Token] | None = field(init=False, default=None, repr=False)
    _fault: str = field(init=False, default="")
    _due_at: float = field(init=False, default=0.0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if not is_elsewhere(self.setting):
            self._known = parse_tokens(self.setting)
            self._due_at = math.inf

    def find(self, token: str) -> Token | None:
        """Whose it is; takes as long whichever it is, and for none. Raises TokensUnavailable."""
        digest = digest_of(token)
        found = None
        for known in self.known():
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def named(self, name: str) -> Token | None:
        """Raises TokensUnavailable."""
        return next((token for token in self.known() if token.name == name), None)

    def known(self) -> list[Token]:
        """All of them, read again where that is due. Raises TokensUnavailable where none was ever read."""
        # Whoever comes while somebody reads again goes by what was read last, and waits only for the first.
        if time.monotonic() >= self._due_at and self._lock.acquire(blocking=self._known is None):
            try:
                if time.monotonic() >= self._due_at:
                    self._read()
            finally:
                self._lock.release()
        if self._known is None:
            raise TokensUnavailable(self._fault)
        return self._known

    def _read(self) -> None:
        try:
            self._known = parse_tokens(read_elsewhere(self.setting))
        except AccessError as error:
            self._fault = str(error)
            log.warning("tokens could not be read", reason=self._fault)
        self._due_at = time.monotonic() + (self.try_again_s if self._known is None else self.read_again_s)


def is_elsewhere(setting: str) -> bool:
    return setting.startswith((ARN, *PATH))


def read_elsewhere(setting: str) -> str:
    """Raises TokensUnavailable."""
    if setting.startswith(PATH):
        try:
            return Path(setting).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise TokensUnavailable(f"{setting} cannot be read: {error}") from error
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
        # What a secret answers that nobody has put a value into yet, as the one of a new stack.
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == NO_VALUE:
            log.warning("the secret of the tokens has no value: nobody is known", secret=setting)
            return ""
        raise TokensUnavailable(f"the secret {setting} cannot be read: {error}") from error
    if "SecretString" not in held:
        raise TokensUnavailable(f"the secret {setting} holds bytes; text is expected")
    return held["SecretString"]


def parse_tokens(text: str) -> list[Token]:
    """Raises TokensMisconfigured naming every entry that is wrong, by its place and never by its content."""
    tokens, faults = [], []
    for number, entry in enumerate(text.split(), 1):
        name, _, rest = entry.partition(":")
        scopes, _, digest = rest.partition(":")
        if not (NAME.fullmatch(name) and known_scopes(scopes.split(",")) and DIGEST.fullmatch(digest)):
            faults.append(f"entry {number} is not name:scopes:sha256, scopes being of {', '.join(SCOPES)}")
        elif any(name == earlier.name for earlier in tokens):
            faults.append(f"entry {number} has the name of an earlier one, {name!r}")
        elif any(bytes.fromhex(digest) == earlier.digest for earlier in tokens):
            faults.append(f"entry {number}, {name!r}, has the token of an earlier one")
        else:
            tokens.append(Token(name, frozenset(scopes.split(",")), bytes.fromhex(digest)))
    if faults:
        raise TokensMisconfigured(f"RATES_API_TOKENS: {'; '.join(faults)}")
    return tokens


def known_scopes(scopes: Iterable[str]) -> bool:
    return all(scope in SCOPES for scope in scopes)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def entry_of(name: str, scopes: Iterable[str], token: str) -> str:
    """What RATES_API_TOKENS has of a token."""
    return f"{name}:{','.join(scopes)}:{digest_of(token).hex()}"


def main(arguments: list[str]) -> None:
    name, scopes = [*arguments, ",".join(SCOPES)][:2] if arguments else ("", "")
    if len(arguments) > 2 or not NAME.fullmatch(name) or not known_scopes(scopes.split(",")):
        sys.exit(
            f"usage: python -m access.tokens NAME [SCOPES]; scopes are {' or '.join(SCOPES)}, or both as"
            f" {','.join(SCOPES)}"
        )
    from access.signatures import secret_of  # noqa: PLC0415  # which knows tokens, and is needed only here

    token = secrets.token_urlsafe(TOKEN_BYTES)
    sys.stdout.write(f"for its bearer, and shown only now: {token}\n")
    sys.stdout.write(f"for its bearer, to check callbacks by (Standard Webhooks): {secret_of(token)}\n")
    sys.stdout.write(f"for RATES_API_TOKENS: {entry_of(name, scopes.split(','), token)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
