"""The images that a stack runs, and how many it keeps."""

import re
from dataclasses import dataclass

from infra.settings.reader import Reader

# A deploy goes back no further than images do. ECR takes 10,000 in a repository.
IMAGES_KEPT = range(10, 1001)
# By digest, which means one image for ever; a tag can come to mean another between two tasks.
IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z]{2}(-[a-z]+)+-\d)\.amazonaws\.com"
    r"/(?P<repository>[a-z0-9][a-z0-9._/-]*)@sha256:[0-9a-f]{64}"
)


@dataclass(frozen=True)
class Image:
    """In ECR, by digest. It matches IMAGE; `read_image` refuses all else."""

    reference: str

    @property
    def repository_arn(self) -> str:
        """Another stack's repository is fine: copies need not have images of their own."""
        match = IMAGE.fullmatch(self.reference)
        if match is None:
            raise AssertionError(self.reference)
        return f"arn:aws:ecr:{match['region']}:{match['account']}:repository/{match['repository']}"


@dataclass(frozen=True)
class ImageSettings:
    """What runs, None until images have been pushed; and how many images each repository keeps."""

    api: Image | None
    loader: Image | None
    kept: int
    production: bool

    @property
    def release(self) -> tuple[Image, Image] | None:
        return (self.api, self.loader) if self.api and self.loader else None


def read_images(reader: Reader, production: bool) -> ImageSettings:
    api, loader = read_image(reader, "apiImage"), read_image(reader, "loaderImage")
    reader.demand("apiImage", not loader or bool(api), "loaderImage is set, and they are deployed together")
    reader.demand("loaderImage", not api or bool(loader), "apiImage is set, and needs its migrations")
    return ImageSettings(
        api=api, loader=loader, kept=reader.whole("imagesKept", IMAGES_KEPT), production=production
    )


def read_image(reader: Reader, key: str) -> Image | None:
    """After a fault there is an image still, so that the other is not reported for it."""
    reference = reader.text_if_set(key, IMAGE, "an image in ECR by its digest, …amazonaws.com/…@sha256:…")
    return None if reference is None else Image(reference)
