"""The committed `database/schema.sql` is what the migrations add up to, on whatever server they ran."""

import subprocess
import sys
from difflib import unified_diff
from pathlib import Path

from local.schema import COMMITTED

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_schema_is_what_the_migrations_make(tmp_path: Path) -> None:
    made = tmp_path / "schema.sql"
    command = [sys.executable, "-m", "local.schema", "--output", made]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    difference = "".join(
        unified_diff(
            COMMITTED.read_text().splitlines(keepends=True),
            made.read_text().splitlines(keepends=True),
            "database/schema.sql",
            "what the migrations make",
        )
    )
    assert not difference, f"run `make schema` and commit what it writes:\n{difference}"


def test_it_holds_rights_and_nothing_that_differs_from_run_to_run() -> None:
    text = COMMITTED.read_text()
    assert "GRANT SELECT ON TABLE public.lane_month_totals TO rates_api;" in text
    for noise in ("OWNER", "Dumped", "restrict ", "SET statement_timeout", "-- Name:"):
        assert noise not in text
