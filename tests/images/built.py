"""Both images, built once a run for all tests that need them, by the commands of the pipeline's build file.

As CodeBuild runs them, but for where a registry would be: the push goes into a folder, which gives real
digests. What of the build file only installs or logs in is left out.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from delivery.builder import PARTS, default_cache
from delivery.login import write_login
from tests.delivery.build_files import build_file, commands, copy_of_the_repository, run_commands
from tests.images.authority import Authority

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
COMMIT = "8f14e45fceea167a5a36dedd4bea2543f6cb2d18"
# Of delivery/images.yml: here layers are kept for the next run, and in them is the base.
OF_THE_BUILDER = {"RATES_IMAGE_CACHE", "STORAGE_DRIVER"}
# As the project gives it, empty for the base: then mmdebstrap makes one.
GIVEN = {
    "API_REPOSITORY": f"{REGISTRY}/rates-dev-api",
    "LOADER_REPOSITORY": f"{REGISTRY}/rates-dev-loader",
    "PYTHON_IMAGE": "",
    "IMAGE_PLATFORM": "linux/arm64" if os.uname().machine == "aarch64" else "linux/amd64",
    "CODEBUILD_RESOLVED_SOURCE_VERSION": COMMIT,
    "CODEBUILD_BUILD_NUMBER": "7",
}


@dataclass(frozen=True)
class Built:
    """What the build leaves below `folder`; `images` has each one's id in the builder's store, by part."""

    folder: Path
    images: dict[str, str]

    @property
    def pushed(self) -> Path:
        """The folder that stands for the registry."""
        return self.folder / "pushed"

    @property
    def artifact(self) -> Path:
        """The folder with images.json."""
        return self.folder / "artifact"

    @property
    def authority(self) -> Authority:
        """Whom the images trust with databases."""
        return Authority(self.folder / "rds")


def built_images(factory: pytest.TempPathFactory) -> Built:
    """Builds them, or waits for the process of this run that does."""
    run = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # this worker's is in the run's
    folder = run / "images"
    with (run / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a build that failed
            build(folder)
    return Built(folder, json.loads((folder / "built.json").read_text()))


def build(folder: Path) -> None:
    source, built = folder / "source", Built(folder, {})
    for each in (source, built.pushed / REGISTRY, built.artifact):
        each.mkdir(parents=True)
    copy_of_the_repository(source)
    spec = build_file("images")
    settings = spec["env"]["variables"]
    environment = {
        **os.environ,
        **{name: value for name, value in settings.items() if name not in OF_THE_BUILDER},
        **GIVEN,
        "RATES_IMAGE_CACHE": str(default_cache()),
        "RDS_CERTIFICATES": str(built.authority.certificate),
        "IMAGE_DESTINATION": f"dir:{built.pushed}/",
    }
    write_login(source / settings["REGISTRY_AUTH_FILE"], [GIVEN["API_REPOSITORY"]], "bm9ib2R5Om5vdGhpbmc=")
    ended = run_commands(commands("images", "build"), source, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [file] = spec["artifacts"]["files"]
    shutil.copy(source / file, built.artifact)
    images = dict(re.findall(r"^built (\w+);.* from (\w+)$", ended.stdout, re.MULTILINE))
    assert images.keys() == {*PARTS}
    (folder / "built.json").write_text(json.dumps(images))
