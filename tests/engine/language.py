"""The language host: runs the program for the engine. Pulumi's own would start Python anew for each run.

It answers what the engine asks before and during `pulumi preview` and `up`; program and policy pack then run
in processes of their own, `program.py`. Names and arguments of methods are the engine's.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulumi.runtime import proto

from tests.engine.program import REPORTED, run_policy_pack, run_program

# New processes are forked from one that has loaded Pulumi's packages, and which does nothing else.
WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["tests.engine.plugins"])


class Language(proto.LanguageRuntimeServicer):
    def Handshake(
        self, request: proto.LanguageHandshakeRequest, context: Any
    ) -> proto.LanguageHandshakeResponse:
        """An engine begins. One at a time."""
        self._engine = request.engine_address
        return proto.LanguageHandshakeResponse()

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
        require_own_environment(request.info)
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
        what = (request.info.entry_point, request.pwd, settings, config)
        program = WARM.Process(target=run_program, args=what)
        program.start()
        program.join()
        ended = program.exitcode
        if ended in (0, REPORTED):
            return proto.RunResponse(bail=ended == REPORTED)
        return proto.RunResponse(error=f"program exited with non-zero exit code: {ended}")

    def RunPlugin(self, request: proto.RunPluginRequest, context: Any) -> Iterator[proto.RunPluginResponse]:
        """A policy pack; the first line that it says is its port."""
        require_own_environment(request.info)
        settings = dict(each.split("=", 1) for each in request.env)
        reader, writer = WARM.Pipe(duplex=False)
        what = (request.info.program_directory, request.pwd, list(request.args), settings, writer)
        plugin = WARM.Process(target=run_policy_pack, args=what)
        plugin.start()
        writer.close()
        context.add_callback(plugin.terminate)
        with reader, os.fdopen(os.dup(reader.fileno()), "rb") as output:
            for line in output:
                yield proto.RunPluginResponse(stdout=line)
        plugin.join()
        yield proto.RunPluginResponse(exitcode=plugin.exitcode or 0)


def environment(info: proto.ProgramInfo) -> Path:
    """As Pulumi resolves `virtualenv`: from where Pulumi.yaml is, whatever the folder of the program is."""
    # Of a policy pack it is beside the project, and that is not where a link to the pack leads.
    return Path(os.path.normpath(Path(info.root_directory) / info.options["virtualenv"]))


def require_own_environment(info: proto.ProgramInfo) -> None:
    """What Pulumi.yaml names has to be what this process, and so the program, runs in."""
    if environment(info).resolve() != Path(sys.prefix).resolve():
        raise ValueError(f"the program asks for {environment(info)}, and this runs in {sys.prefix}")


def required_plugins(environment: Path) -> list[tuple[str, str]]:
    """Name and version of the plugin of each package in an environment that has one."""
    paths = environment.glob("lib/*/site-packages/*/pulumi-plugin.json")
    found = [json.loads(path.read_text()) for path in paths]
    return sorted((plugin["name"], plugin["version"]) for plugin in found if plugin["resource"])
