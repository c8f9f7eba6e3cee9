"""Answers are kept in memory, and are new nevertheless: at once where the commit is heard of, within a second
where the channel is cut or the database is a replica; and each says truly which data it is of.

`make bench BENCH=delays` tells how soon that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from local.postgres import PostgresServer
from tests.api.service import ONLY_TOLD, Service
from tests.examples import nightly
from tests.postgres import Database
from tests.proxy import Proxy
from tests.system.changes import QUESTION, REGIONS_QUESTION, Changes
from tests.system.readers import Reader, Seen, reader_of_each_worker, reading
from tests.waiting import wait_until

APIS = 2
WORKERS = 2
ROUNDS = 10 if nightly else 3  # a publish and a withdraw each
# Of each worker, of a version, before the next one: enough to see that they come from memory.
ANSWERS_MIN = 20
STALE_MAX_S = 1.0
POOL, CHANNEL = "rates-api", "rates-api-newest"
# Each statement that an answer is made of reads the version, and so does each question for it alone.
READS = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'data_version'"


def answers(readers: list[Reader]) -> list[Seen]:
    return [one for reader in readers for one in list(reader.seen)]


def is_seen_by_all(readers: list[Reader], version: int) -> bool:
    return all(reader.seen and reader.seen[-1].version == version for reader in readers)


def is_asked_often(readers: list[Reader], version: int) -> bool:
    """All of them have got so many answers of this version, and no older one after that."""
    return all({one.version for one in reader.seen[-ANSWERS_MIN:]} == {version} for reader in readers)


def make_in_turn(readers: list[Reader], changes: Changes, steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()
        wait_until(lambda: is_asked_often(readers, changes.newest))


def test_every_worker_answers_anew_once_it_hears_of_a_publish_and_of_a_withdraw(database: Database) -> None:
    """None of them asks, for a minute."""
    changes = Changes(database)
    changes.publish()
    with ExitStack() as stack:
        environment = database.environment("rates_api") | {"WEB_CONCURRENCY": str(WORKERS)}
        services = [stack.enter_context(Service(environment, changed=ONLY_TOLD)) for _ in range(APIS)]
        readers = stack.enter_context(
            reading(reader_of_each_worker(services, WORKERS), QUESTION, REGIONS_QUESTION)
        )
        wait_until(lambda: is_asked_often(readers, changes.newest))
        before = len(answers(readers)), database.rows(READS)[0][0]
        make_in_turn(readers, changes, [changes.publish, changes.withdraw] * ROUNDS)
        asked = len(answers(readers)) - before[0]
    changes.check(answers(readers))
    # And from memory, else nothing would have been shown.
    assert database.rows(READS)[0][0] - before[1] < asked / 2


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def behind(proxy: Proxy, database: Database) -> dict[str, str]:
    return proxy.environment(database.environment("rates_api")) | {"WEB_CONCURRENCY": str(WORKERS)}


def test_a_channel_that_breaks_leaves_no_answer_old_and_commits_are_heard_of_again_once_it_is_back(
    database: Database, proxy: Proxy
) -> None:
    changes = Changes(database)
    changes.publish()
    with Service(behind(proxy, database), changed=ONLY_TOLD) as service:
        with reading(reader_of_each_worker([service], WORKERS), QUESTION) as readers:
            wait_until(lambda: is_seen_by_all(readers, changes.newest) and proxy.count(CHANNEL) == WORKERS)
            proxy.broken = CHANNEL
            proxy.cut(CHANNEL)
            wait_until(lambda: len(told_lost(service)) == WORKERS)
            make_in_turn(readers, changes, [changes.publish, changes.publish, changes.withdraw])
            proxy.broken = ""
            wait_until(lambda: is_from_memory(proxy, readers))
            make_in_turn(readers, changes, [changes.publish, changes.withdraw])
            assert is_from_memory(proxy, readers)
        changes.check(answers(readers))
        assert len(told_lost(service)) == WORKERS, "once each, not at each attempt"


def test_with_a_channel_that_fell_silent_no_answer_is_staler_than_a_second_or_called_newer_than_it_is(
    database: Database, proxy: Proxy
) -> None:
    changes = Changes(database)
    changes.publish()
    with Service(behind(proxy, database)) as service:
        with reading(reader_of_each_worker([service], WORKERS), QUESTION) as readers:
            wait_until(lambda: is_seen_by_all(readers, changes.newest) and proxy.count(CHANNEL) == WORKERS)
            proxy.silent = CHANNEL
            make_in_turn(readers, changes, [changes.publish, changes.publish, changes.withdraw])
            # Given up after a while without an answer.
            wait_until(lambda: len(told_lost(service)) == WORKERS)
            proxy.silent = ""
            # It mends by itself, though nobody ever says that it is cut.
            wait_until(lambda: is_from_memory(proxy, readers))
            make_in_turn(readers, changes, [changes.publish])
        changes.check(answers(readers))
        # On a slow machine too: what is believed was asked for while it was the newest, and the second
        # begins before it is asked for.
        assert not [one for one in answers(readers) if changes.staleness_s(one) > STALE_MAX_S]
        assert len(told_lost(service)) == WORKERS, "once each, not at each attempt"


def told_lost(service: Service) -> list[str]:
    """The log's lines that say so."""
    return [line for line in service.lines if "the newest version is not known" in line]


def is_from_memory(proxy: Proxy, readers: list[Reader]) -> bool:
    """Whether the next answers come without a question to the database: the newest version is known."""
    before, counts = proxy.asked[POOL], [len(reader.seen) for reader in readers]
    wait_until(
        lambda: all(
            len(reader.seen) - count >= 2 * ANSWERS_MIN for reader, count in zip(readers, counts, strict=True)
        )
    )
    return proxy.asked[POOL] - before < len(readers) * ANSWERS_MIN
