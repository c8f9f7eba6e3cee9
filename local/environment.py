"""The environment of each process of the local stack, and of a shell that wants to join it (`make env`)."""

import os
from pathlib import Path

from access.tokens import SCOPES, entry_of
from local.object_storage import ACCESS_KEY_ID, BUCKET, REGION, SECRET_ACCESS_KEY
from local.postgres import HOST, SUPERUSER, PostgresServer
from local.state import State

DATABASE = "rates"
API_ROLE, LOADER_ROLE = "rates_api", "rates_loader"
# Settings of a user's shell that would lead a part of the stack to some other system.
OTHER_SYSTEMS = ("PG", "DATABASE_URL", "RATES_DB_AUTH", "AWS_", "BATCH_", "GUNICORN_")


def forget_other_systems() -> None:
    """Makes this process and its children unable to reach anything but the local stack by accident."""
    for name in [name for name in os.environ if name.startswith(OTHER_SYSTEMS)]:
        del os.environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))


def api_environment(home: Path, state: State) -> dict[str, str]:
    own = {"PORT": str(state.api_port)} | token_environment(state)
    return os.environ | database_environment(home, state, API_ROLE) | batch_environment(state) | own


def loader_environment(home: Path, state: State, role: str = LOADER_ROLE) -> dict[str, str]:
    """With the secret that signs callbacks; whoever is told of a batch may listen on this machine."""
    own = batch_environment(state) | callback_environment(state) | {"RATES_CALLBACK_LOOPBACK": "1"}
    return os.environ | database_environment(home, state, role) | own


def client_environment(home: Path, state: State) -> dict[str, str]:
    """All that points a shell at this stack, as the database's owner; nothing else of this process's."""
    own = {"RATES_URL": api_url(state), "RATES_TOKEN": state.token}
    own |= token_environment(state) | callback_environment(state)
    return database_environment(home, state, SUPERUSER) | batch_environment(state) | own


def database_environment(home: Path, state: State, role: str) -> dict[str, str]:
    passwords = {
        SUPERUSER: state.postgres_password,
        API_ROLE: state.api_password,
        LOADER_ROLE: state.loader_password,
    }
    return postgres_server(home, state).environment(role, DATABASE, passwords[role])


def token_environment(state: State) -> dict[str, str]:
    """What the API knows of the stack's one token, which may do everything."""
    return {"RATES_API_TOKENS": entry_of("local", SCOPES, state.token)}


def callback_environment(state: State) -> dict[str, str]:
    return {"RATES_CALLBACK_SECRET": state.callback_secret}


def batch_environment(state: State) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": storage_url(state),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "BATCH_BUCKET": BUCKET,
        "BATCH_QUEUE_URL": state.queue_url,
    }


def postgres_server(home: Path, state: State) -> PostgresServer:
    return PostgresServer(home / "postgres", state.postgres_port, state.postgres_password)


def api_url(state: State) -> str:
    return f"http://{HOST}:{state.api_port}"


def storage_url(state: State) -> str:
    return f"http://{HOST}:{state.storage_port}"
