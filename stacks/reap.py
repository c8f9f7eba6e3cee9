"""The end of copies: `make reap` lists the stacks, and what would go with those that are past their last day.

`make reap DESTROY=1` destroys those, never one that is production or holds what is protected. It asks the
`pulumi` command alone, so it works with any backend, and without the stack files: state tells all it needs.

Exit codes: 0 done, 1 a stack could not be read or destroyed, 2 there is no `pulumi`, 3 it has no backend.
"""

import datetime
import json
import shutil
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stacks import StacksError
from stacks.mock_engine import ROOT
from telemetry.terminal import say, say_lines

FAILED, NO_COMMAND, NO_BACKEND = 1, 2, 3
STACK = "pulumi:pulumi:Stack"
NEVER = "never"  # `expires` of a stack that stays, as infra/__main__.py exports it
WIDTH = 110


class PulumiFailed(Exception):
    """A command of Pulumi's that went wrong, and what it said."""


@dataclass(frozen=True)
class Pulumi:
    """The `pulumi` command, in the folder of a project."""

    folder: Path

    def read(self, *arguments: str) -> Any:
        ended = subprocess.run(self._command(arguments), cwd=self.folder, capture_output=True, check=False)
        if ended.returncode:
            raise PulumiFailed(ended.stderr.decode().strip())
        return json.loads(ended.stdout)

    def run(self, *arguments: str) -> None:
        """What it says goes to the terminal: it takes minutes."""
        if subprocess.run(self._command(arguments), cwd=self.folder, check=False).returncode:
            raise PulumiFailed(f"pulumi {arguments[0]} failed")

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["pulumi", "--non-interactive", *arguments]


@dataclass(frozen=True)
class Found:
    """A stack that is there, and what is to be done with it."""

    name: str
    owner: str
    verdict: str
    to_be_destroyed: bool
    going: list[str]  # types of its resources
    staying: list[str]  # names of those that Pulumi forgets and AWS keeps


def reap(folder: Path, today: datetime.date, destroy: bool) -> int:
    """Reports on the terminal, and destroys only if told to. Returns the exit code."""
    if not shutil.which("pulumi"):
        raise StacksError("this needs the pulumi command: https://www.pulumi.com/docs/install/", NO_COMMAND)
    pulumi = Pulumi(folder)
    try:
        names = sorted(stack["name"] for stack in pulumi.read("stack", "ls", "--json"))
    except PulumiFailed as failure:
        raise StacksError(f"pulumi cannot list the stacks, is it logged in?\n{failure}", NO_BACKEND) from None
    past, failed = [], []
    for name in names:
        try:
            found = look_at(pulumi, name, today)
        except PulumiFailed as failure:
            failed.append(name)
            say_lines(f"{name}: cannot be read: {failure}")
            continue
        past += [name] if found.to_be_destroyed else []
        for line in lines_about(found):
            say(line)
    if destroy:
        failed += [name for name in past if not end(pulumi, name, today)]
    if not (destroy and past):
        say(summary(names, past))
    if failed:
        say(f"make reap: failed with {', '.join(failed)}: what Pulumi said is above", err=True)
    return FAILED if failed else 0


def look_at(pulumi: Pulumi, name: str, today: datetime.date) -> Found:
    state = pulumi.read("stack", "export", "--stack", name)["deployment"].get("resources", [])
    # The program's outputs are those of the resource that stands for the stack.
    outputs = next((each.get("outputs", {}) for each in state if each["type"] == STACK), {})
    # Those that a cloud holds; Pulumi's own, and what is only looked up, are none of them.
    held = [each for each in state if each["custom"] and not each.get("external") and not is_pulumis(each)]
    protected = [name_of(each) for each in state if each.get("protect")]
    verdict, to_be_destroyed = judge(outputs, protected, today) if held else ("holds nothing", False)
    return Found(
        name=name,
        owner=outputs.get("owner", "owner unknown"),
        verdict=verdict,
        to_be_destroyed=to_be_destroyed,
        going=[kind_of(each) for each in held if not each.get("retainOnDelete")],
        staying=[name_of(each) for each in held if each.get("retainOnDelete")],
    )


def judge(outputs: Mapping[str, Any], protected: list[str], today: datetime.date) -> tuple[str, bool]:
    """What is said of a stack that holds something, and whether it is to be destroyed."""
    expires, production = outputs.get("expires"), outputs.get("production")
    if expires is None or production is None:
        return "says nothing of its last day: not of this program, or not up to date", False
    if production is not False or expires == NEVER:
        return "production, never destroyed here" if production else "stays", False
    try:
        left = (datetime.date.fromisoformat(expires) - today).days
    except (TypeError, ValueError):
        return f"has the last day {expires!r}, which is none", False
    if left >= 0:
        return f"{days(left)} left, until {expires}", False
    late = f"past its last day, {expires}, by {days(-left)}"
    if protected:
        return f"{late}, but protected, so never destroyed here: {', '.join(protected)}", False
    return late, True


def end(pulumi: Pulumi, name: str, today: datetime.date) -> bool:
    """Destroys a stack, unless it has got more time since it was listed. Returns False where that fails."""
    try:
        if not look_at(pulumi, name, today).to_be_destroyed:
            say(f"{name}: is left alone, it was changed in between")
            return True
        # With its own preview, which stops at what is protected before anything is gone.
        pulumi.run("destroy", "--yes", "--stack", name)
        pulumi.run("stack", "rm", "--yes", name)
    except PulumiFailed as failure:
        say_lines(f"{name}: {failure}")
        return False
    say(f"{name}: is gone")
    return True


def lines_about(found: Found) -> Iterator[str]:
    yield f"{found.name} ({found.owner}): {found.verdict}"
    if found.to_be_destroyed:
        kinds = [f"{count} {kind}" for kind, count in sorted(Counter(found.going).items())]
        yield from indented(f"goes with it: {len(found.going)} resources: {', '.join(kinds)}")
        if found.staying:
            yield from indented(f"AWS keeps: {', '.join(found.staying)}")


def summary(names: list[str], past: list[str]) -> str:
    if not past:
        return "none is to be destroyed" if names else "there are no stacks"
    return f"nothing was destroyed. `make reap DESTROY=1` destroys {', '.join(past)}"


def indented(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def days(count: int) -> str:
    return f"{count} day{'s' if count != 1 else ''}"


def is_pulumis(resource: Mapping[str, Any]) -> bool:
    return resource["type"].startswith("pulumi:")


def kind_of(resource: Mapping[str, Any]) -> str:
    """`rds.Instance` for `aws:rds/instance:Instance`."""
    _, module, kind = resource["type"].split(":")
    return f"{module.partition('/')[0]}.{kind}"


def name_of(resource: Mapping[str, Any]) -> str:
    return f"{kind_of(resource)} {resource['urn'].rpartition('::')[2]}"


@click.command()
@click.option("--destroy", is_flag=True, help="Destroy what is past its last day; without, it is listed.")
def main(destroy: bool) -> None:
    """List the stacks, and what would go with those past their last day."""
    try:
        code = reap(ROOT, datetime.datetime.now(datetime.UTC).date(), destroy)
    except StacksError as error:
        say_lines(f"make reap: {error}", err=True)
        code = error.exit_code
    raise SystemExit(code)


if __name__ == "__main__":
    main()
