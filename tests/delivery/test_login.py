"""The login to ECR, against moto's."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from moto import mock_aws

from delivery.login import main

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def environment(file: Path) -> dict[str, str]:
    repositories = {
        f"{part}_REPOSITORY": f"{REGISTRY}/rates-dev-{part.lower()}" for part in ("API", "LOADER")
    }
    return repositories | {"REGISTRY_AUTH_FILE": str(file)}


@mock_aws
def test_the_builder_finds_a_login_to_the_registry_that_only_its_user_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    file = tmp_path / ".local" / "login.json"
    assert main(environment(file)) == 0
    logins = json.loads(file.read_text())["auths"]
    assert logins.keys() == {REGISTRY}
    assert logins[REGISTRY]["auth"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_not_set_is_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main({}) == 2
    assert capsys.readouterr().err == "not set: API_REPOSITORY, LOADER_REPOSITORY, REGISTRY_AUTH_FILE\n"


def test_a_region_that_is_not_set_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert main(environment(tmp_path / "login.json")) == 3
    assert capsys.readouterr().err.startswith("ECR gives no login: You must specify a region")
