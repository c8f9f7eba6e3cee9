"""Signs what is sent to a bearer, so that they know it comes from here: Standard Webhooks' scheme.

RATES_CALLBACK_SECRET is the secret to sign with, or says where it is (`secret_setting`). Each bearer's key
is derived from it and their name: a bearer knows no other's, and the hashes of tokens tell none. While the
secret is renewed there are two, the newest first, with a space between; what is sent has a signature by each.
See "Standard Webhooks", specification 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

`python -m access.signatures` makes such a secret; with a NAME it shows what that bearer checks callbacks by.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from access.errors import AccessError, SettingMisconfigured
from access.secret_setting import SecretSetting

VARIABLE = "RATES_CALLBACK_SECRET"
SECRET_BYTES = 32
# No entry of RATES_API_TOKENS is one.
SECRET = re.compile(r"[A-Za-z0-9_-]{32,200}")
PURPOSE = "rates callback"


class CallbackSecrets(SecretSetting[str]):
    """Those to sign with, the newest first; none where nothing is set."""

    variable = VARIABLE

    @classmethod
    def parse(cls, text: str) -> list[str]:
        """Raises SettingMisconfigured naming every one that is wrong, by its place, never by its content."""
        found = text.split()
        wrong = [f"secret {number}" for number, each in enumerate(found, 1) if not SECRET.fullmatch(each)]
        if wrong:
            kind = "is not 32 to 200 of A-Z, a-z, 0-9, - and _; `python -m access.signatures` makes one"
            raise SettingMisconfigured(f"{VARIABLE}: {' and '.join(wrong)} {kind}")
        return found


def signing_key(secret: str, bearer: str) -> bytes:
    """HMAC-SHA256 of the purpose and the bearer's name under the secret: 32 bytes."""
    return hmac.new(secret.encode(), f"{PURPOSE}\n{bearer}".encode(), hashlib.sha256).digest()


def bearers_secret(secret: str, bearer: str) -> str:
    """What a bearer gives to a library of Standard Webhooks."""
    return f"whsec_{base64.b64encode(signing_key(secret, bearer)).decode()}"


def signed_headers(
    signing: Sequence[str], bearer: str, message_id: str, sent_at: datetime, body: bytes
) -> dict[str, str]:
    """Signed by each of the secrets; `message_id` stays the same however often it is sent."""
    seconds = int(sent_at.timestamp())
    signatures = [signature_of(signing_key(each, bearer), message_id, seconds, body) for each in signing]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signatures),
    }


def signature_of(key: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Of version 1, the only one with a shared key."""
    content = b".".join([message_id.encode(), str(seconds).encode(), body])
    return f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"


def secret_for(bearer: str, environ: Mapping[str, str]) -> str | None:
    """By the newest secret to sign with; None where there is none. Raises AccessError."""
    signing = CallbackSecrets(environ.get(VARIABLE, "")).known()
    return bearers_secret(signing[0], bearer) if signing else None


def for_its_bearer(secret: str) -> str:
    return f"for its bearer, to check callbacks by (Standard Webhooks): {secret}\n"


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        sys.stdout.write(f"for {VARIABLE}: {secrets.token_urlsafe(SECRET_BYTES)}\n")
        return
    if len(arguments) > 1:
        sys.exit("usage: python -m access.signatures [NAME]")
    try:
        secret = secret_for(arguments[0], os.environ)
    except AccessError as error:
        sys.exit(str(error))
    if secret is None:
        sys.exit(f"{VARIABLE} holds no secret; `python -m access.signatures` makes one")
    sys.stdout.write(for_its_bearer(secret))


if __name__ == "__main__":
    main(sys.argv[1:])
