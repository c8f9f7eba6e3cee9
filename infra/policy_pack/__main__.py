"""Where Pulumi starts the pack: `pulumi preview --policy-pack infra/policy_pack`, and `up` likewise."""

import json
import os
from typing import Any

from pulumi.runtime.proto import AnalyzerStackConfigureRequest
from pulumi_policy import PolicyPack
from pulumi_policy.policy import _PolicyAnalyzerServicer as Servicer

from infra.policy_pack.pack import NAME, POLICIES

configure_stack = Servicer.ConfigureStack


def keep_settings(servicer: Servicer, request: AnalyzerStackConfigureRequest, context: Any) -> Any:
    """The engine sends the stack's settings, but pulumi_policy 1.21 looks for them in the environment alone.

    Without this every rule of production would be silent: tests/engine runs one.
    """
    os.environ["PULUMI_CONFIG"] = json.dumps(dict(request.config))
    return configure_stack(servicer, request, context)


Servicer.ConfigureStack = keep_settings  # ty: ignore[invalid-assignment]  # it calls the one it replaces
PolicyPack(NAME, POLICIES)
