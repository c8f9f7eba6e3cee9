"""gunicorn's configuration: ours, after constants of the product have become others (`Service`)."""

from __future__ import annotations

import json
import os
from importlib import import_module

for name, value in json.loads(os.environ["CHANGED"]).items():
    module, _, constant = name.rpartition(".")
    assert hasattr(import_module(module), constant), name
    setattr(import_module(module), constant, value)

from api.server import *  # noqa: E402, F403
