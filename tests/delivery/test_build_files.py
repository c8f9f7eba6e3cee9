"""The build files hold what CodeBuild understands, use what they are given, and stop at the first failure."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.build_files import NAMES, ROOT, build_file, run_commands

# From the reference of build specifications, version 0.2: what of it is used here.
KEYS = {"version", "env", "phases", "artifacts", "cache"}
PHASES = ("install", "pre_build", "build", "post_build")
PHASE_KEYS = {"on-failure", "commands"}
# The contract with infra/delivery.py: what the three projects are given, and what CodeBuild adds.
GIVEN = {
    "check": set(),
    "images": {"API_REPOSITORY", "LOADER_REPOSITORY", "IMAGE_PLATFORM"},
    "deploy": {"STACK", "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"},
}
OF_CODEBUILD = {"CODEBUILD_RESOLVED_SOURCE_VERSION", "CODEBUILD_BUILD_NUMBER", "CODEBUILD_SRC_DIR_images"}
OF_THE_SHELL = {"PATH", "PWD"}
USE = re.compile(r"\$\{?([A-Za-z_]\w*)")
SETTING = re.compile(r"^(?:export )?([A-Za-z_]\w*)=")


def all_commands(spec: dict[str, Any]) -> list[str]:
    return [command for phase in spec["phases"].values() for command in phase["commands"]]


def unknown_variables(name: str, spec: dict[str, Any]) -> set[str]:
    """What a command uses and nothing sets."""
    known = GIVEN[name] | OF_CODEBUILD | OF_THE_SHELL | spec["env"].get("variables", {}).keys()
    unknown: set[str] = set()
    for command in all_commands(spec):
        unknown |= set(USE.findall(command)) - known
        known |= set(SETTING.findall(command))
    return unknown


@pytest.mark.parametrize("name", NAMES)
def test_a_build_file_has_only_what_codebuild_knows(name: str) -> None:
    spec = build_file(name)
    assert spec["version"] == 0.2
    assert spec.keys() <= KEYS
    assert spec["env"].keys() <= {"shell", "variables"}
    assert all(isinstance(value, str) for value in spec["env"].get("variables", {}).values())
    assert list(spec["phases"]) == [phase for phase in PHASES if phase in spec["phases"]]
    assert all(phase.keys() == PHASE_KEYS for phase in spec["phases"].values())
    assert all(isinstance(command, str) for command in all_commands(spec))
    assert spec["cache"].keys() == {"paths"}


@pytest.mark.parametrize("name", NAMES)
def test_a_phase_that_fails_ends_the_build(name: str) -> None:
    """CodeBuild runs post_build even after a build that failed, unless told not to."""
    spec = build_file(name)
    assert spec["env"]["shell"] == "bash"
    assert {phase["on-failure"] for phase in spec["phases"].values()} == {"ABORT"}


@pytest.mark.parametrize("name", NAMES)
def test_no_command_hides_that_a_part_of_it_failed(name: str) -> None:
    """CodeBuild looks at the status of a whole command, which in lines or in a pipe is the last one's."""
    for command in all_commands(build_file(name)):
        assert not re.search(r"\n|;|(?<!\|)\|(?!\|)|\|\||&&", command), command


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_used_comes_from_somewhere(name: str) -> None:
    assert unknown_variables(name, build_file(name)) == set()


def test_a_variable_that_nobody_gives_is_found() -> None:
    spec = build_file("deploy")
    spec["phases"]["build"]["commands"].append('pulumi cancel "$STAKC"')
    assert unknown_variables("deploy", spec) == {"STAKC"}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_and_module_that_is_called_is_there(name: str) -> None:
    text = "\n".join(all_commands(build_file(name)))
    modules = re.findall(r"python3? -m delivery\.(\w+)", text)
    assert all((ROOT / "delivery" / f"{module}.py").is_file() for module in modules)
    scripts = re.findall(r"bash (\S+)", text)
    assert all((ROOT / script).is_file() for script in scripts)
    targets = [target for words in re.findall(r"^make (.*)", text, re.MULTILINE) for target in words.split()]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in targets)


def test_the_commands_of_a_phase_share_a_shell_and_stop_at_the_first_failure(tmp_path: Path) -> None:
    ended = run_commands(["export WORD=one", "echo $WORD", "false", "echo two"], tmp_path, {"PATH": "/bin"})
    assert (ended.returncode, ended.stdout) == (1, "one\n")


def test_the_pipelines_base_is_the_dockerfiles_own() -> None:
    base = build_file("images")["env"]["variables"]["PYTHON_IMAGE"]
    assert base.startswith("public.ecr.aws/docker/library/")
    for part in ("api", "loader"):
        [default] = re.findall(
            r"^ARG PYTHON_IMAGE=(.*)$", (ROOT / part / "Dockerfile").read_text(), re.MULTILINE
        )
        assert default.rpartition("/")[2] == base.rpartition("/")[2]


def test_the_version_of_pulumi_stands_in_one_place() -> None:
    version = (ROOT / ".pulumi.version").read_text().strip()
    assert re.fullmatch(r"3\.\d+\.\d+", version)
    for file in (".ci/run", "delivery/install_pulumi", "delivery/check.yml", "delivery/deploy.yml"):
        text = (ROOT / file).read_text()
        assert ".pulumi.version" in text
        assert version not in text, file


def test_the_script_that_installs_pulumi_is_a_script() -> None:
    subprocess.run(["bash", "-n", ROOT / "delivery" / "install_pulumi"], check=True)
