"""Settings in Secrets Manager: a stack's secrets are there before anybody has put a value into them."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from access.errors import SettingUnavailable
from access.signatures import CallbackSecrets
from access.tokens import Tokens, entry_of
from tests.batch_storage import server_environment
from tests.telemetry.logged import logged

pytestmark = pytest.mark.usefixtures("secrets_manager")


@pytest.fixture
def secrets_manager(storage_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in server_environment(storage_server).items():
        monkeypatch.setenv(name, value)
    return boto3.client("secretsmanager")


def new_secret(secrets_manager: Any, name: str) -> str:
    return secrets_manager.create_secret(Name=name)["ARN"]


def test_a_secret_without_a_value_knows_nobody_until_it_has_one(secrets_manager: Any) -> None:
    arn = new_secret(secrets_manager, "tokens-without-value")
    known = Tokens(arn, read_again_s=0)

    assert known.known() == []
    assert known.find("a token") is None

    secrets_manager.put_secret_value(SecretId=arn, SecretString=entry_of("anna", ["write"], "a token"))

    found = known.find("a token")
    assert found is not None
    assert found.name == "anna"


def test_a_secret_to_sign_with_is_known_once_somebody_has_put_it_in_and_its_lack_is_logged_once(
    secrets_manager: Any,
) -> None:
    arn = new_secret(secrets_manager, "callbacks-without-value")
    known = CallbackSecrets(arn, read_again_s=0)

    with logged("loader") as lines:
        for _ in range(3):
            assert known.known() == []
    (line,) = lines.all()
    assert (line["event"], line["variable"]) == ("a secret setting has no value", "RATES_CALLBACK_SECRET")

    secrets_manager.put_secret_value(SecretId=arn, SecretString=f"{'n' * 43}\n{'o' * 43}\n")
    assert known.known() == ["n" * 43, "o" * 43]


def test_a_secret_of_bytes_is_none_of_tokens(secrets_manager: Any) -> None:
    arn = secrets_manager.create_secret(Name="tokens-of-bytes", SecretBinary=b"x")["ARN"]
    with pytest.raises(SettingUnavailable, match="holds bytes; text is expected"):
        Tokens(arn).known()


def test_a_secrets_manager_that_is_away_is_not_taken_for_a_secret_without_a_value() -> None:
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    with patch.dict(os.environ, away), pytest.raises(SettingUnavailable, match="cannot be read"):
        Tokens("arn:aws:secretsmanager:us-east-1:123456789012:secret:tokens").known()
