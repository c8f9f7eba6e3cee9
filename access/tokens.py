"""Bearer tokens: known by name, scopes and SHA-256, never by themselves.

RATES_API_TOKENS holds entries `name:scopes:sha256` with space between, scopes as `read` or `read,write`, or
says where they are (`secret_setting`). A scope includes those before it: `read` reads batches, `write` sends
them and withdraws what its bearer sent, `admin` withdraws any.

`python -m access.tokens NAME [SCOPES]` makes a new one; where RATES_CALLBACK_SECRET is set, it also shows the
secret by which its bearer checks what `signatures` signs. It is random, 256 bits: a plain hash is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from access import signatures
from access.errors import AccessError, SettingMisconfigured
from access.secret_setting import SecretSetting

READ, WRITE, ADMIN = "read", "write", "admin"
# Each includes those before it.
SCOPES = (READ, WRITE, ADMIN)
TOKEN_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,100}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """What is known of a bearer; `digest` is the SHA-256 of the token, 32 bytes."""

    name: str
    scopes: frozenset[str]
    digest: bytes = field(repr=False)

    def may(self, scope: str) -> bool:
        return not self.scopes.isdisjoint(SCOPES[SCOPES.index(scope) :])


class Tokens(SecretSetting[Token]):
    """All tokens that are good."""

    variable = "RATES_API_TOKENS"

    @classmethod
    def parse(cls, text: str) -> list[Token]:
        return parse_tokens(text)

    def find(self, token: str) -> Token | None:
        """Whose it is; takes as long whichever it is, and for none. Raises SettingUnavailable."""
        digest = digest_of(token)
        found = None
        for known in self.known():
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found


def parse_tokens(text: str) -> list[Token]:
    """Raises SettingMisconfigured naming every entry that is wrong, by its place and never by its content."""
    tokens, faults = [], []
    for number, entry in enumerate(text.split(), 1):
        name, _, rest = entry.partition(":")
        scopes, _, digest = rest.partition(":")
        if not (NAME.fullmatch(name) and known_scopes(scopes.split(",")) and DIGEST.fullmatch(digest)):
            faults.append(f"entry {number} is not name:scopes:sha256, scopes being of {', '.join(SCOPES)}")
        elif any(name == earlier.name for earlier in tokens):
            faults.append(f"entry {number} has the name of an earlier one, {name!r}")
        elif any(bytes.fromhex(digest) == earlier.digest for earlier in tokens):
            faults.append(f"entry {number}, {name!r}, has the token of an earlier one")
        else:
            tokens.append(Token(name, frozenset(scopes.split(",")), bytes.fromhex(digest)))
    if faults:
        raise SettingMisconfigured(f"RATES_API_TOKENS: {'; '.join(faults)}")
    return tokens


def known_scopes(scopes: Iterable[str]) -> bool:
    return all(scope in SCOPES for scope in scopes)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def entry_of(name: str, scopes: Iterable[str], token: str) -> str:
    """What RATES_API_TOKENS has of a token."""
    return f"{name}:{','.join(scopes)}:{digest_of(token).hex()}"


def main(arguments: list[str]) -> None:
    name, scopes = [*arguments, f"{READ},{WRITE}"][:2] if arguments else ("", "")
    if len(arguments) > 2 or not NAME.fullmatch(name) or not known_scopes(scopes.split(",")):
        sys.exit(
            f"usage: python -m access.tokens NAME [SCOPES]; scopes are {', '.join(SCOPES)}, with commas"
            f" between, {READ},{WRITE} where none is given; each includes those before it"
        )
    try:
        callbacks = signatures.secret_for(name, os.environ)
    except AccessError as error:
        sys.exit(str(error))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    sys.stdout.write(f"for its bearer, and shown only now: {token}\n")
    if callbacks is None:
        sys.stderr.write(f"what its bearer checks callbacks by is shown where {signatures.VARIABLE} is set\n")
    else:
        sys.stdout.write(signatures.for_its_bearer(callbacks))
    sys.stdout.write(f"for RATES_API_TOKENS: {entry_of(name, scopes.split(','), token)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
