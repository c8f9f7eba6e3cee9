"""What a stack declares, as a file to read: `docs/resources/<stack>.yaml`.

A tree by component; each resource by type and name, with what the program gives it. Committed, so that the
difference in a pull request reads like a preview. `python -m stacks.snapshot` writes the files anew.
"""

import json
import re
from typing import Any

import yaml

from stacks.mock_engine import PROJECT, ROOT, STACKS, Resource, Run, declared

FOLDER = ROOT / "docs" / "resources"
HEAD = """# What the program declares for stack {stack}, with its services. `make stacks` writes this file.
# ARNs, addresses and ids that only AWS could give are stand-ins.
"""
# What is on Pulumi's side of a resource, told beside its inputs in brackets.
PROTECTED, RETAINED, IGNORED = "(protected)", "(kept by AWS when deleted)", "(left to AWS)"


# What pulumi-aws itself gives to each resource of a type, the same in every program.
NOISE = {
    "skipCredentialsValidation": "false",
    "skipRegionValidation": "true",
    "description": "Managed by Pulumi",
}


class Dumper(yaml.SafeDumper):
    """Lists are indented below their key, and a value that stands twice is written twice."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def write_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, write_text)


def snapshot(run: Run) -> str:
    stack = next(each.parent for each in run.resources if each.type.startswith("pulumi:providers:"))
    text = yaml.dump(
        tree(run, stack), Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True, indent=2
    )
    return HEAD.format(stack=run.stack) + re.sub(r"^(?=\S)", "\n", text, flags=re.MULTILINE)


def tree(run: Run, parent: str) -> dict[str, Any]:
    """All that is below a resource: first what it is made of, then components, each by type and name."""
    below = [each for each in run.resources if each.parent == parent]
    leaves = {title(each): leaf(each) for each in below if not is_component(each)}
    return leaves | {title(each): tree(run, each.urn) for each in below if is_component(each)}


def is_component(resource: Resource) -> bool:
    return resource.type.startswith(f"{PROJECT}:")


def title(resource: Resource) -> str:
    """`Network rates-dev` for a component, `rds.Instance rates-dev-database` for what is AWS's."""
    package, module, kind = resource.type.split(":")
    if package == PROJECT:
        return f"{kind} {resource.name}"
    return f"{module.partition('/')[0]}.{kind} {resource.name}"


def leaf(resource: Resource) -> dict[str, Any]:
    options = {
        PROTECTED: resource.protect,
        RETAINED: resource.retain_on_delete,
        IGNORED: sorted(resource.ignore_changes),
    }
    inputs = {key: value for key, value in resource.inputs.items() if NOISE.get(key) != value}
    return {key: value for key, value in options.items() if value} | readable(inputs)


def readable(value: Any) -> Any:
    """Keys sorted, whole numbers as such, and documents in JSON as what they hold."""
    if isinstance(value, dict):
        return {key: readable(value[key]) for key in sorted(value) if value[key] is not None}
    if isinstance(value, list):
        return [readable(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return readable(json.loads(value))
        except ValueError:
            return value
    return value


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for stack in STACKS:
        (FOLDER / f"{stack}.yaml").write_text(snapshot(declared(stack)))


if __name__ == "__main__":
    main()
