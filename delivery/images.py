"""`python -m delivery.images`: builds both images; with --push, pushes them and records their digests.

`make images` calls it on a machine, `images.yml` in the pipeline. From the environment, all of it optional:
PYTHON_IMAGE (the base; made by mmdebstrap if not set), IMAGE_PLATFORM (such as linux/arm64),
CODEBUILD_RESOLVED_SOURCE_VERSION (the commit), RDS_CERTIFICATES (a PEM file; fetched from AWS if not set).
A push needs API_REPOSITORY, LOADER_REPOSITORY and IMAGE_TAG. IMAGE_DESTINATION, `docker://` if not set, is
where repositories are: `dir:FOLDER/` needs no registry.
"""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from delivery.builder import PARTS, REPOSITORY, BuildError, ImageBuilder, Recipe, default_cache

# By part: where its image goes, and the stack's setting that says which image runs.
REPOSITORY_VARIABLES = {"api": "API_REPOSITORY", "loader": "LOADER_REPOSITORY"}
SETTINGS = {"api": "apiImage", "loader": "loaderImage"}


def recipe_of(environment: Mapping[str, str]) -> Recipe:
    certificates = environment.get("RDS_CERTIFICATES")
    return Recipe(
        base=environment.get("PYTHON_IMAGE", ""),
        platform=environment.get("IMAGE_PLATFORM", ""),
        revision=environment.get("CODEBUILD_RESOLVED_SOURCE_VERSION", ""),
        version=tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"],
        rds_certificates=Path(certificates) if certificates else None,
    )


def push(builder: ImageBuilder, images: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Pushes each part's image to its repository. Returns the stack's settings that name them, by digest."""
    transport = environment.get("IMAGE_DESTINATION") or "docker://"
    references = {}
    for part, image in images.items():
        repository = environment[REPOSITORY_VARIABLES[part]]
        digest = builder.push(image, f"{transport}{repository}:{environment['IMAGE_TAG']}")
        references[SETTINGS[part]] = f"{repository}@{digest}"
    return references


def main(arguments: list[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    parser = argparse.ArgumentParser(prog="python -m delivery.images", description="Build both images.")
    parser.add_argument("--push", action="store_true", help="to the repositories that the environment names")
    parser.add_argument("--record", type=Path, help="the file to write their digests into")
    options = parser.parse_args(arguments)
    missing = [name for name in (*REPOSITORY_VARIABLES.values(), "IMAGE_TAG") if not environment.get(name)]
    if options.push and missing:
        sys.stderr.write(f"--push needs {', '.join(missing)} in the environment\n")
        return 2
    builder, recipe = ImageBuilder(default_cache()), recipe_of(environment)
    try:
        images = {part: builder.build(part, recipe) for part in PARTS}
        references = push(builder, images, environment) if options.push else {}
    except (BuildError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for part, image in images.items():
        start = " ".join(builder.command("from", image))
        sys.stdout.write(f"built {part}; a container of it: BUILDAH_ISOLATION=chroot {start}\n")
    if options.record:
        options.record.write_text(json.dumps(references, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
