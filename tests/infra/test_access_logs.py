"""The record of requests: where the stack asks for one, closed to all but load balancers of the account."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra import access_logs
from stacks.mock_engine import PLACE, SHAPES, Resource, Run, declared, run_changed_program

BALANCER = "lb/loadBalancer:LoadBalancer"
LOGS = "-access-logs"
DAYS = {"staging": 7, "prod": 90}


def logs(run: Run, kind: str) -> Resource:
    return run.one(kind, LOGS)


def faults(run: Run) -> Iterator[str]:
    """Who may do what, but a load balancer write below the number of its own account."""
    bucket = f"arn:aws:s3:{PLACE}:rates-{run.stack}{LOGS}"
    statements = json.loads(logs(run, "BucketPolicy").inputs["policy"])["Statement"]
    for allowed in (each for each in statements if each["Effect"] == "Allow"):
        if allowed["Principal"] != {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}:
            yield "others"
        if allowed["Action"] != ["s3:PutObject"]:
            yield "more than writing"
        if allowed["Resource"] != f"{bucket}/AWSLogs/123456789012/*":
            yield "elsewhere"
    denied = [each for each in statements if each["Effect"] == "Deny"]
    if [each["Condition"] for each in denied] != [{"Bool": {"aws:SecureTransport": "false"}}]:
        yield "without TLS"


@pytest.mark.parametrize("stack", DAYS)
def test_load_balancers_of_the_account_write_and_nobody_else_does_anything(stack: str) -> None:
    run = declared(stack)

    assert list(faults(run)) == []
    assert logs(run, "BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    block = logs(run, "BucketPublicAccessBlock").inputs
    assert {key: value for key, value in block.items() if key != "bucket"} == {
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"Principal": "*"}, "others"),
        ({"Action": ["s3:PutObject", "s3:GetObject"]}, "more than writing"),
        ({"Resource": f"arn:aws:s3:{PLACE}:rates-prod{LOGS}/*"}, "elsewhere"),
    ],
)
def test_a_policy_that_let_more_in_would_be_seen(
    change: dict[str, Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = access_logs.let_load_balancers_write
    monkeypatch.setattr(
        access_logs,
        "let_load_balancers_write",
        lambda bucket, account: {**original(bucket, account), **change},
    )

    assert list(faults(run_changed_program("prod"))) == [fault]


@pytest.mark.parametrize("stack", DAYS)
def test_the_load_balancer_writes_there_once_it_may(stack: str) -> None:
    run = declared(stack)
    balancer = run.one(BALANCER)

    assert balancer.inputs["accessLogs"] == {"bucket": f"rates-{stack}{LOGS}-id", "enabled": True}
    assert logs(run, "BucketPolicy").urn in balancer.dependencies


@pytest.mark.parametrize("stack", DAYS)
def test_logs_are_encrypted_with_the_only_key_that_load_balancers_write_with(stack: str) -> None:
    (rule,) = logs(declared(stack), "BucketServerSideEncryptionConfiguration").inputs["rules"]

    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


@pytest.mark.parametrize("stack", DAYS)
def test_logs_go_when_the_stack_says_so_and_outlive_a_mistake_in_production_only(stack: str) -> None:
    run, production = declared(stack), stack == "prod"
    bucket = logs(run, "s3/bucket:Bucket")
    (rule,) = logs(run, "BucketLifecycleConfiguration").inputs["rules"]

    assert (rule["status"], rule["filter"], rule["expiration"]) == (
        "Enabled",
        {"prefix": ""},
        {"days": DAYS[stack]},
    )
    assert (bucket.protect, bucket.retain_on_delete) == (production, production)
    assert bucket.inputs["forceDestroy"] is not production


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in DAYS])
def test_without_days_there_are_none_and_that_is_said(shape: str) -> None:
    run = declared(shape)

    assert [each.name for each in run.resources if each.name.endswith(LOGS)] == []
    assert run.one(BALANCER).inputs["accessLogs"] == {"bucket": "", "enabled": False}
