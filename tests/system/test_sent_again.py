"""A batch that is sent again over HTTP: the same one, another under its key, with other options, or in the
place of one that is published. An API and a worker, and the sender's requests."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from local.postgres import PostgresServer
from storage.layout import batch_id_of, content_key, manifest_key, upload_key
from storage.manifest import Manifest, write_manifest
from tests.api.ingestion import ADMINISTRATOR, TOKENS, bearing, refused
from tests.api.service import Service
from tests.batch_storage import BatchStorage, new_storage
from tests.loader.batches import (
    PORTS,
    REGIONS,
    Row,
    assert_totals_are_what_was_published,
    json_of,
    make_rows,
    one_database,
    run_here,
    write_csv,
)
from tests.loader.dumps import dump_text
from tests.loader.workers import WorkerHere
from tests.postgres import Database
from tests.waiting import wait_until

HEADER = b"orig_code,dest_code,day,price\n"
LATER = "2090-01-01T00:00:00Z"
CALLBACK = "https://example.com/ended"


@pytest.fixture(scope="module")
def database(server: PostgresServer, template: str) -> Iterator[Database]:
    with one_database(server, template) as database:
        yield database


@pytest.fixture(scope="module")
def storage(storage_server: str) -> Iterator[BatchStorage]:
    storage = new_storage(storage_server)
    with pytest.MonkeyPatch.context() as patch:
        storage.use(patch)
        yield storage


@pytest.fixture(scope="module")
def api(database: Database, storage: BatchStorage) -> Iterator[Service]:
    own = {"WEB_CONCURRENCY": "1"}
    with Service(database.environment("rates_api") | storage.environment() | TOKENS | own) as api:
        yield api


@pytest.fixture(scope="module", autouse=True)
def worker(database: Database, storage: BatchStorage, api: Service) -> Iterator[None]:
    """One for all of them: what one test leaves behind is nothing to the next."""
    with WorkerHere(storage):
        yield
    assert_totals_are_what_was_published(database)


def content(*rows: Row) -> bytes:
    return HEADER + b"".join(",".join(map(str, row)).encode() + b"\n" for row in rows)


def some() -> list[Row]:
    """Rows that no other test sends."""
    return make_rows(5, seed=uuid4().int)


def send(api: Service, data: bytes, query: str = "", key: str | None = None) -> httpx.Response:
    headers = bearing(**({} if key is None else {"Idempotency_Key": key}))
    return api.client.post(f"/batches{query}", content=data, headers=headers)


def told(api: Service, answer: httpx.Response) -> dict[str, Any]:
    """What became of a batch that was accepted just now."""
    assert answer.status_code == 202, answer.text
    return ended(api, answer.json()["batch"])


def ended(api: Service, batch: str) -> dict[str, Any]:
    return api.client.get(f"/batches/{batch}", headers=bearing(Prefer="wait=20")).json()


def forget_manifest(storage: BatchStorage, batch: str) -> None:
    """As its days do."""
    storage.bucket.delete(manifest_key(UUID(batch)))


def failed_of(database: Database, key: str) -> list[tuple]:
    return database.rows(
        "SELECT failure FROM batches WHERE key LIKE %s AND state = 'failed'", f"{key} (conf%"
    )


# --- the same content ---------------------------------------------------------------------------------------


def test_the_same_again_is_the_same_batch_also_when_its_manifest_is_gone(
    api: Service, storage: BatchStorage
) -> None:
    data, key = content(*some()), str(uuid4())
    first = told(api, send(api, data, key=key))
    for gone in (False, True):
        if gone:
            forget_manifest(storage, first["batch"])
        assert told(api, send(api, data, key=key)) == first


def test_the_same_prices_packed_are_rejected_naming_the_batch_that_has_them(api: Service) -> None:
    data = content(*some())
    first = told(api, send(api, data))
    again = told(api, send(api, gzip.compress(data)))
    assert (first["state"], again["state"]) == ("published", "rejected")
    assert f"its 5 prices are those of batch {first['batch']}" in again["errors"][0]["reason"]
    assert told(api, send(api, gzip.compress(data), key=str(uuid4())))["state"] == "published"


def test_a_second_dump_is_rejected_with_the_ways_on_and_goes_in_by_each(api: Service) -> None:
    def dump(rows: list[Row]) -> bytes:
        return dump_text(REGIONS, PORTS, rows).encode()

    rows = some()
    first = told(api, send(api, dump(rows)))
    refusal = told(api, send(api, dump([*rows, *some()])))
    assert (first["state"], refusal["state"]) == ("published", "rejected")
    for way in (first["batch"], "replaces=KEY", "add=true", "--places-only"):
        assert way in refusal["errors"][0]["reason"]
    beside = told(api, send(api, dump(some()), "?add=true"))
    assert beside["state"] == "published"
    instead = told(api, send(api, dump(some()), f"?replaces={first['batch']}"))
    assert (instead["state"], instead["replaces"]) == ("published", first["batch"])
    old = ended(api, first["batch"])
    assert (old["state"], old["replaced_by"]) == ("withdrawn", instead["batch"])


def test_a_rejected_batch_sent_again_is_judged_anew(api: Service, database: Database) -> None:
    rows = [row._replace(dest_code="FIHEL") for row in some()]
    for key in (None, str(uuid4())):
        first = told(api, send(api, content(*rows), key=key))
        assert (first["state"], first["error_count"]) == ("rejected", 5)
        again = told(api, send(api, content(*rows), key=key))
        assert (again["batch"], again["state"]) == (first["batch"], "rejected"), "the port is still not there"
    add_port(database, "FIHEL,Helsinki,europe")
    for key in (None, first["key"]):
        assert told(api, send(api, content(*rows), key=key))["state"] == "published"


def test_a_rejected_batch_sent_again_may_have_other_options(api: Service) -> None:
    """A deadline, say, that has passed meanwhile."""
    data = content(*(row._replace(dest_code="XXXXX") for row in some()))
    first = told(api, send(api, data, "?file=a.csv"))
    again = told(api, send(api, data, f"?file=b.csv&deadline={LATER}"))
    assert (again["batch"], again["state"], again["source"]) == (first["batch"], "rejected", "b.csv")
    assert datetime.fromisoformat(again["deadline"]) == datetime.fromisoformat(LATER)
    assert (first["source"], first["deadline"]) == ("a.csv", None)


def add_port(database: Database, line: str) -> None:
    path = database.server.data_dir.parent / "places.csv"
    write_csv(path, [line.split(",")], "code,name,parent_slug")
    done = run_here("places", path, "--json", database=database)
    assert json_of(done) == {"regions": 0, "ports": 1, "changed": 1}


def test_a_rejected_upload_asked_for_again_is_judged_anew(
    api: Service, storage: BatchStorage, database: Database
) -> None:
    key = str(uuid4())
    rows = [row._replace(dest_code="NOOSL") for row in some()]
    batch = announce(api, key).json()
    storage.bucket.put(upload_key(UUID(batch["batch"])), content(*rows))
    assert wait_for(api, batch["batch"])["state"] == "rejected"
    add_port(database, "NOOSL,Oslo,europe")
    again = announce(api, key)
    assert (again.status_code, again.json()["state"]) == (200, "accepted")
    assert ended(api, batch["batch"])["state"] == "published"


def announce(api: Service, key: str, query: str = "") -> httpx.Response:
    return api.client.post(f"/batches/uploads{query}", headers=bearing(Idempotency_Key=key))


def wait_for(api: Service, batch: str) -> dict[str, Any]:
    wait_until(lambda: ended(api, batch)["state"] not in ("uploading", "accepted", "loading"))
    return ended(api, batch)


# --- other content, other options ---------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True], ids=["manifest there", "manifest gone"])
def test_other_content_under_a_used_key_is_409_at_once(
    gone: bool, api: Service, storage: BatchStorage
) -> None:
    key = str(uuid4())
    first = told(api, send(api, content(*some()), key=key))
    if gone:
        forget_manifest(storage, first["batch"])
    told_why = refused(send(api, content(*some()), key=key), 409, "key_taken")
    assert first["batch"] in told_why
    assert first["content_hash"] in told_why
    assert ended(api, first["batch"]) == first


OPTIONS = {
    f"deadline={LATER}": "no deadline",
    f"callback_url={CALLBACK}": "no callback_url",
    "file=other.csv": "file 'body'",
    "add=true": "add=false",
}


@pytest.mark.parametrize("gone", [False, True], ids=["manifest there", "manifest gone"])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_repeat_with_another_option_is_409_naming_what_holds(
    option: str, gone: bool, api: Service, storage: BatchStorage
) -> None:
    data = content(*some())
    first = told(api, send(api, data))
    if gone:
        forget_manifest(storage, first["batch"])
    assert OPTIONS[option] in refused(send(api, data, f"?{option}"), 409, "key_taken")


def test_options_of_content_that_the_command_line_loaded_are_409_too(
    api: Service, database: Database, tmp_path: Path
) -> None:
    rows = some()
    path = write_csv(tmp_path / "march.csv", rows)
    batch = json_of(run_here("load", path, "--json", database=database))["batch"]
    for option, holds in [*OPTIONS.items(), ("file=march.csv", f"file {str(path)!r}")][:3]:
        why = refused(send(api, path.read_bytes(), f"?{option}"), 409, "key_taken")
        assert batch in why
        assert holds.replace("file 'body'", f"file {str(path)!r}") in why
    assert told(api, send(api, path.read_bytes()))["batch"] == batch


def test_the_key_of_a_withdrawn_batch_is_409(api: Service) -> None:
    data, key = content(*some()), str(uuid4())
    first = told(api, send(api, data, key=key))
    api.client.delete(f"/batches/{first['batch']}", headers=bearing())
    wait_until(lambda: ended(api, first["batch"])["state"] == "withdrawn")
    assert "which was withdrawn" in refused(send(api, data, key=key), 409, "key_taken")


def test_where_only_the_loader_can_know_it_fails_with_that_reason(
    api: Service, storage: BatchStorage, database: Database
) -> None:
    """The manifest comes from an API whose database is away."""
    key = str(uuid4())
    first = told(api, send(api, content(*some()), key=key))
    forget_manifest(storage, first["batch"])
    accept_blindly(storage, key, content(*some()))
    wait_until(lambda: bool(failed_of(database, key)))
    ((why,),) = failed_of(database, key)
    assert f"belongs to batch {first['batch']} (published), whose content is another" in why
    assert ended(api, first["batch"]) == first


def accept_blindly(storage: BatchStorage, key: str, data: bytes, replaces: str | None = None) -> None:
    batch, now = batch_id_of(key), datetime.now(UTC) + timedelta(seconds=1)
    storage.bucket.put(content_key(batch, "blind"), data)
    digest = sha256(data).hexdigest()
    manifest = Manifest(
        batch,
        key,
        content_key(batch, "blind"),
        "body",
        "writer",
        now,
        digest,
        len(data),
        request_id="blind",
        replaces=replaces,
    )
    write_manifest(storage.bucket, manifest)


def test_another_object_at_the_address_of_an_upload_fails_and_is_told(
    api: Service, storage: BatchStorage, database: Database
) -> None:
    key = str(uuid4())
    batch = announce(api, key).json()["batch"]
    storage.bucket.put(upload_key(UUID(batch)), content(*some()))
    first = wait_for(api, batch)
    assert first["state"] == "published"
    storage.bucket.put(upload_key(UUID(batch)), content(*some()))
    wait_until(lambda: bool(failed_of(database, key)))
    ((why,),) = failed_of(database, key)
    assert "whose content is another: its ETag is" in why
    assert ended(api, batch) == first


def test_the_key_of_an_upload_that_was_read_is_409_once_its_content_is_gone(
    api: Service, storage: BatchStorage
) -> None:
    key = str(uuid4())
    batch = announce(api, key).json()["batch"]
    storage.bucket.put(upload_key(UUID(batch)), content(*some()))
    assert wait_for(api, batch)["state"] == "published"
    assert announce(api, key).status_code == 200
    storage.bucket.delete(upload_key(UUID(batch)))
    for gone in (False, True):
        if gone:
            forget_manifest(storage, batch)
        assert "whose content has been read" in refused(announce(api, key), 409, "key_taken")


# --- in the place of another --------------------------------------------------------------------------------


def test_a_batch_takes_the_place_of_one_that_is_named_by_its_key(api: Service) -> None:
    key = str(uuid4())
    old = told(api, send(api, content(*some()), key=key))
    data = content(*some())
    new = told(api, send(api, data, f"?replaces={key}"))
    assert (new["state"], new["replaces"]) == ("published", old["batch"])
    assert ended(api, old["batch"])["replaced_by"] == new["batch"]
    assert told(api, send(api, data, f"?replaces={key}")) == new, "the same request again"
    why = refused(send(api, data, f"?replaces={uuid4()}"), 409, "key_taken")
    assert f"which replaces {old['batch']}" in why


def test_what_is_no_published_batch_cannot_be_replaced(api: Service) -> None:
    key = str(uuid4())
    old = told(api, send(api, content(*some()), key=key))
    api.client.delete(f"/batches/{old['batch']}", headers=bearing())
    wait_until(lambda: ended(api, old["batch"])["state"] == "withdrawn")
    for name, why in [
        ("nobody's", "no batch of the id or key"),
        (key, "only a published one can be replaced"),
    ]:
        answer = send(api, content(*some()), f"?replaces={name}")
        assert why in refused(answer, 409, "nothing_to_replace")


def test_only_an_admin_replaces_what_another_sent(api: Service, database: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", some())
    old = json_of(run_here("load", path, "--json", database=database))["batch"]
    data = content(*some())
    assert "not over HTTP" in refused(send(api, data, f"?replaces={old}"), 403, "forbidden")
    headers = bearing(ADMINISTRATOR)
    new = told(api, api.client.post(f"/batches?replaces={old}", content=data, headers=headers))
    assert (new["state"], new["replaces"]) == ("published", old)


def test_where_only_the_loader_can_know_what_is_replaced_it_fails_with_that_reason(
    api: Service, storage: BatchStorage, database: Database, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", some())
    others = json_of(run_here("load", path, "--json", database=database))["batch"]
    for name, why in [("nobody's", "no batch to replace"), (others, "is another sender's")]:
        key = str(uuid4())
        accept_blindly(storage, key, content(*some()), replaces=name)
        batch = str(batch_id_of(key))
        wait_until(lambda batch=batch: ended(api, batch)["state"] == "failed")
        assert why in ended(api, batch)["failure"]
