"""One process with all plugins that the engine needs: those of its providers, and the language host.

It serves all commands that a process of tests runs, one at a time. The engine finds it by the variables
PULUMI_DEBUG_PROVIDERS and PULUMI_DEBUG_LANGUAGES.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

import grpc
from pulumi.runtime import proto

from tests.engine.language import Language
from tests.engine.provider import FakeAws, FakeAwsx, MockedProvider

ADDRESS = "127.0.0.1:0"


@dataclass(frozen=True)
class Ports:
    """Names and ports, as the engine's variables have them."""

    providers: str
    languages: str


def serve(plugins: Sequence[tuple[str, str]], tell: Connection) -> None:
    """Serves plugins by name and version until its parent ends; tells its `Ports` when it is ready."""
    gc.freeze()  # what is loaded stays, so nothing of it is looked at again and again
    language = grpc.server(ThreadPoolExecutor())
    proto.add_LanguageRuntimeServicer_to_server(Language(), language)
    port = language.add_insecure_port(ADDRESS)
    language.start()
    asyncio.run(serve_providers(plugins, f"python:{port}", tell))


async def serve_providers(plugins: Sequence[tuple[str, str]], languages: str, tell: Connection) -> None:
    server_of = {}
    for name, version in plugins:
        server = server_of[name] = grpc.aio.server()
        servicer = FakeAwsx if name == "awsx" else FakeAws
        proto.add_ResourceProviderServicer_to_server(servicer(MockedProvider(version), [], ""), server)
    ports = {name: server.add_insecure_port(ADDRESS) for name, server in server_of.items()}
    for server in server_of.values():
        await server.start()
    tell.send(Ports(",".join(f"{name}:{port}" for name, port in ports.items()), languages))
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(1)
