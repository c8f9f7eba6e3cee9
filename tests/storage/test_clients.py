"""What S3 and SQS answer where they refuse, and whether the same call may succeed later."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from storage.clients import translated_errors
from storage.errors import StorageError, StorageMisconfigured, StorageUnavailable


def refused(status: int, code: str) -> StorageError:
    """What becomes of such an answer."""
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(StorageError) as raised, translated_errors("queue q"):
        raise ClientError(answer, "Anything")
    return raised.value


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (400, "RequestTimeout"),
        (403, "RequestTimeTooSkewed"),
        (403, "RequestThrottled"),
        (400, "ThrottlingException"),
        (400, "KmsThrottled"),
        (400, "KMS.ThrottlingException"),
    ],
)
def test_what_passes_by_itself_is_tried_again_whatever_its_status(status: int, code: str) -> None:
    error = refused(status, code)
    assert type(error) is StorageUnavailable
    assert str(error) == f"queue q: no ({code})"


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "KmsAccessDenied", "KMS.DisabledException"])
def test_what_does_not_pass_is_a_matter_of_configuration(code: str) -> None:
    assert type(refused(400, code)) is StorageMisconfigured
