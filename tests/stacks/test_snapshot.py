"""The committed snapshots: up to date, and readable to whoever reviews a change."""

import json
from dataclasses import replace

import pytest
import yaml

from stacks.mock_engine import STACKS, Resource, Run, declared, run_stack
from stacks.snapshot import FOLDER, readable, snapshot


@pytest.mark.parametrize("stack", STACKS)
def test_the_snapshot_is_what_the_program_declares(stack: str) -> None:
    path = FOLDER / f"{stack}.yaml"

    assert path.read_text() == snapshot(declared(stack)), f"docs/resources/{stack}.yaml: run `make stacks`"


def test_there_is_a_snapshot_for_each_stack_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{stack}.yaml" for stack in STACKS}


@pytest.mark.parametrize("stack", STACKS)
def test_everything_that_is_declared_stands_in_it_once(stack: str) -> None:
    run = declared(stack)
    keys = list(keys_below(yaml.safe_load(snapshot(run))))

    for resource in run.resources:
        kind = resource.type.rpartition(":")[2]
        ends = [key for key in keys if key.endswith(f"{kind} {resource.name}")]
        assert ends, (resource.type, resource.name)
    assert len(keys) == len(set(keys)) >= len(run.resources)


def keys_below(tree: dict) -> list[str]:
    """The titles of all components and resources, which alone have a blank in them and no bracket."""
    return [
        title
        for key, below in tree.items()
        if " " in key and not key.startswith("(")
        for title in (key, *keys_below(below))
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_documents_are_written_as_what_they_hold(stack: str) -> None:
    text = snapshot(declared(stack))

    assert '{"' not in text
    assert "\\n" not in text
    assert "!!" not in text
    assert "null" not in text


def test_a_document_in_json_becomes_structure_and_what_only_looks_like_one_stays() -> None:
    document = json.dumps({"b": [1.0, {"a": None}], "a": json.dumps(["x"])})

    assert readable({"z": document, "y": "{not json", "x": 2.5, "w": True, "v": None}) == {
        "w": True,
        "x": 2.5,
        "y": "{not json",
        "z": {"a": ["x"], "b": [1, {}]},
    }


def test_what_only_pulumi_knows_is_told_too() -> None:
    tree = yaml.safe_load(snapshot(declared("prod")))
    storage = tree["BatchStorage rates-prod-batches"]["s3.Bucket rates-prod-batches"]
    service = tree["ApiService rates-prod-api"]["FargateService rates-prod-api"]["ecs.Service rates-prod-api"]

    assert storage["(protected)"] is True
    assert storage["(kept by AWS when deleted)"] is True
    assert service["(left to AWS)"] == ["desiredCount"]


def test_a_change_of_one_setting_changes_the_lines_that_it_is_about() -> None:
    before = snapshot(declared("dev")).splitlines()
    after = snapshot(run_stack("dev", changes={"databaseInstanceClass": "db.t4g.large"})).splitlines()

    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("    instanceClass: db.t4g.micro", "    instanceClass: db.t4g.large")]


def test_it_does_not_depend_on_the_order_of_registrations() -> None:
    run = declared("dev")
    keys = [key for resource in run.resources for key in resource.inputs]

    assert keys
    assert snapshot(Run("dev", [backwards(each) for each in run.resources])) == snapshot(run)


def backwards(resource: Resource) -> Resource:
    return replace(resource, inputs=dict(reversed(resource.inputs.items())))
