"""What granian serves: the API with what `api.server` starts in each process of gunicorn."""

from __future__ import annotations

from api.wsgi import app, newest, pool

pool.open()
newest.start()

__all__ = ["app"]
