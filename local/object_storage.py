"""S3 and SQS on this machine: moto's server as a child process, and the bucket and queues inside it.

`python -m local.object_storage PORT` serves; `local.stack` starts that and calls `create_batch_storage`.
"""

import json
import logging
import socket
import sys
from contextlib import suppress
from typing import Any

from local import LocalError

HOST = "127.0.0.1"
REGION = "us-east-1"
# Nobody checks them here; but boto3 and the AWS command line do not send a request without.
ACCESS_KEY_ID = SECRET_ACCESS_KEY = "local"  # noqa: S105
BUCKET = "rates-batches"
RECEIVES_MAX = 3
PREFIX = "batches/"


def create_batch_storage(endpoint_url: str, name: str = BUCKET) -> str:
    """The versioned bucket, its queues, and the event from one to the other. Returns the queue's URL."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # see `client`

    try:
        return create_bucket_and_queues(client("s3", endpoint_url), client("sqs", endpoint_url), name)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(f"the bucket and its queues could not be made on {endpoint_url}: {error}") from error


def create_bucket_and_queues(s3: Any, sqs: Any, name: str) -> str:
    """Bucket and queue have the same `name`, the queue of dead letters one that begins with it."""
    dead_arn = create_queue(sqs, f"{name}-dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": RECEIVES_MAX})
    queue_arn = create_queue(sqs, name, {"RedrivePolicy": redrive})
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    event = {
        "QueueArn": queue_arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": PREFIX}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"QueueConfigurations": [event]}
    )
    return sqs.get_queue_url(QueueName=name)["QueueUrl"]


def create_queue(sqs: Any, name: str, attributes: dict[str, str] | None = None) -> str:
    """Returns the queue's ARN."""
    url = sqs.create_queue(QueueName=name, Attributes=attributes or {})["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def client(service: str, endpoint_url: str) -> Any:
    import boto3  # noqa: PLC0415  # a third of a second, which is spent while moto itself starts

    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


def answers(port: int) -> bool:
    """Whether something listens on the port."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def serve(port: int) -> None:
    """Serves until told to stop, silent but for errors: requests and start-up notices are logged as INFO."""
    # Only the child process needs it, and it takes a second.
    from moto import backends  # noqa: PLC0415
    from moto.server import main  # noqa: PLC0415

    # moto lists its own folders for each request, a fifth of what one costs.
    folders = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: folders  # ty: ignore[invalid-assignment]
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    main(["--host", HOST, "--port", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
