"""How the environment names the database; `test_pool` is about the connections."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from database.connect import connect, connection_parameters
from database.errors import ConfigurationError, DatabaseUnavailable
from tests.postgres import Database

NAMED = {"PGHOST": "db.example.com", "PGUSER": "rates_api", "PGDATABASE": "rates"}
IAM = NAMED | {"RATES_DB_AUTH": "iam"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A task's role, as boto3 finds it; nothing of this machine's own, and no network."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    return monkeypatch


def test_a_column_that_gets_another_type_changes_nothing_about_a_connection(as_loader: Database) -> None:
    """A worker keeps its connections for days, and a migration may come in between."""
    with as_loader.connect() as owner, connect("rates-test", autocommit=True) as connection:
        owner.execute("CREATE TABLE typed AS SELECT 1 AS value")
        owner.execute("GRANT SELECT ON typed TO PUBLIC")
        for kind, value in (("integer", 1), ("bigint", 1), ("text", "1")):
            owner.execute(f"ALTER TABLE typed ALTER value TYPE {kind}")
            found = [connection.execute("SELECT value FROM typed").fetchone() for _ in range(10)]
            assert found == [(value,)] * 10


# --- what the environment says -----------------------------------------------------------------------------


def test_all_that_is_missing_or_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        connection_parameters("rates-test", {"RATES_DB_AUTH": "kerberos", "PGUSER": "", "PGPORT": "many"})
    assert str(told.value) == (
        "RATES_DB_AUTH is 'kerberos': password or iam is allowed; PGPORT is 'many': a number is expected;"
        " no database is named: set PGHOST, PGUSER, PGDATABASE (or DATABASE_URL)"
    )


def test_only_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"set PGUSER \(or DATABASE_URL\)$"):
        connection_parameters("rates-test", {"PGHOST": "localhost", "PGDATABASE": "rates"})


@pytest.mark.parametrize(
    "environment",
    [
        NAMED,
        {"PGSERVICE": "rates"},
        {"DATABASE_URL": "postgresql://rates_api@db/rates"},
        NAMED | {"RATES_DB_AUTH": "", "PGPORT": ""},
    ],
)
def test_any_of_libpqs_ways_to_name_a_database_will_do(environment: dict[str, str]) -> None:
    parameters = connection_parameters("rates-test", environment)
    assert parameters["application_name"] == "rates-test"
    assert "password" not in parameters


def test_database_url_says_it_all_and_wins() -> None:
    url = "postgresql://me:secret@db.example.com:6543/rates?application_name=mine&connect_timeout=3"
    parameters = connection_parameters("rates-test", NAMED | {"DATABASE_URL": url})
    assert {name: parameters[name] for name in ("host", "port", "user", "password", "dbname")} == {
        "host": "db.example.com",
        "port": "6543",
        "user": "me",
        "password": "secret",
        "dbname": "rates",
    }
    assert (parameters["application_name"], parameters["connect_timeout"]) == ("mine", "3")


def test_a_database_url_that_is_none_is_told_without_its_password() -> None:
    url = "postgresql://me:secret@db.example.com:port:5432/rates?nonsense=1"
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not a PostgreSQL address") as told:
        connection_parameters("rates-test", {"DATABASE_URL": url})
    assert "secret" not in str(told.value)


def test_libpqs_own_timeout_is_left_alone() -> None:
    assert connection_parameters("rates-test", NAMED)["connect_timeout"] == 10
    assert "connect_timeout" not in connection_parameters("rates-test", NAMED | {"PGCONNECT_TIMEOUT": "2"})


# --- IAM ---------------------------------------------------------------------------------------------------


def test_iam_makes_a_token_for_the_very_server_and_role_and_verifies_the_server(
    aws: pytest.MonkeyPatch,
) -> None:
    parameters = connection_parameters("rates-test", IAM | {"PGPORT": "6543"})
    token = urlsplit("//" + parameters["password"])
    assert (token.hostname, token.port) == ("db.example.com", 6543)
    fields = parse_qs(token.query)
    assert (fields["Action"], fields["DBUser"]) == (["connect"], ["rates_api"])
    assert fields["X-Amz-Expires"] == ["900"]
    assert "/eu-north-1/rds-db/" in fields["X-Amz-Credential"][0]
    assert parameters["sslmode"] == "verify-full"


def test_iam_takes_what_a_url_names_and_the_ssl_mode_that_is_asked_for(aws: pytest.MonkeyPatch) -> None:
    url = {"DATABASE_URL": "postgresql://rates_loader@other.example.com/rates", "PGSSLMODE": "require"}
    parameters = connection_parameters("rates-test", IAM | url)
    assert parameters["password"].startswith("other.example.com:5432/?Action=connect&DBUser=rates_loader&")
    assert parameters["sslmode"] == "require"


def test_iam_without_a_region_names_the_variable(aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_REGION")
    aws.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="RATES_DB_AUTH is iam, which needs AWS_DEFAULT_REGION"):
        connection_parameters("rates-test", IAM)


def test_iam_without_credentials_may_go_well_later(aws: pytest.MonkeyPatch) -> None:
    aws.delenv("AWS_ACCESS_KEY_ID")
    aws.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DatabaseUnavailable, match="no IAM token could be made: Unable to locate credentials"):
        connection_parameters("rates-test", IAM)


def test_a_host_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (NAMED | {"PGHOST": "nowhere.invalid"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DatabaseUnavailable, match=r"nowhere\.invalid"):
        connect("rates-test")
