"""The load balancer: as careful as AWS lets it be, times that fit the API's, and an address that stays."""

import json
import re

import pytest

from infra import timeouts
from infra.load_balancer import API_PORT, HEALTH_PATH, NOT_FOUND
from stacks.mock_engine import NO_IMAGES, ROOT, SHAPES, declared, run_stack

BALANCER = "lb/loadBalancer:LoadBalancer"
TARGETS = "lb/targetGroup:TargetGroup"


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_way_in_and_as_careful_as_aws_lets_it_be(shape: str) -> None:
    run = declared(shape)
    inputs = run.one(BALANCER).inputs

    assert inputs["internal"] is False
    assert inputs["subnets"] == run.exports["publicSubnetIds"]
    assert inputs["dropInvalidHeaderFields"] is True
    assert inputs["idleTimeout"] == timeouts.CONNECTION_IDLE_S
    assert inputs["enableDeletionProtection"] is (shape == "prod")


@pytest.mark.parametrize("shape", SHAPES)
def test_requests_go_to_tasks_that_would_answer_them(shape: str) -> None:
    run = declared(shape)
    rule = run.one("lb/listenerRule:ListenerRule")
    (joined,) = run.one("ecs/service:Service", "-api").inputs["loadBalancers"]

    assert rule.inputs["conditions"] == [{"pathPattern": {"values": ["/*"]}}]
    (action,) = rule.inputs["actions"]
    assert action["type"] == "forward"
    first, alternate = action["forward"]["targetGroups"]
    assert first == {"arn": joined["targetGroupArn"], "weight": 100}
    assert alternate == {"arn": joined["advancedConfiguration"]["alternateTargetGroupArn"], "weight": 0}
    for targets in run.all(TARGETS):
        assert (targets.inputs["targetType"], targets.inputs["port"]) == ("ip", API_PORT)
        assert targets.inputs["deregistrationDelay"] == timeouts.DEREGISTRATION_S
        assert targets.inputs["healthCheck"] == {
            "path": "/health/ready",
            "matcher": "200",
            "interval": timeouts.READY_INTERVAL_S,
            "timeout": timeouts.READY_TIMEOUT_S,
            "healthyThreshold": 2,
            "unhealthyThreshold": timeouts.READY_FAILURES,
        }


def test_a_request_for_no_path_gets_the_apis_own_answer_to_one_for_a_wrong_path() -> None:
    (action,) = declared("dev").one("lb/listener:Listener").inputs["defaultActions"]
    answer = action["fixedResponse"]

    assert (action["type"], answer["statusCode"]) == ("fixed-response", "404")
    assert answer["contentType"] == "application/json"
    assert json.loads(answer["messageBody"]) == NOT_FOUND
    assert f'"{NOT_FOUND["code"]}": "{NOT_FOUND["description"]}"' in (ROOT / "api/errors.py").read_text()


def test_the_api_listens_and_tells_its_health_where_the_load_balancer_asks() -> None:
    dockerfile = (ROOT / "api/Dockerfile").read_text()

    assert re.findall(r"^EXPOSE (\d+)$", dockerfile, re.MULTILINE) == [str(API_PORT)]
    assert f'"{HEALTH_PATH}"' in (ROOT / "api/app.py").read_text()


def test_names_are_short_enough_for_a_stack_of_any_name() -> None:
    """AWS takes 32 characters, and Pulumi would make more of the stack's."""
    run = run_stack("d" * 32, "dev")

    for resource in (run.one(BALANCER), *run.all(TARGETS)):
        assert len(resource.inputs["namePrefix"]) <= 6
        assert "name" not in resource.inputs


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_address_is_there_before_the_service_and_stays_without_it(stack: str) -> None:
    with_service, without = declared(stack), run_stack(stack, changes=NO_IMAGES)

    for kind in (BALANCER, "lb/listenerRule:ListenerRule"):
        assert without.one(kind) == with_service.one(kind)
    assert without.exports["address"] == with_service.exports["address"]
