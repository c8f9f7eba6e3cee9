"""gunicorn's configuration: `gunicorn --config python:api.server api.wsgi:app`.

Threads, since `sync` workers ignore keep-alive. A connection is kept longer than a load balancer keeps it
idle (60 s): whoever closes first must be the balancer, or it sends a request into a closed connection (502).
"""

import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import Any

import gunicorn.http.wsgi
import gunicorn.util

import api.app  # noqa: F401  # before the fork: once, and in memory that the processes share
from api.connections import LINE_BYTES_MAX, linger, prepare, write_refusal
from api.headers import SafeResponse
from api.server_log import ServerLog
from api.settings import Settings, read_settings
from api.worker import Worker
from database.connect import connection_parameters
from database.errors import ConfigurationError, DatabaseError
from storage.clients import client

STORAGE_AFTER_S = 1.0


def checked_settings() -> Settings:
    """Ends the process where the environment is wrong, with all that is wrong in one line."""
    settings, faults = None, []
    try:
        settings = read_settings(os.environ)
    except ConfigurationError as error:
        faults.append(str(error))
    try:
        connection_parameters("rates-api")
    except DatabaseError as error:
        faults.append(str(error))
    if settings is None or faults:
        sys.exit(f"rates-api: {'; '.join(faults)}")
    return settings


settings = checked_settings()
bind = f":{settings.port}"
worker_class = Worker
logger_class = ServerLog
Worker.drain_s = settings.drain_s
Worker.cors_origins = settings.cors_origins
workers = settings.workers
threads = settings.threads
keepalive = 75
# At once, in each process; those that wait for a thread among them (`line`). Each takes a file and 6 KiB.
worker_connections = 1000
# Of connections that no process has taken yet.
backlog = 2048
# A request's head stands in memory; what is longer is refused with 414 or 431. Of the line the most that can
# be, so that what is too long is nearly always told by the app.
limit_request_line = LINE_BYTES_MAX
limit_request_fields = 100
limit_request_field_size = 8190
timeout = 30
# `drain_s` included. Below the 90 s after which a task that was told to stop is killed.
graceful_timeout = 60
# No client may say how this server is reached: of one that gunicorn trusts, as it does this machine, it takes
# SCRIPT_NAME for a part of the address, and fails where the address does not begin so.
forwarded_allow_ips = ""
proc_name = "rates-api"
# A socket to steer gunicorn by, in the user's home: nobody here uses it, and an image has no place for it.
control_socket_disable = True


def pre_request(_worker: Any, request: Any) -> None:
    prepare(request)


def post_request(_worker: Any, request: Any, _environ: Any, response: Any) -> None:
    linger(request, response)


def post_fork(server: Any, worker: Worker) -> None:
    worker.come_before = server.SIG_QUEUE


def post_worker_init(_worker: Any) -> None:
    """After the fork: a connection that two processes share breaks for both."""
    from api.wsgi import newest, pool  # noqa: PLC0415  # not in the process that only watches the workers

    pool.open()
    newest.start()
    if settings.api_tokens:
        # A third of a second that the first batch need not wait for; without tokens there is none.
        storage = threading.Timer(STORAGE_AFTER_S, get_storage_ready)
        storage.daemon = True
        storage.start()
    # What gunicorn refuses by itself never reaches the app, and there is no setting for how it says so
    # (`test_what_gunicorn_itself_refuses_is_json_too`).
    gunicorn.util.write_error = partial(write_refusal, settings.cors_origins)  # ty: ignore[invalid-assignment]
    # Nor one for the class of what it answers with, which it looks up here.
    gunicorn.http.wsgi.Response = SafeResponse  # ty: ignore[invalid-assignment]


def get_storage_ready() -> None:
    with suppress(Exception):  # whatever it is, a request is going to be told
        client("s3")


def worker_exit(_server: Any, _worker: Any) -> None:
    from api.wsgi import newest, store  # noqa: PLC0415

    newest.stop()
    store.close()
