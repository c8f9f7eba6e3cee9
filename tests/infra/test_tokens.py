"""The secrets of tokens and callbacks: encrypted, kept with the data, read by one program each, and of values
that the Pulumi program never knows."""

import json

import pytest

from stacks.mock_engine import PLACE, SHAPES, declared

SECRET = "secretsmanager/secret:Secret"
# Whose tasks read each.
READERS = {"-tokens": "api", "-callbacks": "loader"}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_has_a_name_that_pulumi_makes_and_the_key_of_the_batches_and_can_be_had_back_as_long(
    shape: str, name: str
) -> None:
    run = declared(shape)
    inputs = run.one(SECRET, name).inputs

    assert inputs.keys() == {"description", "kmsKeyId", "recoveryWindowInDays"}
    assert inputs["kmsKeyId"] == f"arn:aws:kms:{PLACE}:rates-{run.stack}-batches"
    key = run.one("kms/key:Key", "-batches").inputs
    assert inputs["recoveryWindowInDays"] == key["deletionWindowInDays"]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_update_puts_a_value_over_that_of_the_operators(shape: str) -> None:
    assert declared(shape).all("secretsmanager/secretVersion:SecretVersion") == []


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_outlives_a_mistake_in_production_only(shape: str, name: str) -> None:
    secret = declared(shape).one(SECRET, name)

    assert (secret.protect, secret.retain_on_delete) == (shape == "prod", shape == "prod")


@pytest.mark.parametrize(("name", "service"), READERS.items())
@pytest.mark.parametrize("shape", SHAPES)
def test_the_tasks_of_one_program_read_it_and_nobody_else_does(shape: str, name: str, service: str) -> None:
    run = declared(shape)
    arn = f"arn:aws:secretsmanager:{PLACE}:rates-{run.stack}{name}"
    readers = {
        policy.name
        for policy in run.all("iam/rolePolicy:RolePolicy") + run.all("iam/policy:Policy")
        for statement in json.loads(policy.inputs["policy"])["Statement"]
        if arn in statement.get("Resource", [])
    }

    assert readers == {f"rates-{run.stack}-{service}-task"}
