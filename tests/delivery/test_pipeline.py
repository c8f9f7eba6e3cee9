"""The commands of the pipeline, from a commit to a stack that runs its images.

As CodeBuild runs them, but for where AWS and an image registry would be: the push goes into a folder, which
gives real digests, and the stack is one of tests/engine. What of a build file only installs or logs in is
left out.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from delivery.builder import default_cache
from delivery.login import write_login
from tests.delivery.build_files import build_file, commands, copy_of_the_repository, run_commands
from tests.engine.stack import Stack
from tests.images.authority import Authority

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
COMMIT = "8f14e45fceea167a5a36dedd4bea2543f6cb2d18"
# Of delivery/images.yml; here the store of tests/images is used, which already has the base.
OF_THE_BUILDER = {"RATES_IMAGE_CACHE", "STORAGE_DRIVER"}
# As the project gives it, empty for the base: then debootstrap makes one.
GIVEN = {
    "API_REPOSITORY": f"{REGISTRY}/rates-dev-api",
    "LOADER_REPOSITORY": f"{REGISTRY}/rates-dev-loader",
    "PYTHON_IMAGE": "",
    "IMAGE_PLATFORM": "linux/arm64" if os.uname().machine == "aarch64" else "linux/amd64",
    "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
    "CODEBUILD_BUILD_NUMBER": "7",
}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the registry."""
    folder = tmp_path_factory.mktemp("pushed")
    (folder / REGISTRY).mkdir()
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_repository(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def images(source: Path, pushed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build phase of images.yml leaves: the artifact with images.json."""
    settings = build_file("images")["env"]["variables"]
    environment = {
        **os.environ,
        **{name: value for name, value in settings.items() if name not in OF_THE_BUILDER},
        **GIVEN,
        "RATES_IMAGE_CACHE": str(default_cache()),
        "RDS_CERTIFICATES": str(Authority(tmp_path_factory.mktemp("rds")).certificate),
        "IMAGE_DESTINATION": f"oci:{pushed}/",
    }
    write_login(source / settings["REGISTRY_AUTH_FILE"], [GIVEN["API_REPOSITORY"]], "bm9ib2R5Om5vdGhpbmc=")
    ended = run_commands(commands("images", "build"), source, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    artifact = tmp_path_factory.mktemp("artifact")
    [file] = build_file("images")["artifacts"]["files"]
    shutil.copy(source / file, artifact)
    return artifact


def manifest(pushed: Path, repository: str) -> dict[str, Any]:
    [found] = json.loads((pushed / repository / "index.json").read_text())["manifests"]
    return found


@pytest.mark.needs("buildah", "debootstrap", "root")
@pytest.mark.parametrize(
    ("setting", "variable"), [("apiImage", "API_REPOSITORY"), ("loaderImage", "LOADER_REPOSITORY")]
)
def test_images_json_names_what_was_pushed_by_its_digest(
    setting: str, variable: str, images: Path, pushed: Path
) -> None:
    repository = GIVEN[variable]
    found = manifest(pushed, repository)
    assert json.loads((images / "images.json").read_text())[setting] == f"{repository}@{found['digest']}"
    assert found["annotations"]["org.opencontainers.image.ref.name"] == f"{COMMIT}-7"


@pytest.mark.needs("buildah", "debootstrap", "root")
@pytest.mark.parametrize("variable", ["API_REPOSITORY", "LOADER_REPOSITORY"])
def test_an_image_says_of_which_commit_and_for_which_processor_it_is(
    variable: str, images: Path, pushed: Path
) -> None:
    blobs = pushed / GIVEN[variable] / "blobs" / "sha256"
    digest = manifest(pushed, GIVEN[variable])["digest"]
    config_digest = json.loads((blobs / digest[7:]).read_text())["config"]["digest"]
    config = json.loads((blobs / config_digest[7:]).read_text())
    assert config["config"]["Labels"]["org.opencontainers.image.revision"] == COMMIT
    assert f"{config['os']}/{config['architecture']}" == GIVEN["IMAGE_PLATFORM"]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    stack = Stack(tmp_path / "dev", "dev")
    # Where the pipeline's own download of pulumi would be.
    (stack.project / ".pulumi.version").write_text("none")
    return stack


def deploy(stack: Stack, images: Path) -> tuple[int, str]:
    """The build phase of deploy.yml up to where AWS is asked what runs."""
    all_of_them = commands("deploy", "build")
    asked = next(at for at, command in enumerate(all_of_them) if "delivery.verify" in command)
    assert asked == len(all_of_them) - 1
    environment = stack.environment() | {"STACK": "dev", "CODEBUILD_SRC_DIR_images": str(images)}
    ended = run_commands(all_of_them[:asked], stack.project, environment)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.needs("buildah", "debootstrap", "root", "pulumi", "jq")
def test_the_images_just_built_are_what_the_stack_is_previewed_and_deployed_with(
    stack: Stack, images: Path
) -> None:
    status, said = deploy(stack, images)
    assert status == 0, said
    assert "+ aws:ecs/taskDefinition:TaskDefinition: (create)" in said, "the preview"
    state = json.loads(stack.pulumi("stack", "export").stdout)["deployment"]["resources"]
    definitions = [
        each["outputs"]["containerDefinitions"]
        for each in state
        if each["type"] == "aws:ecs/taskDefinition:TaskDefinition"
    ]
    run = {container["image"] for each in definitions for container in json.loads(each)}
    assert run == set(json.loads((images / "images.json").read_text()).values())
    assert json.loads((stack.project / "outputs.json").read_text())["services"] == "running"


@pytest.mark.needs("pulumi", "jq")
def test_without_an_image_there_is_no_deploy(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text('{"apiImage": "one"}')
    status, said = deploy(stack, tmp_path)
    assert status != 0
    assert "Previewing" not in said
    assert json.loads(stack.pulumi("stack", "export").stdout)["deployment"].get("resources", []) == []


@pytest.mark.needs("pulumi", "jq")
def test_a_setting_that_is_refused_in_the_preview_stops_the_deploy(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text('{"apiImage": "rates:latest", "loaderImage": "rates:latest"}')
    status, said = deploy(stack, tmp_path)
    assert status != 0
    assert "rates:apiImage is 'rates:latest'" in said
    assert "Traceback" not in said
    assert json.loads(stack.pulumi("stack", "export").stdout)["deployment"].get("resources", []) == []
