"""What the local stack remembers below `$RATES_HOME` between runs, and the lock that keeps it to one run."""

import fcntl
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from local import LocalError

FILE = "stack.json"
LOCK = "stack.lock"
# Longer than the moment for which `is_running` holds the lock to look at it.
LOCK_WAIT_S = 1.0


def new_secret() -> str:
    return secrets.token_urlsafe(24)


class State(msgspec.Struct, frozen=True):
    """Ports of the last start, and secrets made once; 0 and empty mean not known yet."""

    postgres_password: str = msgspec.field(default_factory=new_secret)
    api_password: str = msgspec.field(default_factory=new_secret)
    loader_password: str = msgspec.field(default_factory=new_secret)
    token: str = msgspec.field(default_factory=new_secret)
    callback_secret: str = msgspec.field(default_factory=new_secret)
    postgres_port: int = 0
    storage_port: int = 0
    api_port: int = 0
    queue_url: str = ""
    example: str = ""
    ready: bool = False


def read_state(home: Path) -> State:
    """The state below `home`, or a new one with new secrets where there is none."""
    path = home / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return State()
    except msgspec.DecodeError as error:
        raise LocalError(f"{path} cannot be read ({error}): remove {home} to begin anew", 2) from error


def write_state(home: Path, state: State) -> None:
    """Whole or not at all, and for its owner's eyes only."""
    partial = home / f"{FILE}.partial"
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    partial.replace(home / FILE)


@contextmanager
def only_run(home: Path) -> Generator[None]:
    """Holds `home` for this run. The system lets go of it when the process ends, however it ends."""
    with (home / LOCK).open("a+") as file:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not try_lock(file.fileno()):
            if time.monotonic() > deadline:
                file.seek(0)
                process = file.read().strip() or "unknown"
                message = f"a stack is running under {home} already, as process {process}: stop that one,"
                raise LocalError(f"{message} or set RATES_HOME to another folder for a second", 2)
            time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def is_running(home: Path) -> bool:
    """Whether a run holds `home`."""
    try:
        with (home / LOCK).open() as file:
            return not try_lock(file.fileno())
    except FileNotFoundError:
        return False


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
