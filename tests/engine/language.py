"""The language host: runs the program for the engine, where the installation of Pulumi has none for Python.

It answers what the engine asks before and during `pulumi preview` and `up`; the program itself then runs in
`program.py`, in the environment that `Pulumi.yaml` names. Names and arguments of methods are the engine's.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime import proto

PROGRAM = Path(__file__).with_name("program.py")
# By this exit code a program says that it has reported its error itself.
REPORTED = 32


class Language(proto.LanguageRuntimeServicer):
    def __init__(self, engine: str) -> None:
        self._engine = engine

    def GetPluginInfo(self, request: Any, context: Any) -> proto.PluginInfo:
        return proto.PluginInfo(version="0.0.0")

    def GetRequiredPackages(
        self, request: proto.GetRequiredPackagesRequest, context: Any
    ) -> proto.GetRequiredPackagesResponse:
        """The engine looks for plugins of these very versions."""
        return proto.GetRequiredPackagesResponse(
            packages=[
                proto.PackageDependency(kind="resource", name=name, version=version)
                for name, version in required_plugins(environment(request.info))
            ]
        )

    def Run(self, request: proto.RunRequest, context: Any) -> proto.RunResponse:
        settings = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "root_directory": request.info.root_directory,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
        }
        config = {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        # -P: the folder of program.py, which is none of the program's, stays off the import path.
        command = [python(request.info), "-P", "-u", PROGRAM, request.info.entry_point, json.dumps(settings)]
        ended = subprocess.run(command, cwd=request.pwd, env=os.environ | config, check=False).returncode
        if ended in (0, REPORTED):
            return proto.RunResponse(bail=ended == REPORTED)
        return proto.RunResponse(error=f"program exited with non-zero exit code: {ended}")

    def RunPlugin(self, request: proto.RunPluginRequest, context: Any) -> Iterator[proto.RunPluginResponse]:
        """A policy pack; the first line that it says is its port."""
        command = [python(request.info), "-u", request.info.program_directory, *request.args]
        settings = os.environ | dict(each.split("=", 1) for each in request.env)
        with subprocess.Popen(command, cwd=request.pwd, env=settings, stdout=subprocess.PIPE) as plugin:
            context.add_callback(plugin.terminate)
            assert plugin.stdout is not None
            for line in plugin.stdout:
                yield proto.RunPluginResponse(stdout=line)
        yield proto.RunPluginResponse(exitcode=plugin.returncode)


def environment(info: proto.ProgramInfo) -> Path:
    """As Pulumi resolves `virtualenv`: from where Pulumi.yaml is, whatever the folder of the program is."""
    # Of a policy pack it is beside the project, and that is not where a link to the pack leads.
    return Path(os.path.normpath(Path(info.root_directory) / info.options["virtualenv"]))


def python(info: proto.ProgramInfo) -> Path:
    return environment(info) / "bin" / "python"


def required_plugins(environment: Path) -> list[tuple[str, str]]:
    """Name and version of the plugin of each package in an environment that has one."""
    paths = environment.glob("lib/*/site-packages/*/pulumi-plugin.json")
    found = [json.loads(path.read_text()) for path in paths]
    return sorted((plugin["name"], plugin["version"]) for plugin in found if plugin["resource"])


def main() -> None:
    """Started by the engine with its address; answers with the port."""
    server = grpc.server(ThreadPoolExecutor())
    proto.add_LanguageRuntimeServicer_to_server(Language(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # The engine interrupts it at the end of a command, or just ends itself when a command goes wrong early.
    engine = os.getppid()
    with suppress(KeyboardInterrupt):
        while server.wait_for_termination(timeout=1) and os.getppid() == engine:
            pass
