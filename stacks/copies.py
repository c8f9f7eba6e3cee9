"""The birth of a copy: `make copy NAME=dev-alice FROM=dev` writes `Pulumi.dev-alice.yaml`.

The copy has the size and shape of the stack that it is made from, addresses, an owner and a last day of its
own, and nothing of what only one stack can have. `stacks/reap.py` is its end. Exit code 2: it cannot be made.
"""

import datetime
import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from infra.settings.stack import STACK_NAME, SettingsError, read_settings
from stacks import StacksError
from stacks.mock_engine import PROJECT, ROOT, read_yaml, stack_config
from telemetry.terminal import say, say_lines

DAYS = 14
DAYS_MAX = 90
# Far from the blocks that are given by hand, 10.0, 10.1 and so on. Room for 2,048 copies of 4,096 addresses.
ADDRESSES = ipaddress.IPv4Network("10.128.0.0/9")
BLOCK_PREFIX = 20
BLOCKS = 2 ** (BLOCK_PREFIX - ADDRESSES.prefixlen)
# What stays with the original, and why.
SERVES = "a copy serves no customers and has to be easy to destroy"
ONCE = "only one stack can have it"
PERSONAL = "it belongs to a person"
LEFT_OUT = {
    "production": SERVES,
    "databaseDeletionProtection": SERVES,
    "databaseFinalSnapshot": SERVES,
    "domain": ONCE,
    "domainZoneId": ONCE,
    "deliveryBranch": ONCE,
    "review": ONCE,
    "githubProvider": ONCE,
    "alarmEmail": PERSONAL,
    "bastionPublicKey": PERSONAL,
}
SECRET = "it is encrypted with the original's key"  # noqa: S105  # a reason, no secret


@dataclass(frozen=True)
class Wanted:
    name: str
    source: str
    owner: str
    days: int


@dataclass(frozen=True)
class Copy:
    """What was written, and the keys that were left out, each with the reason."""

    path: Path
    cidr: ipaddress.IPv4Network
    last_day: datetime.date
    left_out: dict[str, str]
    secrets_provider: str  # of the original; empty for Pulumi's own


def make_copy(folder: Path, wanted: Wanted, today: datetime.date) -> Copy:
    """Writes the stack file into the folder of the others. Raises StacksError, and then leaves nothing."""
    path = folder / f"Pulumi.{wanted.name}.yaml"
    refuse_what_cannot_be(folder, wanted, path)
    cidr = free_block(wanted.name, taken_blocks(folder))
    last_day = today + datetime.timedelta(days=wanted.days)
    own = {"owner": wanted.owner, "expires": last_day.isoformat(), "vpcCidr": str(cidr)}
    source = folder / f"Pulumi.{wanted.source}.yaml"
    left_out = keys_left_out(config_of(source))
    kept = kept_lines(source.read_text(), {*left_out, *(f"{PROJECT}:{key}" for key in own)})
    head = f"# A copy of {wanted.source}, by `make copy`; `make reap` lists it once its last day is past.\n"
    # Quoted, since YAML has dates and the settings have texts.
    own_lines = [f"  {PROJECT}:{key}: {json.dumps(value)}\n" for key, value in own.items()]
    path.write_text("".join([head, "config:\n", *own_lines, *kept]))
    try:
        read_settings(PROJECT, wanted.name, stack_config(wanted.name, folder=folder))
    except SettingsError as error:
        path.unlink()
        raise StacksError(str(error)) from error
    secrets_provider = read_yaml(source.name, folder).get("secretsprovider", "")
    return Copy(path, cidr, last_day, left_out, secrets_provider)


def refuse_what_cannot_be(folder: Path, wanted: Wanted, path: Path) -> None:
    stacks = sorted(stack_files(folder))
    if not STACK_NAME.fullmatch(wanted.name):
        raise StacksError(f"NAME is {wanted.name!r}: allowed is 1 to 32 of a-z, 0-9 and single hyphens")
    if wanted.name == "prod":
        raise StacksError("NAME is 'prod', which is production and nobody's copy: take another name")
    if path.exists():
        raise StacksError(f"NAME is {wanted.name!r}, and {path.name} is there already: take another name")
    if wanted.source not in stacks:
        raise StacksError(
            f"FROM is {wanted.source!r}: allowed is a stack that has a file: {', '.join(stacks)}"
        )
    if not config_of(folder / f"Pulumi.{wanted.source}.yaml"):
        raise StacksError(f"FROM is {wanted.source!r}, whose file has no `config` to copy")
    if not 1 <= wanted.days <= DAYS_MAX:
        raise StacksError(f"DAYS is {wanted.days}: allowed is 1 to {DAYS_MAX}")
    if not wanted.owner:
        raise StacksError(
            "OWNER is missing, and git has no user.email: name who answers for it, OWNER=me@example.com"
        )


def stack_files(folder: Path) -> dict[str, Path]:
    """The file of each stack, by the stack's name."""
    return {path.name.split(".")[1]: path for path in folder.glob("Pulumi.*.yaml")}


def config_of(path: Path) -> dict[str, object]:
    """Empty for a file that holds none, such as one in which Pulumi keeps its own keys alone."""
    return (read_yaml(path.name, path.parent) or {}).get("config") or {}


def taken_blocks(folder: Path) -> Iterator[ipaddress.IPv4Network]:
    for path in stack_files(folder).values():
        block = config_of(path).get(f"{PROJECT}:vpcCidr")
        if not block:
            continue
        try:
            yield ipaddress.IPv4Network(block)
        except ValueError:
            reason = "is no block of addresses, so none can be chosen beside it"
            raise StacksError(f"{path.name}: {PROJECT}:vpcCidr is {block!r}, which {reason}") from None


def free_block(name: str, taken: Iterator[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first that is free from a place on that the name decides.

    So copies whose makers do not see each other's files rarely meet, and others never.
    """
    used = [(int(block.network_address), int(block.broadcast_address)) for block in taken]
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    for number in range(start, start + BLOCKS):
        first = int(ADDRESSES.network_address) + number % BLOCKS * 2 ** (32 - BLOCK_PREFIX)
        last = first + 2 ** (32 - BLOCK_PREFIX) - 1
        if not any(first <= other_last and other_first <= last for other_first, other_last in used):
            return ipaddress.IPv4Network((first, BLOCK_PREFIX))
    raise StacksError(f"no /{BLOCK_PREFIX} of {ADDRESSES} is free beside the stack files that are here")


def keys_left_out(config: Mapping[str, object]) -> dict[str, str]:
    reasons = {f"{PROJECT}:{key}": reason for key, reason in LEFT_OUT.items()}
    return {
        key: SECRET if isinstance(value, dict) else reasons[key]
        for key, value in config.items()
        if isinstance(value, dict) or key in reasons
    }


def kept_lines(text: str, dropped: set[str]) -> list[str]:
    """The lines of `config`, as they are written, without those of the dropped keys and what is above them.

    What Pulumi itself writes beside `config` belongs to the original: its key for secrets.
    """
    lines = [f"{line}\n" for line in text.splitlines()]
    document = yaml.compose(text, yaml.BaseLoader)
    (config,) = [value for key, value in document.value if key.value == "config"]
    kept = []
    start = config.start_mark.line
    for key, value in config.value:
        # A scalar ends in its line, and what is nested at the start of the line after it.
        end = value.end_mark.line + (value.end_mark.column > 0)
        if key.value not in dropped:
            kept += lines[start:end]
        start = end
    return kept


def email_of_git() -> str:
    """Of whoever runs the command; empty where git has none or is not there."""
    try:
        said = subprocess.run(["git", "config", "user.email"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return said.stdout.strip()


def report(copy: Copy, wanted: Wanted) -> Iterator[str]:
    yield (
        f"{copy.path.name} is written: a copy of {wanted.source} for {wanted.owner},"
        f" at {copy.cidr}, until {copy.last_day}"
    )
    for reason in dict.fromkeys(copy.left_out.values()):
        keys = [key.partition(":")[2] for key, why in copy.left_out.items() if why == reason]
        yield f"left out, since {reason}: {', '.join(keys)}"
    yield "next:"
    provider = f" --secrets-provider='{copy.secrets_provider}'" if copy.secrets_provider else ""
    yield f"  pulumi stack init {wanted.name}{provider}"
    yield f"  pulumi up --stack {wanted.name}"


@click.command()
@click.argument("name")
@click.option("--from", "source", default="dev", show_default=True, help="The stack that it is like.")
@click.option("--owner", default="", help="Who answers for it; the e-mail address that git knows by default.")
@click.option("--days", default=DAYS, show_default=True, help=f"Days that it is kept, 1 to {DAYS_MAX}.")
def main(name: str, source: str, owner: str, days: int) -> None:
    """Write the file of a new stack, a copy of another."""
    wanted = Wanted(name, source, owner or email_of_git(), days)
    try:
        copy = make_copy(ROOT, wanted, datetime.datetime.now(datetime.UTC).date())
    except StacksError as error:
        say_lines(f"make copy: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    for line in report(copy, wanted):
        say(line)


if __name__ == "__main__":
    main()
