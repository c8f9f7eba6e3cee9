"""A way for people to the database: through Session Manager, with a key of their own only if they ask."""

import re
from dataclasses import dataclass

from infra.settings.reader import Reader

PUBLIC_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]{40,}( [\w@.+-]+)?"
)


@dataclass(frozen=True)
class BastionSettings:
    public_key: str | None  # None: Session Manager alone


def read_bastion(reader: Reader) -> BastionSettings | None:
    public_key = reader.text_if_set("bastionPublicKey", PUBLIC_KEY, "a line of an SSH public key file")
    bastion = reader.flag("bastion")
    reader.demand("bastionPublicKey", bastion or public_key is None, "bastion is false, so no door takes it")
    return BastionSettings(public_key) if bastion else None
