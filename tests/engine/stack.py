"""A stack of the project on the real `pulumi` command, without AWS, the internet or anyone's account.

In a folder of its own it has the stack files (Pulumi writes into them), the program and its environment as
they are, the state as a file, and for each plugin that the program requires the tests' own.
"""

from __future__ import annotations

import atexit
import copy
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from stacks.mock_engine import PROJECT
from tests.engine.language import WARM, required_plugins
from tests.engine.plugins import Ports, serve

ROOT = Path(__file__).parents[2]
NOT_PASSED_ON = ("AWS_", "COVERAGE_", "PULUMI_")
ENVIRONMENT = Path(sys.prefix)


class Stack:
    """Made, but empty. What there is of it is in the folder, so deleting that undoes everything."""

    def __init__(self, folder: Path, name: str, program: Path = ROOT / "infra") -> None:
        self._name = name
        self.project, home, self._states = (folder / each for each in ("project", "home", "state"))
        for each in (self.project, home, self._states):
            each.mkdir(parents=True)
        for path in ROOT.glob("Pulumi*.yaml"):
            shutil.copy(path, self.project)
        (self.project / "infra").symlink_to(program)
        (self.project / ".venv").symlink_to(ENVIRONMENT)
        # The engine looks whether they are there, in these versions, and then finds them running already.
        for plugin, version in required_plugins(ENVIRONMENT):
            write_executable(
                home / "plugins" / f"resource-{plugin}-v{version}" / f"pulumi-resource-{plugin}",
                "sys.exit('it runs already: PULUMI_DEBUG_PROVIDERS')",
            )
        ports = running_plugins()
        self._settings = {
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": self._states.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_DEBUG_PROVIDERS": ports.providers,
            "PULUMI_DEBUG_LANGUAGES": ports.languages,
            # State is written at the end, and not after each resource, which is over half of an `up`.
            "PULUMI_SKIP_CHECKPOINTS": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.pulumi("stack", "init").check_returncode()

    def beside(self, name: str) -> Stack:
        """Another of the same project, in the same folder."""
        other = copy.copy(self)
        other._name = name
        other.pulumi("stack", "init").check_returncode()
        return other

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, whatever that is; what it says is in the answer."""
        return self._run(arguments, capture_output=True)

    def show(self, *arguments: str) -> int:
        """Runs a command on the terminal. Returns its exit code."""
        return self._run(arguments).returncode

    def held(self) -> list[dict[str, Any]]:
        """The resources in its state, read from the file, since a command takes longer."""
        stored = json.loads(
            (self._states / ".pulumi" / "stacks" / PROJECT / f"{self._name}.json").read_text()
        )
        return (stored["checkpoint"]["latest"] or {}).get("resources", [])

    def changed(self, **settings: str) -> str:
        """The option by which a command has other settings, without a change of the stack's file."""
        file = self.project / f"Pulumi.{self._name}.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"] |= {f"{PROJECT}:{key}": value for key, value in settings.items()}
        other = self.project / f"changed-{self._name}.yaml"
        other.write_text(yaml.safe_dump(content))
        return f"--config-file={other}"

    def environment(self) -> dict[str, str]:
        """Nothing of whoever runs this: no credentials, no backend, no passphrase.

        Nor is coverage measured: the engine ends its plugins while coverage would still write, which then
        says so in the midst of what the test reads.
        """
        return inherited() | self._settings

    def _run(self, arguments: tuple[str, ...], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", "--non-interactive", *arguments, "--stack", self._name],
            cwd=self.project,
            env=self.environment(),
            text=True,
            check=False,
            **options,
        )


def inherited() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(NOT_PASSED_ON)}


@cache
def running_plugins() -> Ports:
    """Where the plugins are. They run until this process ends, and serve one command at a time."""
    told, tell = WARM.Pipe(duplex=False)
    process = WARM.Process(target=serve, args=(required_plugins(ENVIRONMENT), tell))
    with patch.dict(os.environ, inherited(), clear=True):
        process.start()
    atexit.register(process.kill)
    tell.close()
    return told.recv()


def write_executable(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys; sys.path.insert(0, {str(ROOT)!r})\n{source}\n")
    path.chmod(0o755)
