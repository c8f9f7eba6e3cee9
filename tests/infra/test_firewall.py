"""The limit on one address: who asks too much is refused in the API's words, and all else goes through."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pulumi_aws as aws
import pytest

from infra import firewall, load_balancer
from stacks.mock_engine import PLACE, SHAPES, Run, declared, run_changed_program, run_stack

ACL = "wafv2/webAcl:WebAcl"
Rule = aws.wafv2.WebAclRuleArgs


def faults(run: Run, limit: int) -> Iterator[str]:
    """What would let an address ask more than it may, or tell more of requests than a metric."""
    acl = run.one(ACL)
    (rule,) = acl.inputs["rules"]
    if "block" not in rule["action"]:
        yield "refuses nobody"
    statement = rule["statement"]["rateBasedStatement"]
    if statement != {"aggregateKeyType": "IP", "limit": limit, "evaluationWindowSec": 300}:
        yield "another limit"
    balancer = run.one("lb/loadBalancer:LoadBalancer").name
    if run.one("WebAclAssociation").inputs != {
        "resourceArn": f"arn:aws:lb:{PLACE}:{balancer}",
        "webAclArn": f"arn:aws:wafv2:{PLACE}:{acl.name}",
    }:
        yield "stands elsewhere"
    for shown in (acl.inputs["visibilityConfig"], rule["visibilityConfig"]):
        if shown["sampledRequestsEnabled"] or not shown["cloudwatchMetricsEnabled"]:
            yield "shows tokens"


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_an_address_that_asks_too_much_is_refused_and_nobody_else_is(stack: str) -> None:
    run = declared(stack)

    assert list(faults(run, 20000)) == []
    assert list(faults(run_stack(stack, changes={"requestsPerAddress": "10"}), 10)) == []
    assert run.one(ACL).inputs["defaultAction"] == {"allow": {}}
    assert run.one(ACL).inputs["scope"] == "REGIONAL"


def counting(rule: Rule) -> None:
    rule.action = aws.wafv2.WebAclRuleActionArgs(count=aws.wafv2.WebAclRuleActionCountArgs())


def for_all_together(rule: Rule) -> None:
    everybody = aws.wafv2.WebAclRuleStatementRateBasedStatementArgs(
        aggregate_key_type="CONSTANT", limit=20000
    )
    rule.statement = aws.wafv2.WebAclRuleStatementArgs(rate_based_statement=everybody)


def showing_samples(rule: Rule) -> None:
    rule.visibility_config = aws.wafv2.WebAclRuleVisibilityConfigArgs(
        metric_name="limit", cloudwatch_metrics_enabled=True, sampled_requests_enabled=True
    )


@pytest.mark.parametrize(
    ("broken", "fault"),
    [(counting, "refuses nobody"), (for_all_together, "another limit"), (showing_samples, "shows tokens")],
)
def test_a_limit_that_does_not_hold_would_be_seen(
    broken: Callable[[Rule], None], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = firewall.limit

    def broken_limit(requests: int) -> Rule:
        rule = limit(requests)
        broken(rule)
        return rule

    monkeypatch.setattr(firewall, "limit", broken_limit)

    assert list(faults(run_changed_program("prod"), 20000)) == [fault]


def test_a_refusal_is_an_error_like_the_apis_own_and_says_when_to_come_again() -> None:
    inputs: dict[str, Any] = declared("prod").one(ACL).inputs
    (body,) = inputs["customResponseBodies"]
    refusal = inputs["rules"][0]["action"]["block"]["customResponse"]

    assert refusal["responseCode"] == 429
    assert refusal["responseHeaders"] == [{"name": "Retry-After", "value": "300"}]
    assert (refusal["customResponseBodyKey"], body["contentType"]) == (body["key"], "APPLICATION_JSON")
    assert (
        json.loads(body["content"]).keys()
        == load_balancer.NOT_FOUND.keys()
        == {"title", "description", "code"}
    )
    assert json.loads(body["content"])["code"] == "too_many_requests"


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_no_rule_looks_into_what_is_sent_so_that_a_batch_of_any_size_and_content_goes_through(
    stack: str,
) -> None:
    """AWS's own groups of rules refuse a body over 8 KB, and take some of a file of prices for an attack."""
    for rule in declared(stack).one(ACL).inputs["rules"]:
        assert "Body" not in json.dumps(rule["statement"])
        assert rule["statement"].keys() == {"rateBasedStatement"}, rule["name"]


@pytest.mark.parametrize("shape", SHAPES)
def test_there_is_a_firewall_only_where_a_limit_is_set(shape: str) -> None:
    assert len(declared(shape).all(ACL)) == (shape in ("staging", "prod"))
