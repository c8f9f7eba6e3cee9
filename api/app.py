"""Puts the app together from what it works with; nothing here reads the environment."""

from __future__ import annotations

from functools import partial
from typing import Any

import falcon

from access.tokens import Tokens
from api.answers import Answers
from api.batch import Batch
from api.batch_errors import BatchErrors, BatchErrorsFile
from api.batches import Batches
from api.bearers import Bearers
from api.cors import Cors
from api.data_version import NewestVersion
from api.docs import Docs, DocsFile, OpenApi
from api.errors import add_error_handlers
from api.health import Live, Ready
from api.known import KnownBatches
from api.lanes import Lanes
from api.ledger import Ledger
from api.openapi import encode_document
from api.places import Ports, Regions
from api.rates import Rates
from api.requests import RequestIds
from api.settings import Settings
from api.store import Store
from api.threads import Threads
from api.uploads import FinishedUpload, Uploads
from storage.bucket import Bucket
from storage.work_queue import WorkQueue


def create_app(store: Store, newest: NewestVersion, settings: Settings) -> falcon.App:
    """The WSGI app, every route of it."""
    bearers = Bearers(Tokens(settings.api_tokens), settings.private_batches)
    app = falcon.App(media_type=falcon.MEDIA_JSON, middleware=make_middleware(settings, bearers))
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.strip_url_path_trailing_slash = True
    add_error_handlers(app)
    answers = Answers(store, newest, settings.answers_bytes_max)
    app.add_route("/rates", Rates(store, answers, settings.days_max, strict=settings.strict))
    app.add_route("/lanes", Lanes(store, answers))
    app.add_route("/ports", Ports(store, answers))
    app.add_route("/regions", Regions(store, answers))
    app.add_route("/health/live", Live())
    app.add_route("/health/ready", Ready(store, ask_database=not settings.database_pauses))
    known = KnownBatches(Ledger(store), Bucket(settings.storage.bucket))
    threads = Threads(settings.threads)
    queue = WorkQueue(settings.storage.queue_url)
    app.add_route("/batches", Batches(known, bearers, threads, settings.upload_bytes_max))
    app.add_route("/batches/uploads", Uploads(known, bearers))
    app.add_route("/batches/{batch}", Batch(known, queue, bearers, threads))
    app.add_route("/batches/{batch}/errors", BatchErrors(known, bearers, threads))
    app.add_route("/batches/{batch}/errors.csv", BatchErrorsFile(known, bearers, threads))
    app.add_route("/batches/{batch}/upload", FinishedUpload(known, bearers))
    app.add_route(
        "/openapi.json", OpenApi(partial(encode_document, private_batches=settings.private_batches))
    )
    app.add_route("/docs", Docs())
    app.add_route("/docs/{name}", DocsFile())
    return app


def make_middleware(settings: Settings, bearers: Bearers) -> list[Any]:
    """What is off costs no request anything."""
    middleware: list[Any] = [RequestIds()]
    if settings.cors_origins:
        middleware.append(Cors(settings.cors_origins))
    if settings.limit:
        from api.limits import Limits  # noqa: PLC0415

        middleware.append(Limits(settings.limit, bearers, settings.proxies))
    return middleware
