"""What the command that builds images asks of buildah, which is a script here that writes that down.

That buildah then does it is seen in `test_pipeline.py`, on a base of our own; here it is a registry's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from delivery.images import main
from tests.engine.stack import write_executable

BASE = "registry.example/python:3.13"
REPOSITORIES = {"API_REPOSITORY": "registry.example/api", "LOADER_REPOSITORY": "registry.example/loader"}
DIGEST = f"sha256:{'0' * 64}"
IDS = ["a" * 64, "b" * 64]
BUILDAH = """
import json
from pathlib import Path
asked = [word for word in sys.argv[1:] if not word.startswith(("--root=", "--runroot="))]
with Path({log!r}).open("a") as log:
    log.write(json.dumps(asked) + chr(10))
if asked[0] == "info":
    print("overlay")
if asked[0] == "build":
    [id_file] = [word.removeprefix("--iidfile=") for word in asked if word.startswith("--iidfile=")]
    is_api = any(word.endswith("/api/Dockerfile") for word in asked)
    Path(id_file).write_text("sha256:" + {ids!r}[not is_api])
if asked[0] == "push":
    Path(asked[1].removeprefix("--digestfile=")).write_text({digest!r})
if asked[0] == {fails!r}:
    sys.exit("no space left on device")
"""


class Buildah:
    """The script, on PATH, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.fail_at("nothing")

    def fail_at(self, command: str) -> None:
        source = BUILDAH.format(log=str(self._folder / "log"), digest=DIGEST, ids=IDS, fails=command)
        write_executable(self._folder / "buildah", source)

    def asked(self, command: str) -> list[list[str]]:
        lines = (self._folder / "log").read_text().splitlines()
        return [words for words in map(json.loads, lines) if words[0] == command]


@pytest.fixture
def buildah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Buildah:
    monkeypatch.setenv("RATES_IMAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()
    return Buildah(tmp_path / "bin")


def test_a_base_that_is_named_is_pulled_anew_for_the_platform(buildah: Buildah) -> None:
    """A base gets its security updates under the name that it has."""
    assert main([], {"PYTHON_IMAGE": BASE, "IMAGE_PLATFORM": "linux/arm64"}) == 0
    builds = buildah.asked("build")
    assert len(builds) == 2
    for build in builds:
        assert {"--pull-always", f"--build-arg=PYTHON_IMAGE={BASE}", "--platform=linux/arm64"} <= {*build}
        assert not any(word.startswith("--build-arg=RDS_CERTIFICATES") for word in build)
    assert buildah.asked("from") == [], "no base of our own is made"


def test_an_image_is_labelled_by_options_since_arguments_do_not_undo_what_is_cached(buildah: Buildah) -> None:
    assert main([], {"PYTHON_IMAGE": BASE, "CODEBUILD_RESOLVED_SOURCE_VERSION": "commit"}) == 0
    for build in buildah.asked("build"):
        assert "--label=org.opencontainers.image.revision=commit" in build
        assert any(word.startswith("--label=org.opencontainers.image.version=") for word in build)


def test_an_image_is_pushed_by_its_tag_and_recorded_by_its_digest(buildah: Buildah, tmp_path: Path) -> None:
    record = tmp_path / "images.json"
    environment = {"PYTHON_IMAGE": BASE, "IMAGE_TAG": "commit-7", **REPOSITORIES}
    assert main(["--push", "--record", str(record)], environment) == 0
    destinations = [words[-1] for words in buildah.asked("push")]
    assert destinations == [f"docker://{each}:commit-7" for each in REPOSITORIES.values()]
    pushed = [words[-2] for words in buildah.asked("push")]
    assert pushed == IDS, "and no name, which another build may have taken meanwhile"
    assert json.loads(record.read_text()) == {
        "apiImage": f"registry.example/api@{DIGEST}",
        "loaderImage": f"registry.example/loader@{DIGEST}",
    }


@pytest.mark.parametrize("command", ["build", "push"])
def test_a_failure_is_said_and_records_nothing(
    command: str, buildah: Buildah, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buildah.fail_at(command)
    record = tmp_path / "images.json"
    environment = {"PYTHON_IMAGE": BASE, "IMAGE_TAG": "commit-7", **REPOSITORIES}
    assert main(["--push", "--record", str(record)], environment) == 1
    assert "no space left on device" in capsys.readouterr().err
    assert not record.exists()


def test_a_push_names_all_that_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--push"], {"LOADER_REPOSITORY": "registry.example/loader"}) == 2
    assert capsys.readouterr().err == "--push needs API_REPOSITORY, IMAGE_TAG in the environment\n"
