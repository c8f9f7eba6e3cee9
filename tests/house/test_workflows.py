"""The workflows on GitHub are written as GitHub reads them. zizmor finds what is unsafe (`make check`)."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.house.files import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
PREVIEW = (ROOT / ".github/workflows/preview.yml").read_text()


@pytest.mark.needs("actionlint")
def test_the_workflows_are_written_as_github_reads_them() -> None:
    ended = subprocess.run(["actionlint", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert ended.stdout + ended.stderr == ""
    assert ended.returncode == 0


def test_each_action_is_one_commit_and_says_its_version() -> None:
    for workflow in WORKFLOWS:
        for line in workflow.read_text().splitlines():
            if "uses:" in line:
                assert PINNED.search(line), f"{workflow.name}: {line}"


def test_the_preview_shows_every_stack() -> None:
    stacks = yaml.safe_load(PREVIEW)["jobs"]["preview"]["strategy"]["matrix"]["stack"]
    assert {*stacks} == {path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml")}


def test_a_fork_is_given_no_role_and_a_role_is_asked_for_by_the_preview_alone() -> None:
    jobs = yaml.safe_load(PREVIEW)["jobs"]
    same_repository = "github.event.pull_request.head.repo.full_name == github.repository"
    assert jobs["preview"]["if"] == same_repository
    assert jobs["comment"]["needs"] == "preview"
    assert "needs.preview.result != 'skipped'" in jobs["comment"]["if"]
    assert [name for name, job in jobs.items() if "id-token" in job["permissions"]] == ["preview"]
    assert yaml.safe_load(PREVIEW)["permissions"] == {}
    # A pull request of a fork runs with `pull_request_target` in the repository's own name.
    assert "pull_request_target" not in PREVIEW


def test_a_preview_builds_and_changes_nothing() -> None:
    commands = "\n".join(
        step.get("run", "") for job in yaml.safe_load(PREVIEW)["jobs"].values() for step in job["steps"]
    )
    assert not re.search(r"pulumi up|make images|buildah|docker", commands)


def test_each_night_runs_the_long_tests_the_benchmark_and_the_audit_by_the_makefiles_targets() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())
    assert "schedule" in workflow[True], "YAML takes the key `on` for a boolean"
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert {".ci/run nightly", "make bench", "make audit"} <= {*commands}
    makefile = (ROOT / "Makefile").read_text()
    for target in ("nightly", "bench", "audit"):
        assert f"\n{target}: " in makefile
