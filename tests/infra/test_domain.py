"""With a domain: a certificate for it, and nothing answered over plain HTTP."""

from collections.abc import Callable, Iterator
from typing import Any

import pulumi_aws as aws
import pytest

from infra import domain, load_balancer
from stacks.mock_engine import PLACE, SHAPES, Run, declared, run_changed_program, run_stack

WITH_DOMAIN = {"staging": "rates-staging.example.com", "prod": "rates.example.com"}


def faults(run: Run, name: str) -> Iterator[str]:
    """What a stack with a domain must not have: an answer over plain HTTP, old TLS, another's certificate."""
    rules = run.all("lb/listenerRule:ListenerRule")
    for listener in run.all("lb/listener:Listener"):
        ruled = [rule for rule in rules if rule.inputs["listenerArn"].endswith(f":{listener.name}")]
        if listener.inputs["protocol"] == "HTTPS":
            if not listener.inputs["sslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2-Res-"):
                yield "old TLS"
            if run.one("CertificateValidation").urn not in listener.dependencies:
                yield "a certificate that may not be issued yet"
        elif ruled or any(not comes_again(action, name) for action in listener.inputs["defaultActions"]):
            yield "plain HTTP"


def comes_again(action: dict[str, Any], name: str) -> bool:
    to = {"host": name, "protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}
    return action == {"type": "redirect", "redirect": to}


@pytest.mark.parametrize("stack", WITH_DOMAIN)
def test_nothing_is_answered_over_plain_http_and_tls_is_todays(stack: str) -> None:
    run = declared(stack)

    assert list(faults(run, WITH_DOMAIN[stack])) == []
    assert {each.inputs["port"] for each in run.all("lb/listener:Listener")} == {80, 443}
    https = run.one("lb/listener:Listener", "-https")
    assert run.one("lb/listenerRule:ListenerRule").inputs["listenerArn"] == f"arn:aws:lb:{PLACE}:{https.name}"


def forward(_domain: Any) -> aws.lb.ListenerDefaultActionArgs:
    return aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn="arn")


def to_any_host(_domain: Any) -> aws.lb.ListenerDefaultActionArgs:
    again = aws.lb.ListenerDefaultActionRedirectArgs(protocol="HTTPS", port="443", status_code="HTTP_301")
    return aws.lb.ListenerDefaultActionArgs(type="redirect", redirect=again)


@pytest.mark.parametrize(
    ("broken", "instead", "fault"),
    [
        ("to_https", forward, "plain HTTP"),
        ("to_https", to_any_host, "plain HTTP"),
        ("TLS_POLICY", "ELBSecurityPolicy-2016-08", "old TLS"),
    ],
)
def test_a_program_that_answered_otherwise_would_be_seen(
    broken: str, instead: Callable | str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_balancer, broken, instead)

    assert list(faults(run_changed_program("prod"), WITH_DOMAIN["prod"])) == [fault]


@pytest.mark.parametrize("stack", WITH_DOMAIN)
def test_the_certificate_is_for_the_domain_and_proved_in_its_zone(stack: str) -> None:
    run, name = declared(stack), WITH_DOMAIN[stack]
    certificate, proof = (
        run.one("acm/certificate:Certificate"),
        run.one("route53/record:Record", "-validation"),
    )
    issued = run.one("CertificateValidation")

    assert certificate.inputs == {"domainName": name, "validationMethod": "DNS"}
    assert proof.inputs == {
        "zoneId": "Z0123456789EXAMPLE",
        "name": f"_proof.{name}",
        "type": "CNAME",
        "records": ["_proof.acm.example"],
        "ttl": domain.VALIDATION_TTL_S,
    }
    assert issued.inputs["validationRecordFqdns"] == [f"_proof.{name}"]
    assert run.one("lb/listener:Listener", "-https").inputs["certificateArn"] == (
        f"arn:aws:acm:{PLACE}:{certificate.name}"
    )


@pytest.mark.parametrize("stack", WITH_DOMAIN)
def test_the_domain_leads_to_the_load_balancer_and_is_the_address(stack: str) -> None:
    run = declared(stack)
    (record,) = [each for each in run.all("route53/record:Record") if each.inputs["type"] == "A"]

    assert record.inputs["name"] == WITH_DOMAIN[stack]
    assert record.inputs["aliases"] == [
        {
            "name": f"rates-{stack}.elb.example",
            "zoneId": "zone-of-load-balancers",
            "evaluateTargetHealth": False,
        }
    ]
    assert run.exports["address"] == f"https://{WITH_DOMAIN[stack]}"
    assert run.exports["curl"].startswith(f"curl 'https://{WITH_DOMAIN[stack]}/rates?")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in WITH_DOMAIN])
def test_without_one_there_is_plain_http_at_the_load_balancers_own_name(shape: str) -> None:
    run = declared(shape)

    assert run.one("lb/listener:Listener").inputs["port"] == 80
    assert run.exports["address"] == f"http://rates-{run.stack}.elb.example"
    assert run.all("acm/certificate:Certificate") + run.all("route53/record:Record") == []


def test_a_stack_that_gets_a_domain_keeps_its_load_balancer_and_its_targets() -> None:
    before = declared("dev")
    after = run_stack("dev", changes={"domain": "rates.acme.dev", "domainZoneId": "Z0123456789ABC"})

    assert after.one("lb/loadBalancer:LoadBalancer") == before.one("lb/loadBalancer:LoadBalancer")
    assert after.all("lb/targetGroup:TargetGroup") == before.all("lb/targetGroup:TargetGroup")
