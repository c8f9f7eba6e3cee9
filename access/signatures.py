"""Signs what is sent to a bearer, so that they know it comes from here: Standard Webhooks' scheme.

The key follows from the token, which the bearer has and we know the hash of: nobody else's is involved. See
"Standard Webhooks", specification 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

from access.tokens import Token, digest_of

PURPOSE = b"rates callback"


def signing_key(digest: bytes) -> bytes:
    """HMAC-SHA256 of the purpose under the SHA-256 of the token: 32 bytes."""
    return hmac.new(digest, PURPOSE, hashlib.sha256).digest()


def secret_of(token: str) -> str:
    """What its bearer gives to a library of Standard Webhooks."""
    return f"whsec_{base64.b64encode(signing_key(digest_of(token))).decode()}"


def signed_headers(token: Token, message_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """`message_id` stays the same however often it is sent."""
    seconds = int(sent_at.timestamp())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature_of(signing_key(token.digest), message_id, seconds, body),
    }


def signature_of(key: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Of version 1, the only one with a shared key."""
    content = b".".join([message_id.encode(), str(seconds).encode(), body])
    return f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"
