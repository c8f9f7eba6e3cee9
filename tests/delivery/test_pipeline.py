"""The commands of the pipeline, from a commit to a stack that runs its images.

As CodeBuild runs them, but for where AWS and an image registry would be: the images are those of
tests/images/built.py, and the stack is one of tests/engine. What of a build file only installs or logs in is
left out.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.delivery.build_files import commands, run_commands
from tests.engine.stack import Stack
from tests.images.built import COMMIT, GIVEN, Built, built_images


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_images(tmp_path_factory)


@pytest.fixture(scope="module")
def images(built: Built) -> Path:
    """What the build phase of images.yml leaves: the artifact with images.json."""
    return built.artifact


def pushed_to(repository: str, built: Built) -> Path:
    """The folder that stands for a repository's only image."""
    [found] = (built.pushed / Path(repository).parent).glob(f"{Path(repository).name}:*")
    return found


@pytest.mark.needs("buildah", "mmdebstrap", "root")
@pytest.mark.parametrize(
    ("setting", "variable"), [("apiImage", "API_REPOSITORY"), ("loaderImage", "LOADER_REPOSITORY")]
)
def test_images_json_names_what_was_pushed_by_its_digest(setting: str, variable: str, built: Built) -> None:
    repository = GIVEN[variable]
    folder = pushed_to(repository, built)
    digest = sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert (
        json.loads((built.artifact / "images.json").read_text())[setting] == f"{repository}@sha256:{digest}"
    )
    assert folder.name.partition(":")[2] == f"{COMMIT}-7"


@pytest.mark.needs("buildah", "mmdebstrap", "root")
@pytest.mark.parametrize("variable", ["API_REPOSITORY", "LOADER_REPOSITORY"])
def test_an_image_says_of_which_commit_and_for_which_processor_it_is(variable: str, built: Built) -> None:
    folder = pushed_to(GIVEN[variable], built)
    digest = json.loads((folder / "manifest.json").read_text())["config"]["digest"]
    config = json.loads((folder / digest.removeprefix("sha256:")).read_text())
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


@pytest.mark.needs("buildah", "mmdebstrap", "root", "pulumi", "jq")
def test_the_images_just_built_are_what_the_stack_is_previewed_and_deployed_with(
    stack: Stack, images: Path
) -> None:
    status, said = deploy(stack, images)
    assert status == 0, said
    assert "+ aws:ecs/taskDefinition:TaskDefinition: (create)" in said, "the preview"
    definitions = [
        each["outputs"]["containerDefinitions"]
        for each in stack.held()
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
    assert stack.held() == []


@pytest.mark.needs("pulumi", "jq")
def test_a_setting_that_is_refused_in_the_preview_stops_the_deploy(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text('{"apiImage": "rates:latest", "loaderImage": "rates:latest"}')
    status, said = deploy(stack, tmp_path)
    assert status != 0
    assert "rates:apiImage is 'rates:latest'" in said
    assert "Traceback" not in said
    assert stack.held() == []
