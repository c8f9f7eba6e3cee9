"""PostgreSQL dies and comes back, lags behind, or is another one behind the same address: answers are 200 or
503 meanwhile, true to their label, and 200 again by themselves.

RATES_SERVER_KILLS says how often it is killed: by default twice, 20 times in a nightly run.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random

import httpx
import psutil
import psycopg
import pytest

from local.postgres import HOST, SUPERUSER, UNPRIVILEGED_ID, PostgresServer, free_port, server_environment
from tests.api.service import Service
from tests.examples import nightly
from tests.postgres import PASSWORD, Database, clone, make_template
from tests.proxy import Proxy
from tests.system.changes import QUESTION, Changes, now_of
from tests.system.crowd import crowd
from tests.system.readers import Reader, Seen, reader_of_each_worker, reading
from tests.waiting import TIMEOUT_S, wait_until

KILLS = int(os.environ.get("RATES_SERVER_KILLS") or (20 if nightly else 2))
STALE_MAX_S = 1.0
WORKERS = 2
CLIENTS = 6
# So many answers of each client, one after the other, say how it is.
ANSWERS_MIN = 10
SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "60"}
# Of a copy, which says who listens.
TELLING = SETTINGS | {"log_statement": "all"}
LISTENS = "LISTEN data_version"
# Answers that are kept, and ones that are not yet.
PATH = "/rates?date_from=2021-01-01&date_to=2021-{:02}-{:02}&orig_code={}&dest_code={}"
CODES = ("CNSGH", "DEHAM", "asia", "world")


@dataclass
class Load:
    """Clients that ask all the time, each with the statuses of its answers as they came."""

    base_url: str
    statuses: dict[int, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def run(self, client_no: int, stop: threading.Event) -> None:
        chance, mine = Random(client_no), self.statuses.setdefault(client_no, [])  # noqa: S311
        with httpx.Client(base_url=self.base_url, trust_env=False, timeout=TIMEOUT_S) as client:
            while not stop.wait(0.005):
                days = chance.randint(1, 12), chance.randint(1, 28)
                path = PATH.format(*days, chance.choice(CODES), chance.choice(CODES))
                try:
                    answer = client.get(path)
                except httpx.TransportError as error:
                    self.faults.append(repr(error))
                    continue
                mine.append(answer.status_code)
                if answer.status_code == 503 and answer.headers["Retry-After"] != "1":
                    self.faults.append("503 without Retry-After")

    def wait_for_more(self, answers: int) -> None:
        before = {number: len(statuses) for number, statuses in self.statuses.items()}
        wait_until(
            lambda: all(len(self.statuses[number]) >= count + answers for number, count in before.items())
        )

    def is_quiet(self) -> bool:
        """All were answered well, time and again."""
        return len(self.statuses) == CLIENTS and all(
            statuses[-ANSWERS_MIN:] == [200] * ANSWERS_MIN for statuses in list(self.statuses.values())
        )

    def is_refused(self) -> bool:
        """All have been told, the last time that they asked, that the database is away."""
        return all(statuses[-1] == 503 for statuses in list(self.statuses.values()))


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "primary", free_port(), PASSWORD, settings=SETTINGS) as server:
        yield server


@pytest.fixture
def database(primary: PostgresServer) -> Database:
    return clone(primary, make_template(primary))


def workers(service: Service) -> set[int]:
    return {worker.pid for worker in psutil.Process(service.process.pid).children()}


def test_postgresql_killed_under_load_costs_503_only_and_is_met_again_by_itself(
    primary: PostgresServer, database: Database
) -> None:
    """All are told that it is away while it is; nobody waits for its return. `make bench BENCH=delays` tells
    how soon all is well again."""
    Changes(database).publish()
    chance = Random("kills")  # noqa: S311
    with Service(database.environment("rates_api")) as service:
        load = Load(str(service.client.base_url))
        wait_until(lambda: len(workers(service)) == WORKERS)
        before = workers(service)
        with crowd(load.run, CLIENTS):
            for _ in range(KILLS):
                wait_until(load.is_quiet)
                load.wait_for_more(chance.randint(1, 20))
                primary.kill()
                wait_until(load.is_refused)
                load.wait_for_more(chance.randint(1, 50))
                primary.start()
            wait_until(load.is_quiet)
        assert workers(service) == before, "no worker was replaced"
    statuses = Counter(chain.from_iterable(load.statuses.values()))
    print(dict(statuses))  # noqa: T201  # shown by pytest -rP
    assert not load.faults
    assert statuses.keys() == {200, 503}
    assert "Traceback" not in "\n".join(service.lines)


# --- another server behind the same address ----------------------------------------------------------------


def copy_of(
    primary: PostgresServer,
    folder: Path,
    *options: str,
    settings: dict[str, str] = SETTINGS,
    output: Callable[[str], None] | None = None,
) -> PostgresServer:
    """A copy taken while it runs; with `-R` one that follows it."""
    command = [str(primary.bin_dir / "pg_basebackup"), "-D", str(folder), "-c", "fast", "-X", "stream"]
    command += ["-h", HOST, "-p", str(primary.port), "-U", SUPERUSER, *options]
    env = server_environment() | {"PGPASSWORD": primary.password, "PGSSLMODE": "disable"}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=TIMEOUT_S)
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    return PostgresServer(folder, free_port(), PASSWORD, settings=settings, output=output)


@contextmanager
def running_standby(
    primary: PostgresServer, folder: Path, output: Callable[[str], None]
) -> Generator[PostgresServer]:
    """It logs every statement."""
    standby = copy_of(primary, folder, "-R", settings=TELLING, output=output)
    standby.launch()  # it never says that it is ready, only that it is a standby
    try:
        wait_until(lambda: can_connect(standby))
        yield standby
    finally:
        standby.stop("immediate")


def can_connect(server: PostgresServer) -> bool:
    assert server.running
    try:
        server.connect().close()
    except psycopg.OperationalError:
        return False
    return True


class Watch(threading.Thread):
    """Notes until when at least the standby had each version, and from when on at the latest."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.connection = database.connect("rates_api")
        self.last: dict[int, float] = {}
        self.first: dict[int, float] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.005):
            asked = time.time()
            row = self.connection.execute("SELECT version FROM data_version").fetchone()
            assert row
            self.last[row[0]] = asked
            self.first.setdefault(row[0], time.time())
        self.connection.close()


@contextmanager
def watching(database: Database) -> Generator[Watch]:
    watch = Watch(database)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        watch.join()


def test_answers_from_a_lagging_replica_are_its_own_and_a_second_older_at_most(
    primary: PostgresServer, database: Database, tmp_path: Path
) -> None:
    changes = Changes(database)
    changes.publish()
    logged: list[str] = []
    with running_standby(primary, tmp_path / "standby", logged.append) as standby:
        replica = Database(standby, database.name)
        with (
            Service(replica.environment("rates_api")) as service,
            Service(database.environment("rates_api")) as on_primary,
            standby.connect() as control,
            watching(replica) as watch,
        ):
            wait_until(lambda: now_of(replica)[0] == changes.newest)
            with reading(reader_of_each_worker([service], WORKERS), QUESTION) as readers:
                wait_until(lambda: all(reader.seen for reader in readers))
                before = changes.newest
                control.execute("SELECT pg_wal_replay_pause()")
                state = "SELECT pg_get_wal_replay_pause_state()"
                wait_until(lambda: control.execute(state).fetchall() == [("paused",)])
                changes.publish()
                newer = on_primary.get(QUESTION).headers
                paused = time.time()
                # Until what they kept before is believed no more.
                wait_until(lambda: all(one.seen[-1].sent > paused + STALE_MAX_S for one in readers))
                lagging = service.client.get(QUESTION, headers={"If-None-Match": newer["ETag"]})
                assert (lagging.status_code, lagging.headers["Data-Version"]) == (200, str(before))
                assert newer["Data-Version"] == str(before + 1)
                assert {one.version for one in seen_by(readers) if one.sent > paused} == {before}

                control.execute("SELECT pg_wal_replay_resume()")
                for change in (lambda: None, changes.withdraw, changes.publish):
                    change()
                    wait_until(lambda: is_seen(readers, changes.newest))
                wait_until(lambda: changes.newest in watch.first)
                seen = seen_by(readers)
                changes.check(seen)
                # Not before the replica itself has each version, as far as anybody can tell from outside; and
                # from then on it is old within the second that begins before it is asked for.
                assert all(one.come > watch.last.get(one.version - 1, 0.0) for one in seen)
                assert not [one for one in seen if one.sent > gone_at(watch, one.version) + STALE_MAX_S]
                assert not told_to_listen(logged), "a standby is not asked for what it refuses"

                # It becomes the primary, and is listened to from then on: `test_freshness` has the rest.
                primary.kill()
                assert control.execute("SELECT pg_promote()").fetchall() == [(True,)]
                newest = changes.versions.pop(changes.newest)
                promoted = Changes(replica, changes.batches, changes.versions)
                again = promoted.versions[promoted.newest]
                assert (again.not_before, again.counts) == (newest.not_before, newest.counts)
                wait_until(lambda: len(told_to_listen(logged)) >= WORKERS)
                promoted.publish()
                wait_until(lambda: is_seen(readers, promoted.newest))
                promoted.check(seen_by(readers))


def seen_by(readers: list[Reader]) -> list[Seen]:
    return [one for reader in readers for one in list(reader.seen)]


def is_seen(readers: list[Reader], version: int) -> bool:
    return all(reader.seen[-1].version == version for reader in readers)


def gone_at(watch: Watch, version: int) -> float:
    """When the replica had a newer one at the latest."""
    return watch.first.get(version + 1, float("inf"))


def told_to_listen(logged: list[str]) -> list[str]:
    """What a server has logged of those who listen for commits."""
    return [line for line in list(logged) if LISTENS in line]


def test_a_restored_server_behind_the_address_is_believed_at_once_though_its_version_is_lower(
    primary: PostgresServer, database: Database, tmp_path: Path
) -> None:
    changes = Changes(database)
    changes.publish()
    restored = copy_of(primary, tmp_path / "restored")
    earlier = changes.newest
    for change in (changes.publish, changes.publish):
        change()
    with (
        Proxy(primary.port) as proxy,
        Service(proxy.environment(database.environment("rates_api"))) as service,
    ):
        wait_until(lambda: len(workers(service)) == WORKERS)
        before = workers(service)
        later = answer_of(service, lambda answer: answer.headers["Data-Version"] == str(changes.newest))
        assert counts(later) == [9]
        primary.kill()
        restored.start()
        proxy.target = restored.port
        again = answer_of(service, lambda answer: answer.status_code == 200)
        assert (again.headers["Data-Version"], counts(again)) == (str(earlier), [3])
        for _ in range(20):  # of each worker
            assert httpx.get(f"{service.client.base_url}{QUESTION}", trust_env=False).text == again.text

        # The same number as one that was lost with the other, and other prices: another ETag.
        other = Changes(Database(restored, database.name), [])
        other.publish()
        numbered = answer_of(service, lambda answer: answer.headers["Data-Version"] == str(other.newest))
        assert other.newest == earlier + 1 == changes.newest - 1
        assert counts(numbered) == [6]
        held = {"If-None-Match": later.headers["ETag"]}
        other.publish()
        answer_of(service, lambda answer: answer.headers["Data-Version"] == str(other.newest))
        assert other.newest == changes.newest
        assert service.client.get(QUESTION, headers=held).status_code == 200
        assert workers(service) == before
    restored.stop("immediate")


def answer_of(service: Service, wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that is wanted; each before it is 200 or 503."""
    deadline = time.monotonic() + TIMEOUT_S
    while not wanted(answer := service.get(QUESTION)) or answer.status_code == 503:
        assert answer.status_code in {200, 503}, answer.text
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)
    return answer


def counts(answer: httpx.Response) -> list[int | None]:
    return [rate["count"] for rate in answer.json()["rates"]]
