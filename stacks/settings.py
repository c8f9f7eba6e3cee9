"""All settings: what each means and what each stack makes of it, read off `Pulumi.yaml` and the stack files.

`python -m stacks.settings` prints `docs/settings.md`, where the tables are kept.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from stacks.mock_engine import PROJECT, ROOT, STACKS, read_yaml

HEAD = f"""# The settings

What a stack may choose, key by key: `Pulumi.yaml` has the defaults, `Pulumi.<stack>.yaml` what a stack does
otherwise, under `{PROJECT}:`. The columns on the right show that for the stacks that are here; an empty cell
is the default. Each stack says its `aws:region` too. A test fails when this page is out of date.
`make stacks` writes it.
"""
COLUMNS = ("Key", "Type", "Default", "What it is", *STACKS)
# In `Pulumi.yaml`: a comment above keys is the heading of those below it.
HEADING = re.compile(r"  # (?P<heading>.+)")
KEY = re.compile(r"  (?P<key>\w+):")


def groups(text: str) -> dict[str, list[str]]:
    """The keys below each heading, in the order of the file; those above the first are under an empty one."""
    found: dict[str, list[str]] = {}
    heading = ""
    _, _, declarations = text.partition("\nconfig:\n")
    for line in declarations.splitlines():
        if match := HEADING.fullmatch(line):
            heading = match["heading"]
        elif match := KEY.fullmatch(line):
            found.setdefault(heading, []).append(match["key"])
    return found


def document() -> str:
    declarations = read_yaml("Pulumi.yaml")["config"]
    stacks = {stack: read_yaml(f"Pulumi.{stack}.yaml")["config"] for stack in STACKS}
    lines = [HEAD]
    for heading, keys in groups((ROOT / "Pulumi.yaml").read_text()).items():
        lines += [f"## {heading}", "", row(COLUMNS), row("---" for _ in COLUMNS)]
        lines += [row(cells(key, declarations[key], stacks)) for key in keys]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def cells(key: str, declaration: Mapping[str, str], stacks: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield code(key)
    yield declaration["type"]
    yield code(declaration["default"])
    yield declaration["description"]
    for config in stacks.values():
        yield code(config.get(f"{PROJECT}:{key}", ""))


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def row(texts: Iterable[str]) -> str:
    escaped = [text.replace("|", r"\|") for text in texts]
    return f"| {' | '.join(escaped)} |"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201
