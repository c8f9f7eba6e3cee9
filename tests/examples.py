"""How much a test tries: a part by default, all of it in a nightly run (RATES_NIGHTLY=1, `make nightly`)."""

from __future__ import annotations

import os

nightly = bool(os.environ.get("RATES_NIGHTLY"))
SHARE = 8  # of the examples that a nightly run tries, by default one in so many
EXAMPLES_MIN = 10


def examples(count: int) -> int:
    """How many examples a property is tried with; `count` is the full number."""
    return count if nightly else min(count, max(EXAMPLES_MIN, count // SHARE))
