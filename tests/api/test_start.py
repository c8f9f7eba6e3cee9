"""What a start of the API costs: it loads nothing that only some settings or requests need.

`make bench BENCH=api` has the time from the start of the process to the first good answer, below 1 s.
"""

from __future__ import annotations

import subprocess
import sys

from tests.api.service import AWAY, NOWHERE

LOADED = "import sys, api.server, api.wsgi; print(*sorted(sys.modules))"
# What takes longest to load and only some need: a bucket, a limit, a load, the documentation's page, tests.
DEAR = {
    *("boto3", "botocore", "polars", "pyarrow", "alembic", "sqlalchemy", "limits", "rich", "flask", "pytest"),
    *("hypothesis", "moto", "loader", "local", "infra", "pulumi"),
}


def test_what_only_some_need_is_not_loaded_at_the_start() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOADED], env=NOWHERE | AWAY, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert {"falcon", "gunicorn", "psycopg", "api.rates"} <= loaded
    assert loaded & DEAR == set()
