"""compose.yaml as far as it can be checked without an engine: every name in it leads somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.__main__ import main as loader_commands

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
LOADER_SERVICES = ("migrate", "import", "loader")
ONE_SHOTS = ("migrate", "passwords", "import")


def with_defaults(value: str) -> str:
    """`${NAME:-default}` as it reads where NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_it_has_the_parts_of_the_service() -> None:
    assert set(SERVICES) == {"postgres", "migrate", "passwords", "import", "api", "loader"}


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
    assert len(binds) == 2
    for bind in binds:
        assert bind["read_only"] is True
        assert (REPOSITORY / with_defaults(bind["source"])).exists()


def test_a_service_waits_for_what_can_become_as_it_asks() -> None:
    waits = [
        (on, how["condition"])
        for service in SERVICES.values()
        for on, how in service.get("depends_on", {}).items()
    ]
    assert len(waits) == 5
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
