"""Commands that tests run on a stack of the real engine, and what they make of the answers."""

from __future__ import annotations

import json

from stacks.mock_engine import IMAGES
from tests.engine.stack import Stack


def brought_up(stack: Stack, **settings: str) -> Stack:
    """With the settings of a deploy, which names the images that run; they stay in the stack's file."""
    options = [f"--config={key}={value}" for key, value in (IMAGES | settings).items()]
    succeed(stack, "up", "--yes", "--skip-preview", *options)
    return stack


def succeed(stack: Stack, *command: str) -> str:
    ended = stack.pulumi(*command)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def refused(stack: Stack, *command: str) -> str:
    ended = stack.pulumi(*command)
    assert ended.returncode != 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def operations(stack: Stack, **settings: str) -> dict[str, str]:
    """What a preview with these settings would do, by type; what stays as it is has no entry."""
    steps = json.loads(succeed(stack, "preview", "--json", stack.changed(**settings)))["steps"]
    return {
        step["urn"].split("::")[2].rpartition("$")[2]: step["op"] for step in steps if step["op"] != "same"
    }
