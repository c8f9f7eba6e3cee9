"""schemathesis asks the real API, a loader behind it, whatever its document allows, and what it does not.

All its phases and checks: no 5xx, no answer that its schema refuses, nothing unsound accepted, nothing sound
refused. RATES_FUZZ_CASES makes it ask more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from api.operations import OPERATIONS
from tests.api.conftest import assert_no_fault
from tests.api.ingestion import ADMINISTRATOR, TOKENS
from tests.api.service import Service
from tests.api.world import load_prices
from tests.batch_storage import BatchStorage
from tests.postgres import Database
from tests.system.fleet import Loader

CASES = int(os.environ.get("RATES_FUZZ_CASES") or 800)
# What its phase `coverage` asks in any case, at the least.
COVERED = 800
SENT_FILE = "RATES_FUZZ_SENT_FILE"  # as the hooks have it
CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = "20210101"
# The document itself is where it starts, and is not asked again; what takes no parameter is soon asked in all
# the ways that there are.
NOT_ASKED, SOON_ASKED = 1, 3


def test_whatever_the_document_allows_is_answered_as_it_says(
    database: Database, storage: BatchStorage, tmp_path: Path
) -> None:
    load_prices(database, [("CNSGH", "EETLL", "2021-05-01", price) for price in (10, 20, 60)])
    load_prices(database, [("CNSGH", "EETLL", "2021-02-30", price) for price in range(150)])
    variables = storage.environment() | TOKENS
    with Service(database.environment("rates_api") | variables | {"WEB_CONCURRENCY": "1"}) as service:
        loader = Loader(database.environment("rates_loader") | variables)
        try:
            report, said, sent = ask(service, tmp_path)
        finally:
            loader.stop()
    assert report["failures"] == [] == report["errors"], said
    assert report["operations"]["tested"] == len(OPERATIONS) - NOT_ASKED
    assert {phase: told["status"] for phase, told in report["phases"].items()} == dict.fromkeys(
        ("examples", "coverage", "fuzzing", "stateful"), "success"
    )
    assert sent >= CASES, said
    assert_no_fault(service)


def ask(service: Service, folder: Path) -> tuple[dict, str, int]:
    """Its report, what it printed, and how many requests it sent."""
    examples = max(1, -(-(CASES - COVERED) // (len(OPERATIONS) - NOT_ASKED - SOON_ASKED)))
    report, sent = folder / "report.json", folder / "sent"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG),
        *(
            "run",
            f"{service.client.base_url}/openapi.json",
            "--header",
            f"Authorization: Bearer {ADMINISTRATOR}",
        ),
        *("--max-examples", str(examples), "--seed", SEED, "--no-color"),
        *("--report", "json", "--report-json-path", report),
    ]
    root = CONFIG.parents[2]
    env = os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONWARNINGS": "ignore",
        SENT_FILE: str(sent),
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    said = f"{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
    assert report.is_file(), said
    return json.loads(report.read_text()), said, int(sent.read_text())
