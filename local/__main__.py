"""`python -m local up` and `python -m local env`, which `make up` and `make env` run.

Exit codes: 0 stopped as told, 1 a part failed or nothing runs, 2 usage; a failed import's own otherwise.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from local import LocalError
from local.environment import client_environment, forget_other_systems
from local.log import Log
from local.stack import Settings, up
from local.state import is_running, read_state
from telemetry.terminal import say, say_lines

HOME = ".local"
PORT = "8000"


def main() -> None:
    try:
        commands()
    except LocalError as error:
        sys.stdout.flush()
        say_lines(f"rates: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        say(f"rates: {error.filename}: {error.strerror}", err=True)
        sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """The whole system on this machine. Its state lives under $RATES_HOME (.local)."""


@commands.command("up")
def run_up() -> None:
    """Run it in the foreground: the API on $PORT (8000), filled from $DUMP or the sample. Ctrl-C stops it."""
    settings = read_settings(os.environ)
    forget_other_systems()
    up(settings, Log())


@commands.command("env")
def print_env() -> None:
    """Print the lines that point a shell at the stack which runs, as the database's owner."""
    home = read_home(os.environ)
    state = read_state(home)
    if not is_running(home):
        raise LocalError(f"no stack runs under {home}: start it with make up")
    if not state.ready:
        raise LocalError(f"the stack under {home} is still starting")
    for name, value in client_environment(home, state).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises LocalError, with exit code 2, for a port that is none."""
    port = environ.get("PORT") or PORT
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise LocalError(f"PORT is {port!r}: a number from 1 to 65535 is allowed", 2)
    dump = environ.get("DUMP")
    return Settings(read_home(environ), int(port), Path(dump) if dump else None)


def read_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("RATES_HOME") or HOME)


if __name__ == "__main__":
    main()
