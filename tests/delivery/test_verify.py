"""What the end of a deploy says, against moto's ECS, and against ECS's own answers where moto has none."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from delivery.verify import Deployed, VerifyError, main, verify
from local.postgres import free_port

CLUSTER = "rates-dev"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def ecs(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an ECS with the cluster in it and nothing else."""
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("ecs")
    client.create_cluster(clusterName=CLUSTER)
    yield client
    for service in client.list_services(cluster=CLUSTER)["serviceArns"]:
        client.delete_service(cluster=CLUSTER, service=service, force=True)
    client.delete_cluster(cluster=CLUSTER)
    client.close()


def define(ecs: Any, family: str) -> str:
    container = {"name": "main", "image": "image", "memory": 128}
    answer = ecs.register_task_definition(family=family, containerDefinitions=[container])
    return answer["taskDefinition"]["taskDefinitionArn"]


def serve(ecs: Any, name: str, tasks: int = 0) -> str:
    """Makes a service; moto never starts a task, so only that of none has completed. Returns what it runs."""
    task_definition = define(ecs, name)
    ecs.create_service(cluster=CLUSTER, serviceName=name, taskDefinition=task_definition, desiredCount=tasks)
    return task_definition


def outputs(folder: Path, api: str, loader: str) -> str:
    file = folder / "outputs.json"
    exported = {
        f"{part}Service": {"cluster": CLUSTER, "service": part, "taskDefinition": task_definition}
        for part, task_definition in {"api": api, "loader": loader}.items()
    }
    file.write_text(json.dumps(exported))
    return str(file)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    output = capsys.readouterr()
    return (output.out + output.err).splitlines()


def test_services_that_run_what_was_deployed_are_named(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = outputs(tmp_path, serve(ecs, "api"), serve(ecs, "loader"))
    assert main([file]) == 0
    assert [line.rpartition(":")[0] for line in said(capsys)] == ["api runs api", "loader runs loader"]


def test_a_service_that_was_rolled_back_fails_the_deploy(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a rollback, its primary deployment is of the revision before."""
    old, loader = serve(ecs, "api"), serve(ecs, "loader")
    new = define(ecs, "api")
    assert old != new
    assert main([outputs(tmp_path, new, loader)]) == 1
    old, new = (arn.rpartition("/")[2] for arn in (old, new))
    assert f"api was rolled back: it runs {old}, not {new}; its events say why" in said(capsys)


def test_a_rollout_that_does_not_end_is_neither_success_nor_failure(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = outputs(tmp_path, serve(ecs, "api", tasks=1), serve(ecs, "loader"))
    assert main([file, "--wait-s=0"]) == 3
    assert "the rollout of api has not ended: it is IN_PROGRESS still" in said(capsys)


def test_a_service_that_is_not_there_fails_the_deploy_and_the_other_is_looked_at_too(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = serve(ecs, "loader")
    assert main([outputs(tmp_path, "api:1", loader)]) == 1
    assert {"there is no service api in rates-dev", f"loader runs {loader.rpartition('/')[2]}"} == {
        *said(capsys)
    }


def test_a_service_that_is_being_deleted_counts_as_gone(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = outputs(tmp_path, serve(ecs, "api"), serve(ecs, "loader"))
    ecs.delete_service(cluster=CLUSTER, service="api", force=True)
    assert main([file]) == 1
    assert "there is no service api in rates-dev" in said(capsys)


def test_an_ecs_that_does_not_answer_is_said_in_a_sentence(
    ecs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main([outputs(tmp_path, "api:1", "loader:1")]) == 3
    assert said(capsys)[0].startswith("ECS does not say what api runs: Could not connect")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"services": "none yet"}', "the stack exports no apiService and no loaderService"),
        ('{"apiService": {}, "loaderService": {}}', "the stack exports no apiService and no loaderService"),
        ('{"apiService": {"cluster": "c"}, "loaderService": 1}', "cannot be used as the outputs of a stack"),
        ("[]", "cannot be used as the outputs of a stack"),
        ("", "cannot be used as the outputs of a stack"),
    ],
)
def test_outputs_that_name_no_services_are_refused(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outputs.json"
    file.write_text(text)
    assert main([str(file)]) == 2
    assert sentence in said(capsys)[0]


# --- what moto does not answer ------------------------------------------------------------------------------


def answer(state: str, reason: str = "", task_definition: str = "api:2") -> dict[str, Any]:
    """Of DescribeServices; Stubber refuses what ECS could not send."""
    old = {"id": "ecs-svc/1", "status": "ACTIVE", "taskDefinition": "api:1", "rolloutState": "COMPLETED"}
    new = {"id": "ecs-svc/2", "status": "PRIMARY", "taskDefinition": task_definition}
    new |= {"rolloutState": state, "rolloutStateReason": reason}
    return {
        "services": [{"serviceName": "api", "status": "ACTIVE", "deployments": [old, new]}],
        "failures": [],
    }


def verdict(*answers: dict[str, Any]) -> str:
    ecs = boto3.client("ecs", "eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    with Stubber(ecs) as stubber:
        for each in answers:
            stubber.add_response("describe_services", each, {"cluster": CLUSTER, "services": ["api"]})
        said = verify(ecs, Deployed(CLUSTER, "api", "api:2"), deadline=float("inf"), poll_s=0)
        stubber.assert_no_pending_responses()
    return said


def test_a_rollout_under_way_is_waited_for() -> None:
    assert verdict(answer("IN_PROGRESS"), answer("IN_PROGRESS"), answer("COMPLETED")) == "api runs api:2"


def test_a_rollout_that_failed_gives_ecs_s_reason() -> None:
    with pytest.raises(VerifyError, match="the rollout of api failed: tasks failed to start") as raised:
        verdict(answer("IN_PROGRESS"), answer("FAILED", "tasks failed to start."))
    assert raised.value.code == 1


def test_a_rollback_while_it_is_waited_for_is_seen() -> None:
    with pytest.raises(VerifyError, match="was rolled back: it runs api:1, not api:2"):
        verdict(answer("IN_PROGRESS"), answer("IN_PROGRESS", task_definition="api:1"))
