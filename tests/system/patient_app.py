"""The API's app, but its processes ask for the newest version once a minute only, and believe it as long.

Whatever waits for less (`tests.waiting`) and finds a new answer knows that the commit was heard of.
"""

from __future__ import annotations

from api import data_version
from api.wsgi import app

__all__ = ["app"]

data_version.LEASE_S = data_version.POLL_S = 60.0
