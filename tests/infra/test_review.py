"""The role of previews: for pull requests of the repository alone; it changes nothing and reads no data."""

import json
from typing import Any

import pytest

from stacks.mock_engine import Run, declared, run_stack

BUCKET = "arn:aws:s3:::example-rates-state"
ISSUER = "token.actions.githubusercontent.com"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/state"


def statements(run: Run) -> list[dict[str, Any]]:
    return json.loads(run.one("iam/rolePolicy:RolePolicy", "-review").inputs["policy"])["Statement"]


def test_pull_requests_of_the_repository_alone_act_in_it_for_an_hour() -> None:
    role = declared("prod").one("iam/role:Role", "-review")

    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{ISSUER}:aud": "sts.amazonaws.com",
                    f"{ISSUER}:sub": "repo:example/rates:pull_request",
                }
            },
        }
    ]
    assert role.inputs["maxSessionDuration"] == 3600


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_it_reads_how_its_stack_is_built_and_nothing_else(stack: str) -> None:
    parameters = f"arn:aws:ssm:eu-west-1:123456789012:parameter/rates/{stack}"

    assert statements(declared(stack)) == [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": BUCKET},
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"{BUCKET}/.pulumi/meta.yaml", f"{BUCKET}/.pulumi/stacks/rates/{stack}.*"],
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:GetParametersByPath"],
            "Resource": [parameters, f"{parameters}/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["ec2:DescribeAvailabilityZones"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}},
        },
        {"Effect": "Allow", "Action": ["sts:GetCallerIdentity"], "Resource": "*"},
    ]


def test_state_with_a_key_of_ours_is_decrypted_through_s3_alone_and_may_lie_in_a_folder() -> None:
    changes = {"stateKeyArn": KEY, "stateBackend": "s3://example-rates-state/teams/rates?region=eu-west-1"}
    run = run_stack("staging", changes=changes)
    _list, files, key, *_rest = statements(run)

    assert files["Resource"] == [
        f"{BUCKET}/teams/rates/.pulumi/meta.yaml",
        f"{BUCKET}/teams/rates/.pulumi/stacks/rates/staging.*",
    ]
    assert key == {
        "Effect": "Allow",
        "Action": ["kms:Decrypt"],
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}},
    }


def test_githubs_identity_provider_is_declared_by_one_stack_of_an_account() -> None:
    provider = declared("staging").one("OpenIdConnectProvider")

    assert (provider.inputs["url"], provider.inputs["clientIdLists"]) == (
        f"https://{ISSUER}",
        ["sts.amazonaws.com"],
    )
    assert declared("prod").all("OpenIdConnectProvider") == []


def test_a_stack_without_reviews_has_no_such_role() -> None:
    run = run_stack("dev", changes={"review": "false"})

    assert [role.name for role in run.all("iam/role:Role") if "review" in role.name] == []
    assert run.exports["reviewRoleArn"].startswith("none")
    assert declared("prod").exports["reviewRoleArn"].endswith(":rates-prod-review")
