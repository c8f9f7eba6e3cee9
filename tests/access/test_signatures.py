"""Signatures: as Standard Webhooks has them, checked the way a library of theirs does."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from access.errors import SettingMisconfigured
from access.signatures import CallbackSecrets, bearers_secret, signature_of, signed_headers, signing_key
from access.tokens import WRITE, entry_of
from tests.access.receiver import is_genuine

NEWEST, BEFORE = "n" * 43, "b" * 43
SENT_AT = datetime(2030, 1, 1, 12, 0, 0, 750_000, tzinfo=UTC)
BODY = '{"batch":"…"}'.encode()


def signed(*signing: str, sent_at: datetime = SENT_AT) -> dict[str, str]:
    return signed_headers(signing or [NEWEST], "alice", "batch-published", sent_at, BODY)


def test_a_signature_is_the_one_of_the_reference_libraries() -> None:
    """The example that the libraries of Standard Webhooks test themselves with."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = signature_of(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_its_bearer_knows_a_message_and_no_other_bearer_could_have_signed_it() -> None:
    headers = signed()
    assert headers.keys() == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert headers["webhook-id"] == "batch-published"
    assert headers["webhook-timestamp"] == str(int(SENT_AT.timestamp()))
    assert is_genuine(bearers_secret(NEWEST, "alice"), headers, BODY)
    assert not is_genuine(bearers_secret(NEWEST, "bob"), headers, BODY)
    assert not is_genuine(bearers_secret(BEFORE, "alice"), headers, BODY)


def test_its_bearer_can_work_the_signature_out_with_nothing_of_ours() -> None:
    key = base64.b64decode(bearers_secret(NEWEST, "alice").removeprefix("whsec_"))
    content = f"batch-published.{int(SENT_AT.timestamp())}.".encode() + BODY
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert signed()["webhook-signature"] == f"v1,{expected}"


def test_who_reads_the_hashes_of_tokens_cannot_sign() -> None:
    digest = bytes.fromhex(entry_of("alice", [WRITE], "the bearer's token")[-64:])
    for key in (digest, hmac.new(digest, b"rates callback", hashlib.sha256).digest()):
        assert not is_genuine(f"whsec_{base64.b64encode(key).decode()}", signed(), BODY)


def test_while_the_secret_is_renewed_a_bearer_goes_by_either() -> None:
    headers = signed(NEWEST, BEFORE)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (NEWEST, BEFORE):
        assert is_genuine(bearers_secret(secret, "alice"), headers, BODY)
        assert signed(secret)["webhook-signature"] in headers["webhook-signature"]


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_what_was_changed_on_the_way_is_not_genuine(name: str) -> None:
    headers, secret = signed(), bearers_secret(NEWEST, "alice")
    assert not is_genuine(secret, {**headers, name: headers[name] + "0"}, BODY)
    assert not is_genuine(secret, headers, BODY + b" ")


def test_another_attempt_has_a_time_and_a_signature_of_its_own() -> None:
    first, again = signed(), signed(sent_at=SENT_AT + timedelta(seconds=10))
    assert again["webhook-id"] == first["webhook-id"]
    assert again["webhook-timestamp"] != first["webhook-timestamp"]
    assert again["webhook-signature"] != first["webhook-signature"]


def test_a_bearers_key_is_as_long_as_the_specification_wants_and_gives_the_secret_away_to_nobody() -> None:
    key = signing_key(NEWEST, "alice")
    assert len(key) == 32
    assert NEWEST not in bearers_secret(NEWEST, "alice")
    assert NEWEST not in repr(CallbackSecrets(NEWEST))


def test_every_secret_that_is_none_is_named_by_its_place_and_none_by_its_content() -> None:
    """An entry of RATES_API_TOKENS is none: it is no secret."""
    assert CallbackSecrets(f" {NEWEST}\n{BEFORE} ").known() == [NEWEST, BEFORE]
    assert CallbackSecrets("").known() == []
    with pytest.raises(SettingMisconfigured) as refused:
        CallbackSecrets(f"short {NEWEST} {entry_of('alice', [WRITE], 'token')}")
    kind = "is not 32 to 200 of A-Z, a-z, 0-9, - and _; `python -m access.signatures` makes one"
    assert str(refused.value) == f"RATES_CALLBACK_SECRET: secret 1 and secret 3 {kind}"
