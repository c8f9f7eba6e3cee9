"""The whole system on one machine: PostgreSQL, S3 and SQS, the API and a loader as child processes.

`python -m local up` runs it (`make up`); tests use `local.postgres` alone.
"""


class LocalError(Exception):
    """What keeps the local stack from running, said in one line for a person."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
