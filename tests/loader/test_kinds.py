"""Faults by kind: whatever chunks they come in, each count that is told is exact, and none is left out."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import kinds
from loader.kinds import FIRST_LINES, OTHERS, Found, Key, Kinds, added_up, bounded, error_kinds, of_chunk
from loader.load import Options, load
from loader.sources import Files
from tests.examples import examples
from tests.loader.batches import make_rows, write_csv
from tests.postgres import Database

FEW = 3
keys = st.tuples(st.sampled_from([None, "day", "price"]), st.sampled_from("abcdefgh"), st.sampled_from("xyz"))
# In each chunk, the kind of each of its lines.
chunks = st.lists(st.lists(keys, max_size=20), min_size=1, max_size=5)


def counted(chunk: list[Key], chunk_no: int) -> Kinds:
    lines: dict[Key, list[int]] = defaultdict(list)
    for line, key in enumerate(chunk, 100 * chunk_no):
        lines[key].append(line)
    found = {key: Found(len(its), "a.csv", its[:FIRST_LINES], []) for key, its in lines.items()}
    return of_chunk(bounded(found), chunk_no)


def all_counted(batch: list[list[Key]], order: list[int]) -> Kinds:
    total: Kinds = {}
    for chunk_no in order:
        total = added_up(total, counted(batch[chunk_no], chunk_no))
    return total


@settings(max_examples=examples(300), deadline=None)
@given(batch=chunks, data=st.data())
def test_every_kind_has_its_count_and_its_first_lines_in_whatever_order_chunks_end(
    batch: list[list[Key]], data: st.DataObject
) -> None:
    lines: dict[Key, list[int]] = defaultdict(list)
    for chunk_no, chunk in enumerate(batch):
        for line, key in enumerate(chunk, 100 * chunk_no):
            lines[key].append(line)
    total = all_counted(batch, data.draw(st.permutations(range(len(batch)))))
    assert {key: (found.row_count, found.first_lines) for key, found in total.items()} == {
        key: (len(its), its[:FIRST_LINES]) for key, its in lines.items()
    }
    told = error_kinds(total)
    assert told == sorted(told, key=lambda kind: (-kind.count, kind.first_lines[0]))


@settings(max_examples=examples(300), deadline=None)
@given(batch=chunks, data=st.data())
def test_of_too_many_kinds_those_that_are_told_apart_are_counted_whole(
    batch: list[list[Key]], data: st.DataObject
) -> None:
    faults = Counter(key for chunk in batch for key in chunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "KINDS_KEPT", FEW)
        total = all_counted(batch, data.draw(st.permutations(range(len(batch)))))
    assert sum(found.row_count for found in total.values()) == faults.total()
    assert len(total) <= 2 * FEW + 1
    for key, found in total.items():
        column, value, reason = key
        if value is not None:
            assert found.row_count == faults[key]
        elif key != OTHERS:
            told = [other for other in total if other[::2] == (column, reason) and other != key]
            of_reason = sum(count for each, count in faults.items() if each[::2] == (column, reason))
            assert found.row_count == of_reason - sum(faults[other] for other in told)


def test_a_value_that_most_rows_have_is_told_among_thousands_of_others(
    ports: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [
        (*row[:3], "free" if number % 2 else f"{number}.5") for number, row in enumerate(make_rows(6_000))
    ]
    path = write_csv(tmp_path_factory.mktemp("kinds") / "bad.csv", rows)
    for dry_run in (True, False):
        result = load(Files([path]), Options(chunk_rows=3_000, dry_run=dry_run))
        others, free = sorted(result.error_kinds, key=lambda kind: kind.value or "")
        assert (free.value, free.count, free.first_lines) == ("free", 3_000, [3, 5, 7, 9, 11])
        assert (others.value, others.count, others.first_lines) == (None, 3_000, [2, 4, 6, 8, 10])
    assert ports.rows("SELECT sum(row_count), count(*) FROM fault_kinds") == [(6_000, 2)]


def test_a_rejected_batch_that_is_loaded_again_begins_with_none(
    ports: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [row._replace(dest_code="FIHEL") for row in make_rows(30)]
    path = write_csv(tmp_path_factory.mktemp("kinds") / "bad.csv", [*rows, rows[0]._replace(price=0)])
    for _ in range(2):
        result = load(Files([path]), Options(chunk_rows=10))
        assert [(kind.value, kind.count) for kind in result.error_kinds] == [("FIHEL", 31), ("0", 1)]
    ports.rows("INSERT INTO ports VALUES ('FIHEL', 'Helsinki', 'europe') RETURNING 1")
    result = load(Files([path]), Options(chunk_rows=10))
    assert [(kind.value, kind.count) for kind in result.error_kinds] == [("0", 1)]


def test_first_lines_are_those_of_the_first_file_that_has_any(
    ports: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kinds")
    rows = [row._replace(price=0) for row in make_rows(3)]
    good = make_rows(3, seed=2)
    files = [
        write_csv(folder / name, its)
        for name, its in (("c.csv", good), ("b.csv", rows), ("a.csv", rows[::-1]))
    ]
    (kind,) = load(Files(files), Options(workers=3, chunk_rows=1)).error_kinds
    assert (kind.count, kind.file, kind.first_lines) == (6, str(files[1]), [2, 3, 4])
