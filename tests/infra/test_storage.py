"""Batch storage: private, encrypted, versioned, and a queue that only its bucket tells of new objects."""

import json
from typing import Any

import pytest

from infra.storage import CHUNKS, PREFIX
from local import object_storage
from stacks.mock_engine import PLACE, SHAPES, STACKS, Run, declared, run_stack
from storage import layout

QUEUE = "sqs/queue:Queue"


def bucket_id(run: Run) -> str:
    return f"rates-{run.stack}-batches-id"


def key_arn(run: Run) -> str:
    return f"arn:aws:kms:{PLACE}:rates-{run.stack}-batches"


def policy(run: Run, kind: str, name: str) -> list[dict[str, Any]]:
    return json.loads(run.one(kind, name).inputs["policy"])["Statement"]


@pytest.mark.parametrize("shape", SHAPES)
def test_objects_and_messages_are_encrypted_with_a_key_of_their_own_that_rotates(shape: str) -> None:
    run = declared(shape)
    (rule,) = run.one("BucketServerSideEncryptionConfiguration", "-batches").inputs["rules"]

    assert run.one("kms/key:Key", "-batches").inputs["enableKeyRotation"] is True
    assert rule == {
        "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key_arn(run)},
        "bucketKeyEnabled": True,
    }
    assert {queue.inputs["kmsMasterKeyId"] for queue in run.all(QUEUE)} == {key_arn(run)}


@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_outside_reaches_the_bucket_and_nobody_without_tls(shape: str) -> None:
    run = declared(shape)
    arn = f"arn:aws:s3:{PLACE}:rates-{run.stack}-batches"

    assert run.one("BucketPublicAccessBlock", "-batches").inputs == {
        "bucket": bucket_id(run),
        "blockPublicAcls": True,
        "blockPublicPolicy": True,
        "ignorePublicAcls": True,
        "restrictPublicBuckets": True,
    }
    assert run.one("BucketOwnershipControls", "-batches").inputs["rule"] == {
        "objectOwnership": "BucketOwnerEnforced"
    }
    (statement,) = policy(run, "BucketPolicy", "-batches")
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == [arn, f"{arn}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(run.all("s3/bucket:Bucket")) == len(run.all("BucketPublicAccessBlock"))


@pytest.mark.parametrize("shape", SHAPES)
def test_only_this_bucket_may_send_and_only_over_tls(shape: str) -> None:
    run = declared(shape)
    place = f"arn:aws:{{}}:{PLACE}:rates-{run.stack}-batches"
    sends, denies = policy(run, "QueuePolicy", "-batches")

    assert sends == {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": ["sqs:SendMessage"],
        "Resource": place.format("sqs"),
        "Condition": {
            "ArnEquals": {"aws:SourceArn": place.format("s3")},
            "StringEquals": {"aws:SourceAccount": "123456789012"},
        },
    }
    (denies_dead,) = policy(run, "QueuePolicy", "-batches-dead")
    for statement, resource in ((denies, place.format("sqs")), (denies_dead, place.format("sqs") + "-dead")):
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"] == [resource]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_key_lets_the_bucket_write_into_the_queue_and_otherwise_leaves_it_to_the_account(
    shape: str,
) -> None:
    """Without, S3 refuses the notification. Without the account, nobody could ever change the policy."""
    run = declared(shape)
    account, bucket = policy(run, "KeyPolicy", "-batches")

    assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    assert (bucket["Principal"], bucket["Action"]) == (
        {"Service": "s3.amazonaws.com"},
        ["kms:Decrypt", "kms:GenerateDataKey"],
    )
    assert bucket["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:{PLACE}:rates-{run.stack}-batches"},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_each_new_object_under_the_prefix_is_told_once_the_queue_may_hear_of_it(shape: str) -> None:
    run = declared(shape)
    notification = run.one("BucketNotification")

    assert notification.inputs["queues"] == [
        {
            "queueArn": f"arn:aws:sqs:{PLACE}:rates-{run.stack}-batches",
            "events": ["s3:ObjectCreated:*"],
            "filterPrefix": "batches/",
        }
    ]
    needed = {run.one("QueuePolicy", "-batches").urn, run.one("KeyPolicy", "-batches").urn}
    assert needed <= set(notification.dependencies)


def test_prefixes_and_receives_are_those_of_the_programs_and_of_a_laptop() -> None:
    redrive = json.loads(declared("dev").one("RedrivePolicy").inputs["redrivePolicy"])

    assert object_storage.PREFIX == PREFIX
    assert (PREFIX, CHUNKS) == (layout.BATCHES, layout.CHUNKS)
    assert redrive["maxReceiveCount"] == object_storage.RECEIVES_MAX


@pytest.mark.parametrize("shape", SHAPES)
def test_what_fails_three_times_waits_two_weeks_among_the_dead_letters_of_this_queue_alone(
    shape: str,
) -> None:
    run = declared(shape)
    queue, dead = run.one(QUEUE, "-batches"), run.one(QUEUE, "-batches-dead")
    arn = f"arn:aws:sqs:{PLACE}:{queue.name}"

    redrive = run.one("RedrivePolicy").inputs
    assert redrive["queueUrl"] == run.exports["batchQueueUrl"]
    assert json.loads(redrive["redrivePolicy"]) == {
        "deadLetterTargetArn": f"{arn}-dead",
        "maxReceiveCount": 3,
    }
    allowed = run.one("RedriveAllowPolicy").inputs
    assert allowed["queueUrl"] == run.exports["batchDeadLetterQueueUrl"]
    assert json.loads(allowed["redriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [arn],
    }
    assert dead.inputs["messageRetentionSeconds"] == 14 * 24 * 3600
    # SQS counts the age of a dead letter from when it was first sent.
    assert queue.inputs["messageRetentionSeconds"] == 4 * 24 * 3600
    assert queue.inputs["receiveWaitTimeSeconds"] == 20


def test_versions_are_kept_and_go_when_the_stack_says_so() -> None:
    run = run_stack("dev", changes={"batchDays": "5", "batchVersionDays": "3"})
    unfinished, old, chunks = run.one("BucketLifecycleConfiguration").inputs["rules"]

    assert run.one("BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert unfinished["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 1}
    assert old["filter"] == {"prefix": "batches/"}
    assert (old["expiration"], old["noncurrentVersionExpiration"]) == ({"days": 5}, {"noncurrentDays": 3})
    assert chunks["filter"] == {"prefix": "chunks/"}
    assert chunks["expiration"] == {"days": 5}
    assert chunks["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    assert {each["status"] for each in (unfinished, old, chunks)} == {"Enabled"}
    assert run.one("BucketVersioning").urn in run.one("BucketLifecycleConfiguration").dependencies


@pytest.mark.parametrize("stack", STACKS)
def test_objects_and_their_key_outlive_a_mistake_in_production_only(stack: str) -> None:
    run = declared(stack)
    production = stack == "prod"
    bucket, key = run.one("s3/bucket:Bucket", "-batches"), run.one("kms/key:Key", "-batches")

    assert bucket.inputs["forceDestroy"] is not production
    for resource in (bucket, key):
        assert (resource.protect, resource.retain_on_delete) == (production, production)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_browser_may_upload_where_no_page_is_named(shape: str) -> None:
    assert declared(shape).all("s3/bucketCorsConfiguration:BucketCorsConfiguration") == []


def test_pages_that_are_named_may_put_objects_from_a_browser_and_read_nothing() -> None:
    origins = ["https://app.example.com", "https://other.example.com:8443"]
    run = run_stack("dev", changes={"uploadOrigins": "  ".join(origins)})
    cors = run.one("BucketCorsConfiguration").inputs

    assert cors["bucket"] == bucket_id(run)
    assert cors["corsRules"] == [
        {
            "allowedMethods": ["PUT"],
            "allowedOrigins": origins,
            "allowedHeaders": ["*"],
            "exposeHeaders": ["ETag"],
            "maxAgeSeconds": 3600,
        }
    ]
