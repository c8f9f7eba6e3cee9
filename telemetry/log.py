"""Logs as JSON, a line an event: what happened, when, at which level, and the ids that it belongs to.

`bound` puts ids (`batch`, `chunk`, `request_id`) on every line that its thread logs meanwhile, so that one
question finds a batch's life from the request that brought it to its publishing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import IO, Any

# structlog looks for rich, to print in colours what is never printed here: a sixth of the API's start, where
# it is installed. A program that uses it itself finds it all the same.
sys.modules.setdefault("rich", None)  # ty: ignore[no-matching-overload]
import structlog  # noqa: E402

if sys.modules["rich"] is None:
    del sys.modules["rich"]

PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
# structlog's own, so that there is one of that name, in a block or in a context.
UNBOUND = structlog.contextvars.bind_contextvars(request_id="")["request_id"]
REQUEST_ID = UNBOUND.var
REQUEST_ID.reset(UNBOUND)
# What says at INFO what only its own developers want to know.
NOISY = ("botocore", "boto3", "urllib3", "psycopg.pool")


def leave_to_logging() -> None:
    """As it is before `configure`: a command that only answers on stdout says what is wrong, on stderr."""
    structlog.configure(
        processors=[
            *PROCESSORS,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )


def configure(service: str, stream: IO[str] | None = None) -> None:
    """From here on all that this process logs, by `logging` too, is JSON on `stream` (stdout).

    `service` stands in every line, and `stack` as RATES_STACK has it. Levels below INFO are dropped.
    """
    whose = {"service": service, "stack": os.environ.get("RATES_STACK") or "local"}

    def add_whose(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {**whose, **event}

    structlog.configure(
        processors=[*PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = Handler(stream or sys.stdout)
    # Whose it is comes last, since loggers keep what comes before for good.
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=PROCESSORS,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                add_whose,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Handler(logging.StreamHandler):
    """A reader of the log who has left, as `head` does, changes nothing about what is done."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # its name in `logging`
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


def get_logger(name: str) -> Any:
    """`log.info("chunk written", rows=3)`: an event in words that stay the same, and what it is about."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def bound(**ids: object) -> Generator[None]:
    """Puts these on each line of this thread until the block ends; of one that is None, not even what a block
    around has put there."""
    with structlog.contextvars.bound_contextvars(**{k: ... if v is None else str(v) for k, v in ids.items()}):
        yield


def bind_request(request_id: str) -> None:
    """Puts it on each line of this context, the request's own (`api/worker.py`); costs a tenth of a block."""
    REQUEST_ID.set(request_id)


leave_to_logging()
