"""What runs goes on running when somebody runs `pulumi up` without naming it."""

import json

import pulumi
import pytest

from infra.releases import parameter_path
from stacks.mock_engine import IMAGES, NO_IMAGES, STACKS, Run, declared, run_stack

RELEASE = {"/rates/dev/release": json.dumps(IMAGES)}
NEWER = {key: image[:-64] + "c" * 64 for key, image in IMAGES.items()}


def recorded(run: Run) -> dict[str, str]:
    return json.loads(run.one("ssm/parameter:Parameter", "-release").inputs["insecureValue"])


def running(run: Run) -> set[str]:
    return {
        container["image"]
        for definition in run.all("TaskDefinition")
        for container in json.loads(definition.inputs["containerDefinitions"])
    }


def test_a_first_update_finds_no_release_and_declares_neither_services_nor_a_record() -> None:
    run = run_stack("dev", changes=NO_IMAGES)

    assert run.all("ecs/service:Service") == run.all("ssm/parameter:Parameter") == []
    assert run.exports["apiService"] == run.exports["loaderService"] == "none yet"


@pytest.mark.parametrize("stack", STACKS)
def test_a_deploy_records_the_images_it_names_under_the_name_of_its_stack(stack: str) -> None:
    parameter = declared(stack).one("ssm/parameter:Parameter", "-release")

    assert recorded(declared(stack)) == IMAGES
    assert (parameter.inputs["name"], parameter.inputs["type"]) == (f"/rates/{stack}/release", "String")


def test_an_update_that_names_no_images_changes_nothing_of_what_was_deployed() -> None:
    run = run_stack("dev", changes=NO_IMAGES, parameters=RELEASE)

    assert run.resources == declared("dev").resources
    assert recorded(run) == IMAGES


def test_images_in_the_configuration_win_over_those_that_run() -> None:
    run = run_stack("dev", changes=NEWER, parameters=RELEASE)

    assert running(run) == set(NEWER.values())
    assert recorded(run) == NEWER


def test_the_release_of_another_copy_is_not_read() -> None:
    other = {f"{parameter_path('rates', 'dev-2')}/release": json.dumps(IMAGES)}

    assert run_stack("dev", changes=NO_IMAGES, parameters=other).all("ecs/service:Service") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"apiImage": "x"}',
        json.dumps(IMAGES | {"loaderImage": "rates:latest"}),
        '{"apiImage": 1}',
    ],
)
def test_a_record_that_the_program_did_not_write_stops_it_in_a_sentence(text: str) -> None:
    with pytest.raises(pulumi.RunError, match="the parameter /rates/dev/release in SSM is") as error:
        run_stack("dev", changes=NO_IMAGES, parameters={"/rates/dev/release": text})

    assert "by digest" in str(error.value)
