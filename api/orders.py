"""What a request wants done with the batch that it brings, by its parameters and its Idempotency-Key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import falcon

from access.callback_urls import LENGTH_MAX, fault_of
from access.tokens import ADMIN, Token
from api.errors import BadParameter, Refusal
from api.intake import Content
from api.parameters import NOT_UTF8, Parameter, boolean_parameter, by_name, printable
from storage.layout import batch_id_of, upload_key
from storage.manifest import DRY_RUN, MADE_HERE, UNNAMED, Manifest, is_made_here

KEY_HEADER = "Idempotency-Key"
KEY_CHARS_MAX = NAME_CHARS_MAX = 200
# RFC 3339. Its plus is a space where nobody encoded it.
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:([Zz])|([+ -]\d\d:\d\d))", re.ASCII
)


@dataclass(frozen=True)
class Order:
    """`key` is what the batch goes by, None where that is left to its content; `source` is what the sender
    calls the file."""

    key: str | None
    source: str
    dry_run: bool
    deadline: datetime | None
    callback_url: str | None
    adds: bool
    replaces: str | None

    def manifest(
        self, key: str, request: falcon.Request, bearer: Token, content: Content | None = None
    ) -> Manifest:
        """By this key; without content that is there, of what is going to be put at the batch's address."""
        batch = batch_id_of(key)
        return Manifest(
            batch=batch,
            key=key,
            content=content.key if content else upload_key(batch),
            source=self.source,
            accepted_by=bearer.name,
            accepted_at=datetime.now(UTC),
            sha256=content.sha256 if content else None,
            size=content.size if content else None,
            dry_run=self.dry_run,
            deadline=self.deadline,
            callback_url=self.callback_url,
            request_id=request.context.id,
            adds=self.adds,
            replaces=self.replaces,
            by_admin=bearer.may(ADMIN),
        )


def read_order(request: falcon.Request, given: Mapping[str, Any]) -> Order:
    """`given` are the values of PARAMETERS. Raises Refusal where the key is wrong."""
    key, dry_run = read_key(request), given["dry_run"]
    return Order(
        # Checked and loaded are two things that may be done with one key, and with the same content often.
        key=f"{DRY_RUN}{key or uuid4()}" if dry_run else key,
        source=given["file"],
        dry_run=dry_run,
        deadline=given["deadline"],
        callback_url=given["callback_url"],
        adds=given["add"],
        replaces=given["replaces"],
    )


def read_key(request: falcon.Request) -> str | None:
    sent = request.get_header(KEY_HEADER)
    if sent is None:
        return None
    try:
        key = sent.encode("latin-1").decode()  # as WSGI has it, and as it was sent
    except UnicodeDecodeError:
        key = ""
    if not (key.strip() and len(key) <= KEY_CHARS_MAX and key.isprintable()):
        reason = f"{KEY_HEADER} is 1 to {KEY_CHARS_MAX} printable characters in UTF-8."
        raise Refusal(400, "invalid_key", reason)
    if is_made_here(key):
        reason = f"{KEY_HEADER} begins with one of {', '.join(MADE_HERE)}, which are kept for keys made here."
        raise Refusal(400, "invalid_key", reason)
    return key


def read_name(name: str, text: str) -> str:
    if not text or len(text) > NAME_CHARS_MAX or not text.isprintable() or NOT_UTF8 in text:
        reason = f"{name} is {text[:NAME_CHARS_MAX]!r}; expected 1 to {NAME_CHARS_MAX} printable characters."
        raise BadParameter(reason, code="invalid_file")
    return text


def read_replaces(name: str, text: str) -> str:
    if not text or len(text) > KEY_CHARS_MAX or not text.isprintable() or NOT_UTF8 in text:
        reason = f"{name} is {text[:KEY_CHARS_MAX]!r}; expected the id or key of a batch."
        raise BadParameter(reason, code="invalid_replaces")
    return text


def read_deadline(name: str, text: str) -> datetime:
    match = TIME.fullmatch(text)
    try:
        if match:
            offset = "+00:00" if match[3] else match[4].replace(" ", "+")
            deadline = datetime.fromisoformat(f"{match[1]}T{match[2]}{offset}").astimezone(UTC)
            if deadline > datetime.now(UTC):
                return deadline
            raise BadParameter(f"{name} is {text!r}, which has passed.", code="invalid_deadline")
    except (ValueError, OverflowError):  # the 30th of February, or beyond the year 9999
        pass
    reason = f"{name} is {text[:100]!r}; expected a time with its zone, as 2021-03-01T12:00:00Z."
    raise BadParameter(reason, code="invalid_deadline")


def read_callback_url(name: str, text: str) -> str:
    fault = fault_of(text)
    if fault is not None:
        raise BadParameter(f"{name} cannot be called: {fault}.", code="invalid_callback_url")
    return text


PARAMETERS = by_name(
    boolean_parameter("dry_run", "Whether to check all of it and change nothing.", default=False),
    Parameter(
        "deadline",
        "When it is to be published at the latest; what will miss it is told early.",
        {"type": "string", "format": "date-time", "examples": ["2030-03-01T12:00:00Z"]},
        read_deadline,
        codes=("invalid_deadline",),
    ),
    Parameter(
        "callback_url",
        "Who is told of the end, by a POST that is signed as Standard Webhooks has it.",
        {
            "type": "string",
            "format": "uri",
            "maxLength": LENGTH_MAX,
            "examples": ["https://example.com/ended"],
        },
        read_callback_url,
        codes=("invalid_callback_url",),
    ),
    Parameter(
        "file",
        "What the sender calls the file; faults are told by it.",
        printable(NAME_CHARS_MAX) | {"default": UNNAMED, "examples": ["march.csv"]},
        read_name,
        default=UNNAMED,
        codes=("invalid_file",),
    ),
    Parameter(
        "replaces",
        "The id or key of the published batch whose place it takes: one goes out as the other comes in.",
        printable(KEY_CHARS_MAX) | {"examples": ["march"]},
        read_replaces,
        codes=("invalid_replaces",),
    ),
    boolean_parameter("add", "Of a dump: whether to count it beside another one.", default=False),
)
