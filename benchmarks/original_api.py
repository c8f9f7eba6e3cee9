"""The service that this project replaces, as small as it can be and still answer the same of lanes.

One connection a process, in a transaction that never ends, as it had; `benchmarks.servers` starts it.
"""

from __future__ import annotations

from datetime import datetime

import psycopg2
from flask import Flask, Response, abort, jsonify, request

from database.queries import query

DAYS, CODES = ("date_from", "date_to"), ("orig_code", "dest_code")


def create_app() -> Flask:
    """Connects to what libpq's variables name."""
    app = Flask(__name__)
    connection = psycopg2.connect("")

    @app.get("/rates")
    def rates() -> Response:
        question = {name: request.args.get(name, "") for name in (*DAYS, *CODES)}
        if not all(question[name] for name in CODES) or not all(is_day(question[name]) for name in DAYS):
            abort(400)
        with connection.cursor() as cursor:
            cursor.execute(query("benchmarks", "original_rates"), question)
            found = cursor.fetchall()
        return jsonify(
            rates=[{"count": count, "day": day.isoformat(), "price": price} for day, price, count in found]
        )

    return app


def is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007  # a day has no time zone
    except ValueError:
        return False
    return True
