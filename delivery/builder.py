"""Builds images with buildah, as root, without a Docker engine; `delivery.images` says which, and where to.

Where no base is named, there is no image registry: mmdebstrap makes one. Everything is kept in the cache, so
a second build takes seconds.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("api", "loader")
SUITE = "bookworm"
BASE = f"localhost/rates-python:{SUITE}"
# Debian's essential packages, and what the Dockerfiles use.
BASE_PACKAGES = ("ca-certificates", "passwd", "python3", "python3-pip", "python3-venv")
# What an image says that comes from a registry; a base made from scratch says nothing by itself.
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class BuildError(Exception):
    """A command that failed, with the end of what it said."""


@dataclass(frozen=True)
class Recipe:
    """What an image is made of beside the work tree. What is empty is the machine's, or the Dockerfile's."""

    base: str = ""
    platform: str = ""
    revision: str = ""
    version: str = ""
    rds_certificates: Path | None = None


@dataclass(frozen=True)
class ImageBuilder:
    """buildah with a store of its own in `cache`."""

    cache: Path

    def build(self, part: str, recipe: Recipe) -> str:
        """Builds the image of `api` or `loader` from the work tree; returns its id, since another build may
        take its name meanwhile."""
        name, id_file = f"localhost/rates-{part}", self.cache / f"{uuid4()}.id"
        options = ["--format=docker", "--network=host", f"--file={REPOSITORY / part / 'Dockerfile'}"]
        # vfs copies the whole file system for each layer, so there keeping them costs more than it saves.
        options += [
            f"--layers={str(self.storage_driver() != 'vfs').lower()}",
            f"--tag={name}",
            f"--iidfile={id_file}",
        ]
        if recipe.base:
            options += ["--pull-always", f"--build-arg=PYTHON_IMAGE={recipe.base}"]
        else:
            self.make_base()
            options += ["--pull-never", f"--build-arg=PYTHON_IMAGE={BASE}"]
        if recipe.platform:
            options.append(f"--platform={recipe.platform}")
        # No arguments of the Dockerfile's: buildah takes a label out of its cache whatever they are now.
        for label, value in {"revision": recipe.revision, "version": recipe.version}.items():
            options += [f"--label=org.opencontainers.image.{label}={value}"] if value else []
        options += self.rds_certificates(recipe.rds_certificates)
        self.buildah("build", *options, *self.registry_secrets(), str(REPOSITORY))
        image = id_file.read_text().strip().removeprefix("sha256:")
        id_file.unlink()
        return image

    def push(self, image: str, destination: str) -> str:
        """Pushes an image; returns the digest by which the destination knows it."""
        digest_file = self.cache / "digest"
        # Layers are packed for the way to a registry; packing them for a folder takes as long as a build.
        packing = [] if destination.startswith("docker://") else ["--disable-compression"]
        self.buildah("push", f"--digestfile={digest_file}", *packing, image, destination)
        return digest_file.read_text().strip()

    def rds_certificates(self, file: Path | None) -> list[str]:
        """The option for a file, copied to where the builder sees it; AWS's own address needs none."""
        if file is None:
            return []
        in_context = REPOSITORY / ".local" / "rds.pem"
        in_context.parent.mkdir(exist_ok=True)
        in_context.write_bytes(file.read_bytes())
        return [f"--build-arg=RDS_CERTIFICATES={in_context.relative_to(REPOSITORY)}"]

    def make_base(self) -> None:
        """Makes the image the Dockerfiles start from, unless the store has it: Debian with Python and pip."""
        if self.buildah("images", "--quiet", f"--filter=reference={BASE}"):
            return
        container = self.buildah("from", "scratch")
        try:
            root = self.buildah("mount", container)
            # In half the time of debootstrap; the container is not there to survive a power cut.
            options = [
                "--variant=essential",
                "--mode=root",
                "--format=directory",
                "--dpkgopt=force-unsafe-io",
            ]
            run(["mmdebstrap", *options, f"--include={','.join(BASE_PACKAGES)}", SUITE, root])
            self.buildah("config", f"--env=PATH={BASE_PATH}", container)
            self.buildah("commit", container, BASE)
        finally:
            self.buildah("rm", container)

    def registry_secrets(self) -> list[str]:
        """The machine's way to the package registry: mounted while packages are installed, not kept."""
        lines = ["[global]"]
        if "PIP_INDEX_URL" in os.environ:
            lines.append(f"index-url = {os.environ['PIP_INDEX_URL']}")
        secrets = []
        certificates = Path(os.environ.get("SSL_CERT_FILE", CERTIFICATES))
        if certificates.is_file():
            lines.append("cert = /run/secrets/ca.pem")
            secrets.append(f"--secret=id=ca,src={certificates}")
        pip_conf = self.cache / "pip.conf"
        pip_conf.write_text("\n".join(lines) + "\n")
        return [*secrets, f"--secret=id=pip,src={pip_conf}"]

    def storage_driver(self) -> str:
        return self.buildah("info", "--format={{.store.GraphDriverName}}")

    def buildah(self, *arguments: str) -> str:
        """Runs a buildah command to its end; returns what it wrote to standard output."""
        return run(self.command(*arguments), env=self.environment()).strip()

    def command(self, *arguments: str) -> list[str]:
        return ["buildah", f"--root={self.cache / 'store'}", f"--runroot={self.cache / 'run'}", *arguments]

    def environment(self) -> dict[str, str]:
        """chroot isolation works inside containers and small virtual machines too, and shares the network."""
        scratch = self.cache / "tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        return os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(scratch)}


def default_cache() -> Path:
    return Path(os.environ.get("RATES_IMAGE_CACHE", REPOSITORY / ".local" / "images")).absolute()


def run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_lines = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise BuildError(f"exit status {done.returncode} from {' '.join(command)}:\n{last_lines}")
    return done.stdout
