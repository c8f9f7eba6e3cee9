"""PostgreSQL dies and comes back, lags behind, or is another one behind the same address: answers are 200 or
503 meanwhile, true to their label, and 200 again by themselves.

RATES_SERVER_KILLS says how often it is killed.
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
from pathlib import Path
from random import Random

import httpx
import psutil
import psycopg
import pytest

from local.postgres import HOST, SUPERUSER, UNPRIVILEGED_ID, PostgresServer, free_port, server_environment
from tests.api.service import Service
from tests.postgres import PASSWORD, Database, clone, make_template
from tests.proxy import Proxy
from tests.system.changes import QUESTION, Changes, now_of
from tests.system.crowd import crowd
from tests.system.readers import Reader, Seen, reader_of_each_worker, reading
from tests.waiting import TIMEOUT_S, wait_until

KILLS = int(os.environ.get("RATES_SERVER_KILLS") or 3)
BACK_S = 5.0
QUIET_S = 1.0
STALE_MAX_S = 1.0
FRESH_S = 0.1
WORKERS = 2
CLIENTS = 6
CHANNEL = "rates-api-newest"
SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "60"}
# Answers that are kept, and ones that are not yet.
PATH = "/rates?date_from=2021-01-01&date_to=2021-{:02}-{:02}&orig_code={}&dest_code={}"
CODES = ("CNSGH", "DEHAM", "asia", "world")


@dataclass
class Load:
    """Clients that ask all the time, and when they were answered how."""

    base_url: str
    answers: list[tuple[float, float, int]] = field(default_factory=list)  # sent, come, status
    faults: list[str] = field(default_factory=list)

    def run(self, seed: int, stop: threading.Event) -> None:
        chance = Random(seed)  # noqa: S311
        with httpx.Client(base_url=self.base_url, trust_env=False, timeout=TIMEOUT_S) as client:
            while not stop.wait(0.005):
                days = chance.randint(1, 12), chance.randint(1, 28)
                path = PATH.format(*days, chance.choice(CODES), chance.choice(CODES))
                sent = time.monotonic()
                try:
                    answer = client.get(path)
                except httpx.TransportError as error:
                    self.faults.append(repr(error))
                    continue
                self.answers.append((sent, time.monotonic(), answer.status_code))
                if answer.status_code == 503 and answer.headers["Retry-After"] != "1":
                    self.faults.append("503 without Retry-After")

    def is_quiet(self) -> bool:
        """For a second all have been answered well, and often."""
        late = [status for sent, _, status in list(self.answers) if sent > time.monotonic() - QUIET_S]
        return (
            len(late) > 5 * CLIENTS and {*late} == {200} and self.last_failure() < time.monotonic() - QUIET_S
        )

    def last_failure(self) -> float:
        return max(come for _, come, status in list(self.answers) if status != 200)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "primary", free_port(), PASSWORD, settings=SETTINGS) as server:
        yield server


@pytest.fixture
def database(primary: PostgresServer) -> Database:
    return clone(primary, make_template(primary))


def workers(service: Service) -> set[int]:
    return {worker.pid for worker in psutil.Process(service.process.pid).children()}


def test_postgresql_killed_under_load_costs_503_only_and_is_met_again_within_5_s(
    primary: PostgresServer, database: Database
) -> None:
    Changes(database).publish()
    chance = Random("kills")  # noqa: S311
    recovered_s: list[float] = []
    with Service(database.environment("rates_api")) as service:
        load = Load(str(service.client.base_url))
        wait_until(lambda: len(workers(service)) == WORKERS)
        before = workers(service)
        with crowd(load.run, CLIENTS):
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.2, 1.0))
                primary.kill()
                time.sleep(chance.uniform(0.2, 2.0))
                primary.start()
                back = time.monotonic()
                wait_until(load.is_quiet)
                recovered_s.append(load.last_failure() - back)
        assert workers(service) == before, "no worker was replaced"
    assert not load.faults
    statuses = Counter(status for _, _, status in load.answers)
    slowest_s = max(come - sent for sent, come, _ in load.answers)
    figures = (
        f"{dict(statuses)}, slowest {slowest_s:.2f} s, last 503 {max(recovered_s):.2f} s after it was back"
    )
    print(figures)  # noqa: T201  # shown by pytest -rP
    assert statuses.keys() == {200, 503}
    assert max(recovered_s) < BACK_S, figures
    assert slowest_s < BACK_S, figures
    assert "Traceback" not in "\n".join(service.lines)


# --- another server behind the same address ----------------------------------------------------------------


def copy_of(primary: PostgresServer, folder: Path, *options: str) -> PostgresServer:
    """A copy taken while it runs; with `-R` one that follows it."""
    command = [str(primary.bin_dir / "pg_basebackup"), "-D", str(folder), "-c", "fast", "-X", "stream"]
    command += ["-h", HOST, "-p", str(primary.port), "-U", SUPERUSER, *options]
    env = server_environment() | {"PGPASSWORD": primary.password, "PGSSLMODE": "disable"}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=TIMEOUT_S)
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    return PostgresServer(folder, free_port(), PASSWORD, settings=SETTINGS)


@contextmanager
def running_standby(primary: PostgresServer, folder: Path) -> Generator[PostgresServer]:
    standby = copy_of(primary, folder, "-R")
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
    """Notes until when at least the standby had each version."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self.connection = database.connect("rates_api")
        self.last: dict[int, float] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.005):
            asked = time.time()
            row = self.connection.execute("SELECT version FROM data_version").fetchone()
            assert row
            self.last[row[0]] = asked
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
    with running_standby(primary, tmp_path / "standby") as standby:
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
                time.sleep(1.5)
                lagging = service.client.get(QUESTION, headers={"If-None-Match": newer["ETag"]})
                assert (lagging.status_code, lagging.headers["Data-Version"]) == (200, str(before))
                assert newer["Data-Version"] == str(before + 1)
                assert {one.version for one in seen_by(readers) if one.sent > paused} == {before}

                control.execute("SELECT pg_wal_replay_resume()")
                for change in (lambda: None, changes.withdraw, changes.publish):
                    change()
                    wait_until(lambda: is_seen(readers, changes.newest))
                    time.sleep(0.3)
                seen = seen_by(readers)
                changes.check(seen)
                # From when the replica itself has each version, as far as anybody can tell from outside.
                assert all(one.come > watch.last.get(one.version - 1, 0.0) for one in seen)
                assert max(one.sent - watch.last[one.version] for one in seen) < STALE_MAX_S
                assert "LISTEN" not in "\n".join(service.lines), "a standby is not asked for what it refuses"

                # It becomes the primary, and is heard of at once from then on.
                primary.kill()
                assert control.execute("SELECT pg_promote()").fetchall() == [(True,)]
                newest = changes.versions.pop(changes.newest)
                promoted = Changes(replica, changes.batches, changes.versions)
                assert promoted.versions[promoted.newest] == newest
                wait_until(lambda: is_heard_of_at_once(promoted, readers))
                promoted.check(seen_by(readers))


def seen_by(readers: list[Reader]) -> list[Seen]:
    return [one for reader in readers for one in list(reader.seen)]


def is_seen(readers: list[Reader], version: int) -> bool:
    return all(reader.seen[-1].version == version for reader in readers)


def is_heard_of_at_once(changes: Changes, readers: list[Reader]) -> bool:
    changes.publish()
    wait_until(lambda: is_seen(readers, changes.newest))
    time.sleep(0.1)
    return all(
        changes.staleness_s(one) < FRESH_S for one in seen_by(readers) if one.version == changes.newest - 1
    )


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
        moved = time.monotonic()
        again = answer_of(service, lambda answer: answer.status_code == 200)
        assert time.monotonic() - moved < BACK_S
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
