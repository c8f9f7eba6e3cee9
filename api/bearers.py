"""Whose request it is: the bearer of a token, asked for before anything of the body is read."""

from __future__ import annotations

import re
from dataclasses import dataclass

import falcon

from access.tokens import Token, Tokens
from api.errors import Refusal

# RFC 6750, section 2.1; the scheme's case does not matter.
BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
CHALLENGE = "WWW-Authenticate"


@dataclass(frozen=True)
class Bearers:
    tokens: Tokens

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
        if scope not in token.scopes:
            reason = f"The token {token.name!r} may {' and '.join(sorted(token.scopes))}, not {scope}."
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise Refusal(403, "forbidden", reason, headers={CHALLENGE: challenge})
        return token

    def find(self, request: falcon.Request) -> Token | None:
        """Whose it is, where a token was sent that is known. Raises SettingUnavailable."""
        match = BEARER.fullmatch(request.get_header("Authorization") or "")
        return None if match is None else self.tokens.find(match[1])


def unauthorized(description: str, challenge: str) -> Refusal:
    return Refusal(401, "unauthorized", description, headers={CHALLENGE: challenge})
