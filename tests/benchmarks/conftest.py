"""What several parts of the benchmark are measured on."""

from __future__ import annotations

import pytest

from benchmarks import databases
from local.postgres import PostgresServer


@pytest.fixture(scope="session")
def bare_server(server: PostgresServer) -> PostgresServer:
    """The run's server, with the template of bare tables besides."""
    databases.make_bare(server)
    return server
