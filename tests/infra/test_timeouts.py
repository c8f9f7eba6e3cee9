"""Times that depend on each other hold against each other, and against what the images really say."""

import runpy

import pytest

from api.store import WAIT_S
from api.threads import LONG_S
from infra import thresholds, timeouts
from stacks.mock_engine import ROOT, SHAPES, declared


@pytest.fixture(scope="module")
def server() -> dict:
    """gunicorn's configuration as the API's container reads it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "PGSERVICE", "RATES_DB_AUTH", "PORT", "API_DRAIN_S"):
            patch.delenv(name, raising=False)
        for name in ("PGHOST", "PGUSER", "PGDATABASE", "BATCH_BUCKET", "BATCH_QUEUE_URL"):
            patch.setenv(name, "here")
        return runpy.run_path(str(ROOT / "api/server.py"))


def test_a_request_under_way_outlives_its_tasks_leaving(server: dict) -> None:
    assert server["timeout"] == timeouts.REQUEST_S
    assert timeouts.REQUEST_S <= timeouts.DEREGISTRATION_S
    # It serves on for longer than the load balancer may send it requests, and then ends those in hand.
    assert 1.25 * timeouts.LEARNED_S < timeouts.DRAIN_S < timeouts.DEREGISTRATION_S
    assert server["graceful_timeout"] >= timeouts.DRAIN_S + timeouts.REQUEST_S
    assert server["graceful_timeout"] < timeouts.API_STOP_S <= timeouts.FARGATE_STOP_MAX_S


def test_the_load_balancer_closes_an_idle_connection_before_the_api_does(server: dict) -> None:
    assert server["keepalive"] > timeouts.CONNECTION_IDLE_S
    assert timeouts.REQUEST_S < timeouts.CONNECTION_IDLE_S


def test_a_rollout_outlives_the_alarm_that_would_undo_it_and_the_requests_of_old_tasks() -> None:
    assert timeouts.ALARM_MINUTES < timeouts.CANARY_MINUTES
    assert timeouts.ALARM_MINUTES < timeouts.BAKE_MINUTES
    # The alarm sounds before the third step.
    assert timeouts.ALARM_MINUTES < 2 * timeouts.LINEAR_STEP_MINUTES
    for minutes in (timeouts.CANARY_MINUTES, timeouts.LINEAR_STEP_MINUTES, timeouts.BAKE_MINUTES):
        assert minutes * 60 > timeouts.REQUEST_S + timeouts.DEREGISTRATION_S


def test_the_image_drains_as_long_as_the_task() -> None:
    assert f"API_DRAIN_S={timeouts.DRAIN_S} " in (ROOT / "api/Dockerfile").read_text()


def test_a_failover_of_the_database_replaces_no_task() -> None:
    assert timeouts.READY_INTERVAL_S * timeouts.READY_FAILURES > timeouts.FAILOVER_S
    assert WAIT_S < timeouts.READY_TIMEOUT_S < timeouts.READY_INTERVAL_S


def test_a_chunk_ends_before_its_task_is_killed_and_before_its_message_is_handed_out_again() -> None:
    assert timeouts.CHUNK_S < timeouts.LOADER_STOP_S <= timeouts.FARGATE_STOP_MAX_S
    assert timeouts.LOADER_STOP_S < timeouts.VISIBILITY_S


def test_a_message_is_kept_by_a_loader_that_lives_and_soon_anothers_when_it_does_not() -> None:
    from loader import taken  # noqa: PLC0415

    assert taken.VISIBILITY_S == timeouts.KEPT_S < timeouts.VISIBILITY_S
    # Two beats may fail.
    assert 3 * taken.HEARTBEAT_S <= timeouts.KEPT_S


@pytest.mark.parametrize("shape", SHAPES)
def test_the_queues_hand_a_message_out_again_after_the_time_that_stands_here(shape: str) -> None:
    queues = declared(shape).all("sqs/queue:Queue")

    assert {queue.inputs["visibilityTimeoutSeconds"] for queue in queues} == {timeouts.VISIBILITY_S}


def test_the_alarm_on_slow_answers_leaves_out_just_those_that_the_api_counts_as_long() -> None:
    assert thresholds.SLOW_S == LONG_S
