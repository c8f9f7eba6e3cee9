"""Signs what is sent to a bearer, so that they know it comes from here: Standard Webhooks' scheme.

The key follows from the token, which the bearer has and we know the hash of: nobody else's is involved. See
"Standard Webhooks", specification 1.0.0: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

from access.tokens import Token

PURPOSE = b"rates callback"


def signing_key(digest: bytes) -> bytes:
    """HMAC-SHA256 of the purpose under the SHA-256 of the token: 32 bytes."""
    return hmac.new(digest, PURPOSE, hashlib.sha256).digest()


def signed_headers(token: Token, message_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """`message_id` stays the same however often it is sent."""
    seconds = str(int(sent_at.timestamp()))
    content = b".".join([message_id.encode(), seconds.encode(), body])
    signature = base64.b64encode(hmac.new(signing_key(token.digest), content, hashlib.sha256).digest())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{signature.decode()}",
    }
