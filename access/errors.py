"""What can go wrong with tokens, and with who is to be told."""


class AccessError(Exception):
    """Base of this package's errors; the message is meant for a person, and never has a token in it."""


class TokensMisconfigured(AccessError):
    """RATES_API_TOKENS is not what it has to be; the message names each entry that is wrong."""


class TokensUnavailable(AccessError):
    """The file or the secret that holds them cannot be read."""


class CallbackUrlRefused(AccessError):
    """Nobody is told at such an address; the message says why."""
