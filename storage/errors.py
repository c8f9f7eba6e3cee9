"""What can go wrong between the project and its bucket and queue, in the project's own words."""


class StorageError(Exception):
    """Base of this package's errors; the message is meant for a person."""


class StorageMisconfigured(StorageError):
    """The environment does not name the bucket and the queue, or they refuse what is asked of them."""


class StorageUnavailable(StorageError):
    """They could not be reached, or let nobody in just now; the same call may succeed later."""


class ObjectMissing(StorageError):
    """There is no such object, or no longer."""


class ObjectExists(StorageError):
    """The object was to be made, and is there already."""


class ObjectChanged(StorageError):
    """The object is another by now than the one that was asked for."""


class UnknownMessage(StorageError):
    """A message that no part of the project sends."""
