"""The queue: what is taken is nobody else's while it is kept, and comes back unless it is done."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from local.object_storage import create_queue
from local.postgres import free_port
from storage import clients
from storage.errors import StorageMisconfigured, StorageUnavailable
from storage.messages import DoChunk, PlanBatch, Work, decode
from storage.work_queue import Received, WorkQueue
from tests.batch_storage import BatchStorage
from tests.waiting import wait_until

BATCH = uuid4()


@pytest.fixture
def queue(storage: BatchStorage) -> WorkQueue:
    """Of the test's own, without the test that S3 sends when it is set up."""
    for message in receive(storage.queue):
        storage.queue.done(message)
    return storage.queue


def receive(queue: WorkQueue, *, visibility_s: int = 30) -> list[Received]:
    return queue.receive(10, wait_s=0, visibility_s=visibility_s)


def works(messages: list[Received]) -> list[Work]:
    return [work for message in messages for work in decode(message.body)]


def test_many_messages_are_sent_ten_at_a_time_and_all_arrive(queue: WorkQueue) -> None:
    sent = [DoChunk(BATCH, number) for number in range(25)]
    queue.send(sent)
    received: list[Work] = []
    while messages := receive(queue):
        received += works(messages)
    assert sorted(received, key=str) == sorted(sent, key=str)


def test_no_more_is_taken_than_was_asked_for(queue: WorkQueue) -> None:
    queue.send(DoChunk(BATCH, number) for number in range(3))
    assert len(queue.receive(2, wait_s=0, visibility_s=30)) == 2
    assert len(receive(queue)) == 1


def test_of_more_than_sqs_gives_at_once_ten_are_taken(queue: WorkQueue) -> None:
    """As many slots as a worker may have: SQS refuses to be asked for more than ten."""
    queue.send(DoChunk(BATCH, number) for number in range(15))
    assert [len(queue.receive(64, wait_s=0, visibility_s=30)) for _ in range(2)] == [10, 5]


def test_what_is_taken_comes_back_counted_unless_it_is_done(queue: WorkQueue) -> None:
    queue.send([PlanBatch(BATCH)])
    (first,) = receive(queue)
    assert receive(queue) == []
    queue.keep(first, 0)
    (again,) = receive(queue)
    assert (first.receives, again.receives, again.message_id) == (1, 2, first.message_id)
    queue.done(again)
    queue.done(again)  # twice does no harm
    assert receive(queue) == []


def test_what_is_kept_stays_away_for_longer(queue: WorkQueue) -> None:
    queue.send([PlanBatch(BATCH)])
    (message,) = receive(queue, visibility_s=1)
    queue.keep(message, 30)
    time.sleep(1.1)
    assert receive(queue) == []


def test_what_is_given_back_is_there_at_once_and_counts_as_never_handed_out(
    storage: BatchStorage, queue: WorkQueue
) -> None:
    queue.send([PlanBatch(BATCH)])
    for _ in range(5):  # more often than the queue hands anything out
        (message,) = receive(queue)
        assert (message.receives, works([message])) == (1, [PlanBatch(BATCH)])
        queue.give_back(message)
    assert storage.dead_letters() == []


def test_what_nobody_does_ends_with_the_dead_letters(storage: BatchStorage, queue: WorkQueue) -> None:
    queue.send([PlanBatch(BATCH)])
    for _ in range(3):
        (message,) = receive(queue)
        queue.keep(message, 0)
    assert receive(queue) == []
    wait_until(lambda: [decode(body) for body in storage.dead_letters()] == [[PlanBatch(BATCH)]])


def test_a_dead_letter_that_is_sent_says_why_and_can_go_back(storage: BatchStorage, queue: WorkQueue) -> None:
    queue.send_dead_letter(DoChunk(BATCH, 3), "a port is missing")
    found = storage.sqs().receive_message(
        QueueUrl=queue.dead_letters.url, MessageAttributeNames=["All"], VisibilityTimeout=0
    )["Messages"]
    assert found[0]["MessageAttributes"]["reason"]["StringValue"] == "a port is missing"

    (letter,) = receive(queue.dead_letters)
    queue.dead_letters.move(letter, queue)

    assert works(receive(queue)) == [DoChunk(BATCH, 3)]
    assert storage.dead_letters() == []


def test_a_reason_is_told_in_the_letters_that_sqs_takes(storage: BatchStorage, queue: WorkQueue) -> None:
    queue.send_dead_letter(DoChunk(BATCH, 3), "no port \x00\x1b\ud800\ufffe, but\té 🚢")
    (found,) = storage.sqs().receive_message(
        QueueUrl=queue.dead_letters.url, MessageAttributeNames=["All"], VisibilityTimeout=0
    )["Messages"]
    assert found["MessageAttributes"]["reason"]["StringValue"] == "no port ����, but\té 🚢"


def test_a_queue_without_one_for_dead_letters_is_none_of_ours(
    storage: BatchStorage, queue: WorkQueue
) -> None:
    create_queue(storage.sqs(), f"{storage.name}-lone")
    lone = WorkQueue(storage.sqs().get_queue_url(QueueName=f"{storage.name}-lone")["QueueUrl"])
    with pytest.raises(StorageMisconfigured, match="has no queue of dead letters"):
        _ = lone.dead_letters


def test_a_queue_that_is_not_there_is_a_setting_that_is_wrong(storage: BatchStorage) -> None:
    with pytest.raises(StorageMisconfigured, match="nowhere"):
        receive(WorkQueue(f"{storage.endpoint_url}/123456789012/nowhere"))


def test_a_queue_that_does_not_answer_is_away(queue: WorkQueue) -> None:

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        clients.client.cache_clear()
        with pytest.raises(StorageUnavailable):
            receive(queue)
    clients.client.cache_clear()
