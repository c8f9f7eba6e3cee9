"""Python does not look for garbage while tests are collected, nor later among what was loaded by then.

Almost all of that stays to the end, and looking through it took a quarter of the time of collecting.
"""

from __future__ import annotations

import gc

gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    # After a freeze nothing counts as old, and all of the rest would be looked through again and again.
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
