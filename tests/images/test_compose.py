"""compose.yaml as far as it can be checked without an engine: every name in it leads somewhere."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import yaml

from access.signatures import CallbackSecrets
from access.tokens import entry_of
from loader.__main__ import main as loader_commands
from local.object_storage import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY
from storage.settings import read_storage_settings
from tests.batch_storage import server_environment

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
LOADER_SERVICES = ("migrate", "import", "loader")
ONE_SHOTS = ("bucket", "migrate", "passwords", "import")
# What takes batches in.
TAKING = ("api", "loader")


def with_defaults(value: str) -> str:
    """`${NAME:-default}` as it reads where NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_it_has_the_parts_of_the_service() -> None:
    assert set(SERVICES) == {"postgres", "storage", *ONE_SHOTS, *TAKING}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_with_the_least_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_service_is_built_from_a_dockerfile_that_is_there(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (REPOSITORY / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", LOADER_SERVICES)
def test_a_loader_service_runs_a_command_that_the_loader_has(name: str) -> None:
    assert SERVICES[name]["command"][0] in loader_commands.commands


def test_a_service_mounts_only_what_is_there_and_never_for_writing() -> None:
    binds = [
        volume
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if isinstance(volume, dict)
    ]
    assert len(binds) == 3
    for bind in binds:
        assert bind["read_only"] is True
        assert (REPOSITORY / with_defaults(bind["source"])).exists()


def test_a_service_waits_for_what_can_become_as_it_asks() -> None:
    waits = [
        (on, how["condition"])
        for service in SERVICES.values()
        for on, how in service.get("depends_on", {}).items()
    ]
    assert len(waits) == 8
    for on, condition in waits:
        assert condition == ("service_completed_successfully" if on in ONE_SHOTS else "service_healthy")
        assert on in ONE_SHOTS or "healthcheck" in SERVICES[on]


def test_each_role_logs_in_with_the_password_that_its_services_send() -> None:
    for service in SERVICES.values():
        environment = service["environment"]
        user, password = environment.get("PGUSER"), environment.get("PGPASSWORD")
        if user == "postgres":
            assert password == SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
        elif user:
            assert f"--command=ALTER ROLE {user} PASSWORD '{password}'" in SERVICES["passwords"]["command"]


def test_the_api_is_published_on_the_port_its_image_listens_on() -> None:
    (port,) = SERVICES["api"]["ports"]
    dockerfile = (REPOSITORY / "api" / "Dockerfile").read_text()
    assert with_defaults(port) == "127.0.0.1:8000:8000"
    assert re.search(r"^EXPOSE 8000$", dockerfile, re.MULTILINE)


def environment_of(name: str) -> dict[str, str]:
    return {key: with_defaults(value) for key, value in SERVICES[name]["environment"].items()}


@pytest.mark.parametrize("name", TAKING)
def test_what_takes_batches_in_knows_the_storage(name: str) -> None:
    environment = environment_of(name)
    storage = read_storage_settings(environment)

    assert storage.bucket == BUCKET
    assert storage.queue_url.startswith(f"{environment['AWS_ENDPOINT_URL']}/")
    assert (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]) == (
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
    )
    assert environment["AWS_DEFAULT_REGION"] == REGION


def test_the_api_alone_knows_whose_tokens_are_good_and_loaders_what_callbacks_are_signed_with() -> None:
    (token,) = set(re.findall(r"Bearer ([\w-]+)", TEXT))
    assert environment_of("api")["RATES_API_TOKENS"] == entry_of("local", ["read", "write", "admin"], token)
    secret = environment_of("loader")["RATES_CALLBACK_SECRET"]
    assert CallbackSecrets(secret).known() == [secret]
    assert "RATES_CALLBACK_SECRET" not in environment_of("api")
    assert "RATES_API_TOKENS" not in environment_of("loader")


def test_the_storage_has_one_name_and_port_inside_and_on_the_machine() -> None:
    service, address = SERVICES["storage"], urlsplit(environment_of("api")["AWS_ENDPOINT_URL"])
    (port,) = service["ports"]

    assert service["networks"]["default"]["aliases"] == [address.hostname]
    assert str(address.hostname).endswith(".localhost"), "which is every machine's name for itself"
    assert with_defaults(port) == f"127.0.0.1:{address.port}:{address.port}"
    assert environment_of("storage")["MOTO_PORT"] == str(address.port)
    assert service["image"] == f"docker.io/motoserver/moto:{version('moto')}"


def test_bucket_and_queue_are_made_as_on_a_laptop(storage_server: str) -> None:
    """With what the mounted folder has, as the command would run it."""
    (program,) = SERVICES["bucket"]["command"]
    (mounted,) = SERVICES["bucket"]["volumes"]
    assert SERVICES["bucket"]["entrypoint"] == ["python", "-c"]
    assert (mounted["source"], mounted["target"]) == ("./local", "/app/local")
    assert "PYTHONPATH=/app " in (REPOSITORY / "loader" / "Dockerfile").read_text()
    environment = os.environ | server_environment(storage_server) | {"PYTHONPATH": str(REPOSITORY)}

    for _start in range(2):
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)

    where = {"endpoint_url": storage_server, "region_name": REGION}
    keys = {"aws_access_key_id": ACCESS_KEY_ID, "aws_secret_access_key": SECRET_ACCESS_KEY}
    url = boto3.client("sqs", **where, **keys).get_queue_url(QueueName=BUCKET)["QueueUrl"]
    assert urlsplit(url).path == urlsplit(environment_of("loader")["BATCH_QUEUE_URL"]).path


def test_a_loader_unpacks_big_files_on_its_images_disk_and_not_in_memory() -> None:
    assert SERVICES["loader"]["tmpfs"] == []
    assert "VOLUME /tmp\n" in (REPOSITORY / "loader" / "Dockerfile").read_text()
