"""What can go wrong with secret settings, and with who is to be told."""


class AccessError(Exception):
    """Base of this package's errors; the message is meant for a person, and never has a secret in it."""


class SettingMisconfigured(AccessError):
    """A secret setting is not what it has to be; the message names it, and each part that is wrong."""


class SettingUnavailable(AccessError):
    """The file or the secret that holds a setting cannot be read."""


class CallbackUrlRefused(AccessError):
    """Nobody is told at such an address; the message says why."""
