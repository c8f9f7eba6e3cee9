"""Names that stand for a company's own: a preview works with them, and says that they have to go."""

import pytest

from infra.settings.placeholders import placeholders
from stacks.mock_engine import STACKS, declared, run_stack, stack_config

OURS = {
    "domain": "rates.acme.dev",
    "domainZoneId": "Z0123456789ABC",
    "alarmEmail": "oncall@acme.dev",
    "repository": "acme/rates",
    "stateBackend": "s3://acme-rates-state",
}


@pytest.mark.parametrize("stack", STACKS)
def test_one_warning_names_every_setting_that_still_stands_for_the_companys_own(stack: str) -> None:
    keys = {
        "dev": ["repository", "stateBackend"],
        "staging": ["domain", "domainZoneId", "repository", "stateBackend"],
        "prod": ["alarmEmail", "domain", "domainZoneId", "repository", "stateBackend"],
    }[stack]

    warnings = declared(stack).warnings
    assert len(warnings) == 1
    for warning in warnings:
        assert warning.startswith(f"Pulumi.{stack}.yaml still has names with `example`")
        assert warning.endswith(": " + ", ".join(f"rates:{key}" for key in keys))


def test_a_stack_with_names_of_its_own_is_not_warned() -> None:
    assert run_stack("prod", changes=OURS).warnings == []


@pytest.mark.parametrize("name", ["counterexamples.dev", "examples.dev"])
def test_a_name_that_only_looks_like_a_placeholder_is_none(name: str) -> None:
    assert placeholders("rates", stack_config("prod", OURS | {"domain": name})) == []
