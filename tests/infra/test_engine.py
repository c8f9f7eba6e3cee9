"""The harness itself: it refuses what the engine or AWS would, and keeps runs apart."""

from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from stacks.mock_engine import EngineRefused, Run, run_program


def run(program: Callable[[], None], stack: str = "dev") -> Run:
    return run_program(program, Run(stack), {"rates:owner": stack})


def test_a_name_that_is_used_twice_is_refused() -> None:
    def program() -> None:
        aws.kms.Key("key")
        aws.kms.Key("key")

    with pytest.raises(EngineRefused, match="aws:kms/key:Key key is declared twice"):
        run(program)


@pytest.mark.parametrize(
    ("parameter", "fault"),
    [
        ({"name": "log_lock_waits", "value": "1", "when": "now"}, "has no property parameters.when"),
        ({"name": "log_lock_waits"}, "lacks parameters.value"),
    ],
)
def test_a_nested_dict_with_a_wrong_key_or_without_a_needed_one_is_refused(
    parameter: Any, fault: str
) -> None:
    def program() -> None:
        aws.rds.ParameterGroup("group", family="postgres18", parameters=[parameter])

    with pytest.raises(EngineRefused, match=f"ParameterGroup group {fault}"):
        run(program)


def test_a_question_to_aws_that_nothing_answers_is_an_error() -> None:
    with pytest.raises(Exception, match="asks AWS for aws:index/getCallerIdentity"):
        run(lambda: pulumi.export("account", aws.get_caller_identity().account_id))


def test_options_and_exports_are_kept() -> None:
    def program() -> None:
        key = aws.kms.Key(
            "key",
            opts=pulumi.ResourceOptions(protect=True, retain_on_delete=True, ignore_changes=["description"]),
        )
        aws.kms.Alias("alias", target_key_id=key.key_id)
        pulumi.export("key", key.key_id)

    result = run(program)

    key, alias = result.one("kms/key:Key"), result.one("kms/alias:Alias")
    assert (key.protect, key.retain_on_delete, key.ignore_changes) == (True, True, ("description",))
    assert alias.dependencies == (key.urn,)
    assert alias.inputs["targetKeyId"] == result.exports["key"] == "key-of-key"


def test_a_run_knows_nothing_of_the_one_before() -> None:
    def program() -> None:
        pulumi.export(f"of-{pulumi.get_stack()}", pulumi.Config().require("owner"))

    assert run(program, "dev").exports == {"of-dev": "dev"}
    assert run(program, "prod").exports == {"of-prod": "prod"}
