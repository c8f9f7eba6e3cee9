"""Answers are kept in memory, and are new nevertheless: at once where the commit is heard of, within a second
where the channel is cut or the database is a replica; and each says truly which data it is of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import psycopg
import pytest

from local.postgres import PostgresServer
from tests.api.service import Service
from tests.postgres import Database
from tests.proxy import Proxy
from tests.system.changes import QUESTION, REGIONS_QUESTION, Changes
from tests.system.readers import Reader, Seen, reader_of_each_worker, reading
from tests.waiting import wait_until

APIS = 2
WORKERS = 2
ROUNDS = 10  # a publish and a withdraw each
FRESH_S = 0.1
# Of which this share must be: a machine that does much else may not run a thread for longer than that.
SHARE = 0.9
STALE_MAX_S = 1.0
CHANNEL = "rates-api-newest"
BETWEEN_S = 0.15
# Each statement that an answer is made of reads the version, and so does each question for it alone.
READS = "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'data_version'"


class Listener(threading.Thread):
    """Hears of commits as the API does, and notes when: what this machine itself takes to tell."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.connection = database.connect("rates_api")
        self.connection.execute("LISTEN data_version")
        self.heard: list[float] = []

    def run(self) -> None:
        with suppress(psycopg.OperationalError):
            for _ in self.connection.notifies():
                self.heard.append(time.time())


def last_stale(reader: Reader, changes: Changes, version: int) -> float:
    """When the last answer older than this was asked for, by this worker."""
    return max(one.sent for one in reader.seen if one.version < version)


def answers(readers: list[Reader]) -> list[Seen]:
    return [one for reader in readers for one in list(reader.seen)]


def is_seen_by_all(readers: list[Reader], version: int) -> bool:
    return all(reader.seen and reader.seen[-1].version == version for reader in readers)


def test_every_worker_answers_anew_within_100_ms_of_a_publish_and_of_a_withdraw(
    database: Database,
) -> None:
    changes = Changes(database)
    changes.publish()
    listener = Listener(database)
    listener.start()
    with ExitStack() as stack:
        environment = database.environment("rates_api") | {"WEB_CONCURRENCY": str(WORKERS)}
        services = [stack.enter_context(Service(environment)) for _ in range(APIS)]
        readers = stack.enter_context(
            reading(reader_of_each_worker(services, WORKERS), QUESTION, REGIONS_QUESTION)
        )
        wait_until(lambda: is_seen_by_all(readers, changes.newest))
        before = len(answers(readers)), database.rows(READS)[0][0]
        first = changes.newest + 1
        for _ in range(ROUNDS):
            for change in (changes.publish, changes.withdraw):
                change()
                wait_until(lambda: is_seen_by_all(readers, changes.newest))
                time.sleep(BETWEEN_S)
        asked = len(answers(readers)) - before[0]
    listener.connection.close()

    changes.check(answers(readers))
    heard = dict(zip(range(first, changes.newest + 1), listener.heard, strict=True))
    # From when the test itself heard of it: that this is soon, is PostgreSQL's, and is looked at below.
    delays = sorted(
        last_stale(reader, changes, version) - heard[version] for version in heard for reader in readers
    )
    told = sorted(heard[version] - changes.versions[version].not_before for version in heard)
    figures = (
        f"{len(delays)} delays, the last stale answer was asked for {delays[len(delays) // 2] * 1000:.1f} ms"
        f" (median), {delays[int(len(delays) * SHARE)] * 1000:.1f} ms ({SHARE:.0%}),"
        f" {delays[-1] * 1000:.1f} ms (most) after the test heard of the commit, which took"
        f" {told[len(told) // 2] * 1000:.1f} ms (median), {told[-1] * 1000:.1f} ms (most)"
    )
    print(figures)  # noqa: T201  # shown by pytest -rP
    assert delays[int(len(delays) * SHARE)] < FRESH_S, figures
    assert delays[-1] < STALE_MAX_S, figures
    # And from memory, else nothing would have been shown.
    assert database.rows(READS)[0][0] - before[1] < asked / 4


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("cut", ["broken", "silent"])
def test_with_the_channel_cut_no_answer_is_staler_than_a_second_or_called_newer_than_it_is(
    database: Database, proxy: Proxy, cut: str
) -> None:
    changes = Changes(database)
    changes.publish()
    environment = proxy.environment(database.environment("rates_api")) | {"WEB_CONCURRENCY": str(WORKERS)}
    with Service(environment) as service:
        with reading(reader_of_each_worker([service], WORKERS), QUESTION) as readers:
            wait_until(lambda: is_seen_by_all(readers, changes.newest) and proxy.count(CHANNEL) == WORKERS)
            setattr(proxy, cut, CHANNEL)
            if cut == "broken":
                proxy.cut(CHANNEL)
            for change in (changes.publish, changes.publish, changes.withdraw):
                change()
                wait_until(lambda: is_seen_by_all(readers, changes.newest))
                time.sleep(0.4)
            wait_until(lambda: len(told_lost(service)) == WORKERS)
            setattr(proxy, cut, "")
            # It mends by itself, also where nobody ever says that it is cut.
            wait_until(lambda: proxy.count(CHANNEL) >= WORKERS)
            wait_until(lambda: is_quick(changes, readers), 10)
        changes.check(answers(readers))
        assert max(changes.staleness_s(one) for one in answers(readers)) < STALE_MAX_S
        assert len(told_lost(service)) == WORKERS, "once each, not at each attempt"


def told_lost(service: Service) -> list[str]:
    """The log's lines that say so; a silent channel is given up after 2 s."""
    return [line for line in service.lines if "the newest version is not known" in line]


def is_quick(changes: Changes, readers: list[Reader]) -> bool:
    """Whether a change is heard of again, by all."""
    changes.publish()
    wait_until(lambda: is_seen_by_all(readers, changes.newest))
    not_before = changes.versions[changes.newest].not_before
    return all(last_stale(reader, changes, changes.newest) - not_before < FRESH_S for reader in readers)
