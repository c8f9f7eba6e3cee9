"""Folding: deltas of published batches move into the base, and no answer changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loader.compact import ROWS_MAX, fold_some
from loader.errors import Stopped
from loader.load import Options, load
from loader.sources import Files
from tests.loader.batches import Row, assert_answers_are_what_was_published, make_rows, write_csv
from tests.postgres import Database

COUNTS = "SELECT (SELECT count(*) FROM lane_day_deltas), (SELECT count(*) FROM lane_day_totals)"


def load_rows(folder: Path, rows: list[Row], key: str = "k", chunk_rows: int = 50) -> None:
    path = write_csv(folder / f"{key}.csv", rows)
    assert load(Files([path]), Options(key=key, chunk_rows=chunk_rows)).state == "published"


def fold_all(database: Database, rows_max: int = ROWS_MAX) -> int:
    with database.connect("rates_loader") as connection:
        connection.execute("SET lock_timeout = '20s'")  # folding never waits for long
        steps = iter(lambda: fold_some(connection, rows_max), 0)
        return sum(steps)


def test_answers_are_the_same_after_every_step(ports: Database, tmp_path: Path) -> None:
    rows = make_rows(400)
    load_rows(tmp_path, rows)
    ((deltas, base),) = ports.rows(COUNTS)
    assert (deltas > 300, base) == (True, 0)
    with ports.connect("rates_loader") as connection:
        while folded := fold_some(connection, rows_max=50):
            assert folded <= 50
            deltas -= folded
            assert ports.rows(COUNTS)[0][0] == deltas
            assert_answers_are_what_was_published(ports, rows)
    assert deltas == 0
    lane_days = {row[:3] for row in rows}
    assert ports.rows(COUNTS) == [(0, len(lane_days))]


def test_what_is_folded_later_adds_to_the_base(ports: Database, tmp_path: Path) -> None:
    batches = [make_rows(200, seed=number) for number in range(3)]
    for number, rows in enumerate(batches):
        load_rows(tmp_path, rows, key=str(number))
        assert fold_all(ports) > 0
        assert_answers_are_what_was_published(ports, *batches[: number + 1])
    assert fold_all(ports) == 0


def test_folding_raises_no_data_version(ports: Database, tmp_path: Path) -> None:
    load_rows(tmp_path, make_rows(50))
    fold_all(ports)
    assert ports.rows("SELECT version FROM data_version") == [(1,)]


def test_what_is_not_published_is_not_folded(ports: Database, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "prices.csv", make_rows(100))
    with pytest.raises(Stopped):
        load(Files([path]), Options(workers=1, chunk_rows=10), stop=iter([False] * 5 + [True]).__next__)
    before = ports.rows(COUNTS)
    assert before[0][0] > 0
    assert fold_all(ports) == 0
    for state in ("rejected", "withdrawn"):
        with ports.connect() as owner:
            owner.execute("UPDATE batches SET state = %s", [state])
        assert fold_all(ports) == 0
    assert ports.rows(COUNTS) == before


def test_many_at_once_neither_lose_anything_nor_deadlock(ports: Database, tmp_path: Path) -> None:
    """All of them write the same lane-days, while more batches come in."""
    batches = [make_rows(300, seed=number) for number in range(4)]
    for number in (0, 1):
        load_rows(tmp_path, batches[number], key=str(number), chunk_rows=20)
    with ThreadPoolExecutor(4) as executor:
        folding = [executor.submit(fold_all, ports, 30) for _ in range(3)]
        for number in (2, 3):
            load_rows(tmp_path, batches[number], key=str(number), chunk_rows=20)
        folded = [future.result() for future in folding]
    assert sum(folded) > 0
    assert_answers_are_what_was_published(ports, *batches)
    fold_all(ports)
    assert_answers_are_what_was_published(ports, *batches)
    assert ports.rows(COUNTS)[0][0] == 0


def test_one_that_holds_its_deltas_does_not_hold_up_another(ports: Database, tmp_path: Path) -> None:
    rows = [Row("CNSGH", "NLRTM", row.day, row.price) for row in make_rows(40)]
    rows += [Row("DEHAM", "SGSIN", row.day, row.price) for row in rows]
    load_rows(tmp_path, rows, chunk_rows=40)
    lanes = "SELECT count(*) FROM lane_day_deltas WHERE orig_code = 'CNSGH'"
    ((held,),) = ports.rows(lanes)
    with ports.connect("rates_loader") as slow, slow.transaction():
        slow.execute("SELECT FROM lane_day_deltas WHERE orig_code = 'CNSGH' FOR UPDATE")
        assert fold_all(ports) > 0
        assert ports.rows(COUNTS)[0][0] == held
    assert fold_all(ports) == held
    assert_answers_are_what_was_published(ports, rows)


def test_a_fold_writes_in_the_order_of_the_key_so_that_two_cannot_deadlock(
    ports: Database, tmp_path: Path
) -> None:
    rows = make_rows(300)
    load_rows(tmp_path, rows)
    with ports.connect("rates_loader") as connection:
        connection.execute("SET enable_sort = off")  # a plan that happens to sort would prove nothing
        fold_some(connection)
    written = ports.rows("SELECT orig_code, dest_code, day FROM lane_day_totals ORDER BY ctid")
    assert written == sorted({row[:3] for row in rows})
