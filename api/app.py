"""Puts the app together from what it works with; nothing here reads the environment."""

from __future__ import annotations

import falcon

from api.errors import add_error_handlers
from api.health import Live, Ready
from api.rates import Rates
from api.settings import Settings
from api.store import Store


def create_app(store: Store, settings: Settings) -> falcon.App:
    """The WSGI app, every route of it."""
    app = falcon.App(media_type=falcon.MEDIA_JSON)
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    app.req_options.strip_url_path_trailing_slash = True
    add_error_handlers(app)
    app.add_route("/rates", Rates(store, settings.days_max))
    app.add_route("/health/live", Live())
    app.add_route("/health/ready", Ready(store, ask_database=not settings.database_pauses))
    return app
