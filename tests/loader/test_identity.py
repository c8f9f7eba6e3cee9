"""Which prices there are, as a number: of their order, their format, their packing and their cut, nothing."""

from __future__ import annotations

import gzip
import random
from datetime import date, timedelta
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader.check import Ports
from loader.formats.compression import zstd
from loader.identity import prices_sum, whole_sum
from loader.load import Options, load
from loader.sources import Files
from loader.withdraw import withdraw
from tests.examples import examples
from tests.loader.batches import CODES, FIRST_DAY, Row, discard, make_rows, write_csv
from tests.postgres import Database

CODE = st.sampled_from(CODES)
ROW = st.builds(
    Row,
    CODE,
    CODE,
    st.dates(date(1970, 1, 1), date(2099, 12, 31)),
    st.integers(1, 2**31 - 1),
)


def frame(rows: list[Row], codes: set[str] | None = None) -> pl.DataFrame:
    """As `check` gives it."""
    dtype = Ports(codes or {*CODES}).dtype
    schema = {"orig_code": dtype, "dest_code": dtype, "day": pl.Date, "price": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def identity(*chunks: list[Row], codes: set[str] | None = None) -> int:
    return whole_sum(sum(prices_sum(frame(rows, codes)) for rows in chunks))


@settings(deadline=None)
@given(st.lists(ROW, max_size=30), st.data())
def test_order_cut_and_what_other_ports_there_are_change_nothing(
    rows: list[Row], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    at = data.draw(st.integers(0, len(rows)))
    assert identity(shuffled[:at], shuffled[at:], codes={*CODES, "AAAAA", "ZZZZZ"}) == identity(rows)


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30), st.data())
def test_any_other_row_is_another_number(rows: list[Row], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(ROW.filter(lambda row: row != rows[number]))
    assert identity([*rows[:number], other, *rows[number + 1 :]]) != identity(rows)
    assert identity([*rows, other]) != identity(rows)


def test_values_that_change_places_are_other_prices() -> None:
    """Sums of columns would not tell these apart."""
    first, second = Row(CODES[0], CODES[3], FIRST_DAY, 100), Row(CODES[1], CODES[4], FIRST_DAY, 200)
    for name in ("orig_code", "dest_code", "price"):
        swapped = [
            first._replace(**{name: getattr(second, name)}),
            second._replace(**{name: getattr(first, name)}),
        ]
        assert identity(swapped) != identity([first, second]), name
    turned = first._replace(orig_code=first.dest_code, dest_code=first.orig_code)
    assert identity([turned]) != identity([first])
    later = [first._replace(day=FIRST_DAY + timedelta(1)), second]
    assert identity(later) != identity([first, second._replace(day=FIRST_DAY + timedelta(1))])


def test_it_stays_the_same_from_release_to_release() -> None:
    """The ledger keeps it: a change of it would let the same prices in twice."""
    assert identity(make_rows(1_000)) == 303301942328045225723113906219877979312
    assert identity([]) == 0


@settings(
    deadline=None, max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 10**6),
    how=st.tuples(
        st.sampled_from(["csv", "ndjson", "parquet"]),
        st.sampled_from(["none", "gzip", "zstd"]),
        st.integers(1, 40),
        st.booleans(),
        st.integers(1, 3),
    ),
)
def test_two_loads_of_the_same_prices_are_one_batch(
    seed: int, how: tuple[str, str, int, bool, int], ports: Database, tmp_path: Path
) -> None:
    form, packing, chunk_rows, shuffled, parts = how
    rows = make_rows(30, seed=seed)
    first = load(Files([write_csv(tmp_path / "first.csv", rows)]), Options())
    if shuffled:
        rows = random.Random(seed).sample(rows, len(rows))  # noqa: S311
    files = [
        write(tmp_path / f"{number}.{form}", rows[number::parts], form, packing) for number in range(parts)
    ]
    second = load(Files(files), Options(chunk_rows=chunk_rows))
    assert (second.batch, second.state, second.rows, second.repeat) == (first.batch, "published", 30, True)
    with ports.connect("rates_loader") as connection:
        connection.autocommit = True
        withdraw(connection, str(first.batch))
    discard(ports)
    with ports.connect() as owner:  # so that the next example may be the same
        owner.execute("UPDATE batches SET key = id::text")


def write(path: Path, rows: list[Row], form: str, packing: str) -> Path:
    if form == "csv":
        write_csv(path, rows)
    else:
        text = pl.DataFrame(rows, schema=list(Row._fields), orient="row")
        if form == "parquet":
            text.write_parquet(path)
        else:
            path.write_bytes(text.with_columns(pl.col("day").cast(pl.String)).write_ndjson().encode())
    pack = {"none": bytes, "gzip": gzip.compress, "zstd": zstd.compress}[packing]
    path.write_bytes(pack(path.read_bytes()))
    return path
