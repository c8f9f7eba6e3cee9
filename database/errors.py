"""What can go wrong between the project and its database, in the project's own words."""


class DatabaseError(Exception):
    """Base of this package's errors; the message is meant for a person."""


class ConfigurationError(DatabaseError):
    """The environment does not say, or contradicts itself on, how to reach the database, or names a role
    that may not do what is asked."""


class DatabaseUnavailable(DatabaseError):
    """The server could not be reached, or went away; the same call may succeed later."""


class SchemaMissing(DatabaseError):
    """The server answers, but the migrations have not been run there."""


class StatementTooSlow(DatabaseUnavailable):
    """The server gave a statement up after its `statement_timeout`; it would take as long again."""
