"""boto3's clients for S3 and SQS. Where and as whom is boto3's business: its variables, a task's role."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

from storage.errors import (
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StorageError,
    StorageMisconfigured,
    StorageUnavailable,
)

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
SERVER_ERROR = 500
# What passes by itself, whatever its status.
TRY_AGAIN = {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "ThrottlingException", "RequestThrottled"}
KINDS: dict[str, type[StorageError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "404": ObjectMissing,
    "PreconditionFailed": ObjectChanged,
    "ConditionalRequestConflict": ObjectExists,
}


@cache
def client(service: str) -> Any:
    """The `s3` or `sqs` of this process; threads may share it."""
    import boto3  # noqa: PLC0415  # 0.3 s and 30 MB that only storage needs
    from botocore.config import Config  # noqa: PLC0415  # likewise

    config = Config(
        retries={"mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=32,
        s3={"addressing_style": "auto"},
    )
    return boto3.client(service, config=config)


@contextmanager
def translated_errors(what: str) -> Generator[None]:
    """The boundary where botocore's errors become this package's; `what` names the object or queue."""
    from botocore.exceptions import (  # noqa: PLC0415  # see `client`
        BotoCoreError,
        ClientError,
        ParamValidationError,
    )

    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"]["Code"]
        message = error.response["Error"].get("Message") or "refused"
        again = status >= SERVER_ERROR or code in TRY_AGAIN
        kind = KINDS.get(code) or (StorageUnavailable if again else StorageMisconfigured)
        raise kind(f"{what}: {message} ({code})") from error
    except (ParamValidationError, ValueError) as error:
        raise StorageMisconfigured(f"{what}: {' '.join(str(error).split())}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"{what}: {error}") from error
