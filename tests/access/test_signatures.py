"""Signatures: as Standard Webhooks has them, checked the way a library of theirs does."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from access.signatures import secret_of, signature_of, signed_headers, signing_key
from access.tokens import Token, digest_of
from tests.access.receiver import is_genuine

BEARERS, OTHERS = "the bearer's token", "another's"
TOKEN = Token("alice", frozenset({"write"}), digest_of(BEARERS))
SENT_AT = datetime(2030, 1, 1, 12, 0, 0, 750_000, tzinfo=UTC)
BODY = '{"batch":"…"}'.encode()


def test_a_signature_is_the_one_of_the_reference_libraries() -> None:
    """The example that the libraries of Standard Webhooks test themselves with."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = signature_of(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_its_bearer_knows_a_message_by_the_token_alone() -> None:
    headers = signed_headers(TOKEN, "batch-published", SENT_AT, BODY)
    assert headers.keys() == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert headers["webhook-id"] == "batch-published"
    assert headers["webhook-timestamp"] == str(int(SENT_AT.timestamp()))
    assert is_genuine(secret_of(BEARERS), headers, BODY)
    assert not is_genuine(secret_of(OTHERS), headers, BODY)


def test_its_bearer_can_work_the_signature_out_with_nothing_of_ours() -> None:
    key = hmac.new(hashlib.sha256(BEARERS.encode()).digest(), b"rates callback", hashlib.sha256).digest()
    content = f"batch-published.{int(SENT_AT.timestamp())}.".encode() + BODY
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    headers = signed_headers(TOKEN, "batch-published", SENT_AT, BODY)
    assert headers["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_what_was_changed_on_the_way_is_not_genuine(name: str) -> None:
    headers = signed_headers(TOKEN, "batch-published", SENT_AT, BODY)
    assert not is_genuine(secret_of(BEARERS), {**headers, name: headers[name] + "0"}, BODY)
    assert not is_genuine(secret_of(BEARERS), headers, BODY + b" ")


def test_another_attempt_has_a_time_and_a_signature_of_its_own() -> None:
    first = signed_headers(TOKEN, "batch-published", SENT_AT, BODY)
    again = signed_headers(TOKEN, "batch-published", SENT_AT + timedelta(seconds=10), BODY)
    assert again["webhook-id"] == first["webhook-id"]
    assert again["webhook-timestamp"] != first["webhook-timestamp"]
    assert again["webhook-signature"] != first["webhook-signature"]


def test_the_key_gives_away_neither_the_token_nor_its_hash() -> None:
    key = signing_key(TOKEN.digest)
    assert len(key) == 32
    assert key != TOKEN.digest
    assert secret_of(BEARERS) == f"whsec_{base64.b64encode(key).decode()}"
