"""boto3's clients for S3 and SQS. Where and as whom is boto3's business: its variables, a task's role."""

from __future__ import annotations

import os
import threading
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
LOCK = threading.Lock()
# What passes by itself, whatever its status.
TRY_AGAIN = {
    "KMS.ThrottlingException",
    "KmsThrottled",
    "RequestThrottled",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "SlowDown",
    "ThrottlingException",
}
KINDS: dict[str, type[StorageError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "404": ObjectMissing,
    "NoSuchUpload": ObjectMissing,
    "PreconditionFailed": ObjectChanged,
    "ConditionalRequestConflict": ObjectExists,
}


@cache
def client(service: str) -> Any:
    """The `s3` or `sqs` of this process; threads may share it, and make it at once."""
    import boto3  # noqa: PLC0415  # 0.3 s and 30 MB that only storage needs
    from botocore.config import Config  # noqa: PLC0415  # likewise

    # An address that is signed by default may be signed as KMS refuses, and name a host that redirects, which
    # no signature survives. An emulation has no host a bucket.
    elsewhere = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    config = Config(
        retries={"mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=32,
        signature_version="s3v4" if service == "s3" else None,
        s3={
            "addressing_style": "path" if elsewhere else "virtual",
            "us_east_1_regional_endpoint": "regional",
        },
    )
    with LOCK:
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
