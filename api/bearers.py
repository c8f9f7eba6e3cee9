"""Whose request it is: the bearer of a token, asked for before anything else is looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass

import falcon

from access.tokens import ADMIN, READ, Token, Tokens
from api.errors import Refusal
from api.known import KnownBatch
from api.ledger import SentBefore

# RFC 6750, section 2.1; the scheme's case does not matter.
BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
CHALLENGE = "WWW-Authenticate"


@dataclass(frozen=True)
class Bearers:
    """`private_batches`: whether reading batches takes a token."""

    tokens: Tokens
    private_batches: bool = False

    def admit(self, request: falcon.Request, scope: str) -> Token:
        """Raises 401 without a token that is known, 403 for one without the scope, and SettingUnavailable."""
        sent = request.get_header("Authorization")
        match = BEARER.fullmatch(sent or "")
        if match is None:
            found = "no bearer token" if sent else "missing"
            reason = f"Authorization is {found}; send `Authorization: Bearer TOKEN`."
            raise unauthorized(reason, "Bearer")
        token = self.tokens.find(match[1])
        if token is None:
            raise unauthorized("The token is not known here.", 'Bearer error="invalid_token"')
        if not token.may(scope):
            reason = f"The token {token.name!r} may {' and '.join(sorted(token.scopes))}, not {scope}."
            raise forbidden(reason, scope)
        return token

    def admit_reader(self, request: falcon.Request, response: falcon.Response) -> None:
        """Where batches are private, as `admit` for the scope `read`; else everyone is admitted. No cache may
        keep the answer."""
        response.cache_control = ["no-store"]
        if self.private_batches:
            self.admit(request, READ)

    def find(self, request: falcon.Request) -> Token | None:
        """Whose it is, where a token was sent that is known. Raises SettingUnavailable."""
        match = BEARER.fullmatch(request.get_header("Authorization") or "")
        return None if match is None else self.tokens.find(match[1])


def refuse_others(bearer: Token, batch: KnownBatch | SentBefore) -> None:
    """Raises 403 where the bearer may not withdraw or replace the batch: it was not sent with this token, nor
    is it `admin`."""
    # What was loaded by command line or put into the bucket by hand came with no request, whatever its
    # sender is called.
    over_http = batch.request_id is not None
    if bearer.may(ADMIN) or (over_http and batch.created_by == bearer.name):
        return
    how = f"sent by {batch.created_by!r}" if over_http else f"loaded by {batch.created_by!r}, not over HTTP"
    needed = f"the token {bearer.name!r} may take back only what it sent, unless it has the scope {ADMIN}"
    batch_id = batch.batch if isinstance(batch, KnownBatch) else batch.id
    raise forbidden(f"Batch {batch_id} was {how}; {needed}.", ADMIN)


def forbidden(description: str, scope: str) -> Refusal:
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    return Refusal(403, "forbidden", description, headers={CHALLENGE: challenge})


def unauthorized(description: str, challenge: str) -> Refusal:
    return Refusal(401, "unauthorized", description, headers={CHALLENGE: challenge})
