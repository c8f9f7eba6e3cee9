"""What a test's own process logs, line by line."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO
from typing import Any
from uuid import UUID

import msgspec

from telemetry.log import configure, leave_to_logging

BATCH = UUID("6f1b0d5e-3c57-4a3e-9a53-5d1f0c2f7a41")


class Lines(StringIO):
    """Each an object."""

    def all(self) -> list[dict[str, Any]]:
        text = self.getvalue()
        assert text == "" or text.endswith("\n")
        return [msgspec.json.decode(line) for line in text.splitlines()]

    def only(self) -> dict[str, Any]:
        (line,) = self.all()
        return line


@contextmanager
def logged(service: str) -> Generator[Lines]:
    """All that is logged in the block; afterwards it is logged as before."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    lines = Lines()
    configure(service, lines)
    try:
        yield lines
    finally:
        root.handlers, root.level = handlers, level
        leave_to_logging()
