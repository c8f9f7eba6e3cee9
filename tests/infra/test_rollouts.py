"""How new API tasks take over: by the setting alone, in a role that can move requests and nothing else."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra import rollouts, timeouts
from infra.iam import Statement, allow
from infra.load_balancer import LoadBalancer
from infra.settings.services import Rollout
from stacks.mock_engine import PLACE, SHAPES, Resource, Run, declared, run_changed_program, run_stack

SERVICE = "ecs/service:Service"
BALANCING = "elasticloadbalancing"


def api(rollout: str, stack: str = "prod") -> Resource:
    return run_stack(stack, changes={"apiRollout": rollout}).one(SERVICE, "-api")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_rolling_one_replaces_tasks_as_they_get_ready_and_goes_back_when_they_do_not(shape: str) -> None:
    for service in declared(shape).all(SERVICE):
        assert service.inputs["deploymentConfiguration"] == {"strategy": "ROLLING"}
        assert service.inputs["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


@pytest.mark.parametrize(
    ("rollout", "configuration"),
    [
        (
            "canary",
            {
                "strategy": "CANARY",
                "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": "10"},
                "bakeTimeInMinutes": "10",
            },
        ),
        (
            "linear",
            {
                "strategy": "LINEAR",
                "linearConfiguration": {"stepPercent": 10, "stepBakeTimeInMinutes": "3"},
                "bakeTimeInMinutes": "10",
            },
        ),
    ],
)
def test_a_canary_or_linear_one_moves_a_tenth_of_the_requests_first(
    rollout: str, configuration: dict[str, Any]
) -> None:
    service = api(rollout)

    assert service.inputs["deploymentConfiguration"] == configuration
    assert "deploymentCircuitBreaker" not in service.inputs, "which ECS has for rolling alone"
    # Both get as many tasks as there were.
    assert service.inputs["deploymentMinimumHealthyPercent"] == 100
    assert service.inputs["deploymentMaximumPercent"] == 200


@pytest.mark.parametrize("rollout", Rollout)
def test_an_update_waits_until_a_rollout_is_surely_over(rollout: Rollout) -> None:
    steps = {
        Rollout.ROLLING: 0,
        Rollout.CANARY: timeouts.CANARY_MINUTES + timeouts.BAKE_MINUTES,
        Rollout.LINEAR: 9 * timeouts.LINEAR_STEP_MINUTES + timeouts.BAKE_MINUTES,
    }

    assert rollouts.MINUTES[rollout] - steps[rollout] == timeouts.ROLLING_MINUTES
    assert api(rollout).inputs["waitForSteadyState"] is True
    assert api(rollout).update_timeout in (f"{rollouts.MINUTES[rollout]}m", f"{rollouts.MINUTES[rollout]}m0s")


def test_the_loader_has_no_requests_to_move_and_is_always_rolling() -> None:
    run = run_stack("prod", changes={"apiRollout": "canary"})

    assert run.one(SERVICE, "-loader") == declared("prod").one(SERVICE, "-loader")


@pytest.mark.parametrize("shape", SHAPES)
def test_ecs_may_move_requests_between_two_groups_of_targets_that_are_alike(shape: str) -> None:
    run = declared(shape)
    first, alternate = run.all("lb/targetGroup:TargetGroup")
    (joined,) = run.one(SERVICE, "-api").inputs["loadBalancers"]

    assert first.inputs == alternate.inputs
    assert joined["targetGroupArn"] == f"arn:aws:lb:{PLACE}:{first.name}"
    assert joined["advancedConfiguration"] == {
        "alternateTargetGroupArn": f"arn:aws:lb:{PLACE}:{alternate.name}",
        "productionListenerRule": f"arn:aws:lb:{PLACE}:{run.one('ListenerRule').name}",
        "roleArn": f"arn:aws:iam:{PLACE}:rates-{run.stack}-api-rollout",
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_does_not_undo_where_ecs_moved_requests_to(shape: str) -> None:
    assert declared(shape).one("ListenerRule").ignore_changes == ("actions",)


@pytest.mark.parametrize("rollout", ["canary", "linear"])
@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_another_rollout_changes_the_service_and_neither_its_targets_nor_its_address(
    rollout: str, stack: str
) -> None:
    before, after = declared(stack), run_stack(stack, changes={"apiRollout": rollout})
    changed = [one for one, other in zip(before.resources, after.resources, strict=True) if one != other]

    assert [each.name for each in changed] == [f"rates-{stack}-api"]
    assert changed[0].inputs["loadBalancers"] == after.one(SERVICE, "-api").inputs["loadBalancers"]
    assert before.exports == after.exports


def faults(run: Run) -> Iterator[str]:
    """What the role may beyond asking, and moving requests within its own load balancer."""
    name, place = f"rates-{run.stack}", f"arn:aws:lb:{PLACE}:"
    listener = f"{name}-https" if run.stack in ("staging", "prod") else f"{name}-http"
    own = {
        f"{BALANCING}:RegisterTargets": {place + name, f"{place}{name}-alternate"},
        f"{BALANCING}:DeregisterTargets": {place + name, f"{place}{name}-alternate"},
        f"{BALANCING}:ModifyListener": {place + listener},
        f"{BALANCING}:ModifyRule": {place + name},
    }
    for statement in json.loads(run.one("RolePolicy", "-api-rollout").inputs["policy"])["Statement"]:
        found = statement["Resource"]
        resources = {found} if isinstance(found, str) else set(found)
        for action in statement["Action"]:
            if not action.startswith(f"{BALANCING}:Describe") and resources != own.get(action):
                yield action


@pytest.mark.parametrize("shape", SHAPES)
def test_the_role_moves_requests_in_its_own_load_balancer_and_only_ecs_acts_in_it(shape: str) -> None:
    run = declared(shape)
    (trust,) = json.loads(run.one("iam/role:Role", "-api-rollout").inputs["assumeRolePolicy"])["Statement"]

    assert list(faults(run)) == []
    assert trust["Principal"] == {"Service": "ecs.amazonaws.com"}
    assert run.one("RolePolicy", "-api-rollout").urn in run.one(SERVICE, "-api").dependencies


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (allow([f"{BALANCING}:ModifyRule"], "*"), f"{BALANCING}:ModifyRule"),
        (
            allow([f"{BALANCING}:DeleteListener"], f"arn:aws:lb:{PLACE}:rates-prod-https"),
            f"{BALANCING}:DeleteListener",
        ),
        (allow(["iam:PassRole"], f"arn:aws:iam:{PLACE}:rates-prod-api-task"), "iam:PassRole"),
    ],
)
def test_a_role_that_may_do_more_would_be_seen(
    more: Statement, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_move: Callable[[LoadBalancer], list[Statement]] = rollouts.to_move_requests
    monkeypatch.setattr(rollouts, "to_move_requests", lambda balancer: [*to_move(balancer), more])

    assert list(faults(run_changed_program("prod"))) == [fault]


@pytest.mark.parametrize("rollout", Rollout)
def test_autoscaling_sees_requests_in_whichever_group_of_targets_the_tasks_are(rollout: str) -> None:
    run = run_stack("prod", changes={"apiRollout": rollout})
    policy = run.one("appautoscaling/policy:Policy", "-api-requests").inputs
    tracked = policy["targetTrackingScalingPolicyConfiguration"]["customizedMetricSpecification"]["metrics"]
    *groups, total = tracked

    assert (total["expression"], total["returnData"]) == ("SUM([group0, group1])", True)
    assert [(each["id"], each["returnData"]) for each in groups] == [("group0", False), ("group1", False)]
    for each, suffix in zip(groups, ["", "-alternate"], strict=True):
        assert each["metricStat"] == {
            "metric": {
                "namespace": "AWS/ApplicationELB",
                "metricName": "RequestCountPerTarget",
                "dimensions": [
                    {"name": "LoadBalancer", "value": "app/rates-prod/1"},
                    {"name": "TargetGroup", "value": f"targetgroup/rates-prod{suffix}/1"},
                ],
            },
            "stat": "Sum",
        }
