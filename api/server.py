"""gunicorn's configuration: `gunicorn --config python:api.server api.wsgi:app`.

gthread, since `sync` workers ignore keep-alive. A connection is kept longer than a load balancer keeps it
idle (60 s): whoever closes first must be the balancer, or it sends a request into a closed connection (502).
"""

import os
import sys
from typing import Any

from api.settings import read_settings
from database.connect import connection_parameters
from database.errors import ConfigurationError

try:
    settings = read_settings(os.environ)
    connection_parameters("rates-api")
except ConfigurationError as error:
    sys.exit(f"rates-api: {error}")

bind = f":{settings.port}"
worker_class = "gthread"
workers = settings.workers
threads = settings.threads
keepalive = 75
timeout = 30
# Below the 90 s after which a task that was told to stop is killed.
graceful_timeout = 60
proc_name = "rates-api"
# A socket to steer gunicorn by, in the user's home: nobody here uses it, and an image has no place for it.
control_socket_disable = True


def post_worker_init(_worker: Any) -> None:
    """After the fork: a connection that two processes share breaks for both."""
    from api.wsgi import pool  # noqa: PLC0415  # not in the process that only watches the workers

    pool.open()


def worker_exit(_server: Any, _worker: Any) -> None:
    from api.wsgi import pool  # noqa: PLC0415

    pool.close()
