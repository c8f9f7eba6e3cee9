"""Both images, built from the work tree and run: what they hold, and that they do their work without being
root and with no place to write."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import httpx
import psutil
import pytest

from access.tokens import entry_of
from delivery.builder import PARTS, ImageBuilder, default_cache
from local import sample
from local.postgres import PostgresServer, free_port, installed_bin_dirs
from tests.batch_storage import BatchStorage
from tests.images.authority import Authority
from tests.images.built import Built, built_images
from tests.postgres import PASSWORD, Database
from tests.processes import asked

pytestmark = pytest.mark.needs("buildah", "mmdebstrap", "root")

FILES = "/files"  # where a container sees a test's folder
SAID = "/said"  # and what its commands say
READY_TIMEOUT_S = 30
ANYONE_MAY_WRITE = {"/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - as in every Debian


@dataclass(frozen=True)
class Container:
    """A container of one image; `config` is the image's, as Docker would read it."""

    builder: ImageBuilder
    name: str
    config: dict[str, Any]

    def command(
        self, *words: str, options: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> list[str]:
        variables = [f"--env={name}={value}" for name, value in (env or {}).items()]
        return self.builder.command("run", *variables, *options, self.name, "--", *words)

    def run(
        self, *words: str, options: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in it as the image's user.

        What it says comes in files: on a busy machine buildah 1.28 loses it now and then, one in 250 times.
        """
        with TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o777)
            into_files = ("sh", "-c", f'exec "$@" >{SAID}/out 2>{SAID}/err', "sh")
            mounted = (*options, f"--volume={folder}:{SAID}")
            command = self.command(*into_files, *words, options=mounted, env=env)
            environment = self.builder.environment()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            out, err = ((folder / file).read_text() for file in ("out", "err"))
        return subprocess.CompletedProcess(command, done.returncode, out, err + done.stderr)

    def output(self, *words: str, **how: Any) -> str:
        """What a command writes that has to succeed."""
        done = self.run(*words, **how)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def entry(self, *arguments: str) -> list[str]:
        """What an engine would start: the entrypoint with these arguments, or with the image's own."""
        return [*(self.config["Entrypoint"] or []), *(arguments or self.config["Cmd"])]

    def health_check(self) -> list[str]:
        kind, *words = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return words


@pytest.fixture(scope="session")
def builder() -> ImageBuilder:
    return ImageBuilder(default_cache())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_images(tmp_path_factory)


@pytest.fixture(scope="session")
def authority(built: Built) -> Authority:
    """What the images take for RDS's."""
    return built.authority


@pytest.fixture(scope="session")
def images(built: Built) -> dict[str, str]:
    """The images' ids by part."""
    return built.images


@pytest.fixture(scope="session")
def containers(builder: ImageBuilder, images: dict[str, str]) -> Iterator[dict[str, Container]]:
    """A container of each image, by part."""
    with ExitStack() as stack:
        yield {part: stack.enter_context(new_container(builder, image)) for part, image in images.items()}


@contextmanager
def new_container(builder: ImageBuilder, image: str) -> Generator[Container]:
    config = json.loads(builder.buildah("inspect", "--type=image", image))["Docker"]["config"]
    name = builder.buildah("from", "--pull-never", image)
    try:
        yield Container(builder, name, config)
    finally:
        builder.buildah("rm", name)


@pytest.fixture(params=PARTS)
def container(request: pytest.FixtureRequest, containers: dict[str, Container]) -> Container:
    return containers[request.param]


@pytest.fixture
def read_only(containers: dict[str, Container]) -> dict[str, Container]:
    """The containers without the places where anyone may write; chroot isolation has no read-only root."""
    for one in containers.values():
        closed = one.run("chmod", "755", *ANYONE_MAY_WRITE, options=("--user=0",))
        assert closed.returncode == 0, closed.stderr
        assert writable_folders(one) == set()
    return containers


def writable_folders(container: Container) -> set[str]:
    found = container.run("find", "/", "-xdev", "-writable", "!", "-type", "l").stdout.split()
    return set(found) - {SAID}


def test_an_image_runs_as_a_fixed_user_who_is_not_root(container: Container) -> None:
    assert container.config["User"] == "10001:10001"
    assert container.output("id", "-u").strip() == "10001"


def test_an_image_says_how_it_is_started_and_stopped(containers: dict[str, Container]) -> None:
    gunicorn = ["python", "-m", "gunicorn", "--config", "python:api.server", "api.wsgi:app"]
    assert containers["api"].entry() == gunicorn
    assert containers["loader"].entry() == ["python", "-m", "loader", "work"]
    assert containers["loader"].entry("migrate") == ["python", "-m", "loader", "migrate"]
    for part, one in containers.items():
        assert one.config["StopSignal"] == "SIGTERM"
        assert one.config["Labels"]["org.opencontainers.image.title"] == f"rates-{part}"


def test_an_image_holds_nothing_that_installs_or_compiles(container: Container) -> None:
    look_up = "for name in pip pip3 gcc cc ld make git curl; do command -v $name; done"
    assert container.run("sh", "-c", look_up).stdout == ""
    find = (
        "import importlib.util as u; print([n for n in 'pip ensurepip setuptools'.split() if u.find_spec(n)])"
    )
    assert container.output("python", "-c", find).strip() == "[]"
    assert container.run("find", "/", "-xdev", "-name", "pip*.whl").stdout == ""


def test_an_image_keeps_no_secret_of_its_build(container: Container) -> None:
    names = ("-name", "ca.pem", "-o", "-name", "pip.conf")
    assert container.run("find", "/", "-xdev", *names, options=("--user=0",)).stdout == ""


def test_an_image_carries_only_what_it_runs(containers: dict[str, Container]) -> None:
    for part, foreign in {"api": "polars", "loader": "falcon"}.items():
        held = {part, "access", "database", "storage", "telemetry"}
        assert set(containers[part].output("ls", "/app").split()) == held
        assert "No module named" in containers[part].run("python", "-c", f"import {foreign}").stderr


def test_every_module_of_an_image_is_compiled_already(container: Container) -> None:
    modules = container.output("find", "/app", "-name", "*.py").split()
    compiled = container.output("find", "/app", "-name", "*.pyc").split()
    assert modules
    assert len(compiled) == len(modules)


def test_its_user_can_write_to_no_folder_of_an_image_but_the_temporary_ones(
    builder: ImageBuilder, images: dict[str, str]
) -> None:
    for image in images.values():
        with new_container(builder, image) as untouched:
            assert writable_folders(untouched) <= ANYONE_MAY_WRITE


def test_the_loaders_disk_has_rights_by_which_its_user_may_write_there(
    builder: ImageBuilder, images: dict[str, str]
) -> None:
    with new_container(builder, images["loader"]) as untouched:
        assert untouched.config["Volumes"] == {"/tmp": {}}  # noqa: S108
        # Some builders drop the sticky bit of a folder that is a volume.
        assert untouched.output("stat", "--format=%a", "/tmp").strip() in {"777", "1777"}  # noqa: S108


def test_the_health_check_fails_where_no_api_listens(containers: dict[str, Container]) -> None:
    api = containers["api"]
    assert api.run(*api.health_check(), env={"PORT": str(free_port())}).returncode == 1


def test_the_health_check_fails_where_the_answer_is_not_200(containers: dict[str, Container]) -> None:
    api = containers["api"]
    # A server that knows no GET answers 501.
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as broken:
        Thread(target=broken.serve_forever, daemon=True).start()
        checked = api.run(*api.health_check(), env={"PORT": str(broken.server_port)})
        broken.shutdown()
    assert checked.returncode == 1
    assert "Traceback" not in checked.stderr, "it failed before it saw the answer"


def test_the_images_migrate_load_a_file_and_answer_from_it_writing_nowhere(
    read_only: dict[str, Container], empty_database: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    loader = read_only["loader"]
    environment = empty_database.environment()
    options = (f"--volume={tmp_path}:{FILES}:ro",)
    tmp_path.chmod(0o755)  # the image's user is nobody on this machine
    (tmp_path / "sample.sql").write_bytes(Path(sample.__file__).with_suffix(".sql").read_bytes())
    rows = [f"CNSGH,EETLL,2021-03-01,{price}" for price in (1000, 1100, 1300)]
    (tmp_path / "march.csv").write_text("\n".join(["orig_code,dest_code,day,price", *rows]) + "\n")

    def run_loader(*arguments: str, user: str = "rates_loader") -> dict[str, Any]:
        done = loader.run(
            *loader.entry(*arguments, "--json"), options=options, env=environment | {"PGUSER": user}
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run_loader("migrate", user="postgres")
    run_loader("import", f"{FILES}/sample.sql")
    loaded = run_loader("load", f"{FILES}/march.csv")
    assert (loaded["state"], loaded["rows"]) == ("published", 3)
    taking = storage.environment() | {"RATES_API_TOKENS": entry_of("anna", ["write"], "a token")}
    answering = environment | taking | {"PGUSER": "rates_api"}
    with serving(read_only["api"], answering, tmp_path / "api.log") as client:
        days = {"date_from": "2021-02-28", "date_to": "2021-03-01"}
        answer = client.get("/rates", params={"orig_code": "CNSGH", "dest_code": "EETLL", **days})
        assert answer.status_code == 200
        newest, before = answer.json()["rates"]
    assert newest == {"day": "2021-03-01", "price": pytest.approx(3400 / 3), "count": 3}
    assert before == {"day": "2021-02-28", "price": None, "count": 1}
    assert written_since_start(read_only) == []


@contextmanager
def serving(api: Container, environment: dict[str, str], log: Path) -> Generator[httpx.Client]:
    """The API's own command, until it is told to stop; it must then end by itself and cleanly."""
    port = {"PORT": str(free_port())}
    with log.open("w") as output:
        process = subprocess.Popen(
            api.command(*api.entry(), env=environment | port),
            env=api.builder.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port['PORT']}", trust_env=False) as client:
            wait_until_live(client, process, log)
            assert api.run(*api.health_check(), env=port).returncode == 0
            yield client
        first_process(process).send_signal(signal.SIGTERM)
        assert process.wait(timeout=READY_TIMEOUT_S) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def first_process(buildah: subprocess.Popen[bytes]) -> psutil.Process:
    """What an engine would send the stop signal to; buildah itself passes none on, it kills."""
    below = psutil.Process(buildah.pid).children(recursive=True)
    lines = asked(psutil.Process.cmdline, below)
    return next(process for process, line in lines if line and not line[0].startswith("buildah"))


def wait_until_live(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if client.get("/health/live").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail(f"the API did not answer /health/live within {READY_TIMEOUT_S} s:\n{log.read_text()}")


def test_an_image_holds_the_certificates_for_everyone_to_read(
    container: Container, authority: Authority
) -> None:
    assert container.output("cat", "/etc/ssl/certs/rds.pem") == authority.certificate.read_text()


@pytest.mark.needs("postgresql-15")  # the wheel's server speaks no TLS
def test_an_image_trusts_a_database_by_the_certificates_it_was_built_with(
    containers: dict[str, Container], authority: Authority, tmp_path: Path
) -> None:
    loader, bin_dir = containers["loader"], installed_bin_dirs()[15]
    tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/etc/ssl/certs/rds.pem"}

    def migrate(signed_by: Authority) -> subprocess.CompletedProcess[str]:
        settings = {"fsync": "off"} | signed_by.server_settings("127.0.0.1")
        with PostgresServer(tmp_path / "data", free_port(), PASSWORD, bin_dir, settings) as server:
            return loader.run(*loader.entry("migrate"), env=server.environment() | tls)

    trusted, refused = migrate(authority), migrate(Authority(tmp_path))

    assert (trusted.returncode, trusted.stdout[:31]) == (0, "the schema went from nothing to"), trusted.stderr
    assert refused.returncode == 3
    assert "certificate verify failed" in refused.stderr
    assert "Traceback" not in refused.stderr


def written_since_start(containers: dict[str, Container]) -> list[str]:
    """Files of the image's user anywhere in the containers: it starts with none."""
    return [
        path
        for one in containers.values()
        for path in one.run("find", "/", "-xdev", "-user", "10001").stdout.split()
    ]
