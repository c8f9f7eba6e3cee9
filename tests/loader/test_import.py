"""A dump, loaded: its places and its prices become true together, and none of its statements ever runs."""

import os
import subprocess
from pathlib import Path

import pytest

from loader.dump import Dump
from loader.load import Options, Result, load
from tests.loader.batches import (
    DIFFERENCES,
    add_places,
    assert_nothing_is_left_but_the_ledger,
    contents,
    data_version,
)
from tests.loader.dumps import PORTS, PRICES, REGIONS, dump_text, section, write_dump
from tests.postgres import Database

SAMPLE = Path(__file__).parents[2] / "local" / "sample.sql"
CLOSURE = "SELECT region_slug, port_code FROM region_ports ORDER BY 1, 2"
TREE = "SELECT region_slug, port_code FROM region_tree_ports ORDER BY 1, 2"
PLACED = "SELECT slug, name, parent_slug FROM regions UNION ALL SELECT code, name, parent_slug FROM ports"
PRICED = "SELECT orig_code, dest_code, day::text, price FROM prices ORDER BY day, price"


def import_dump(path: Path, options: Options | None = None) -> Result:
    source = Dump(path)
    return load(source, options or Options(), places=source.places)


def import_text(path: Path, text: str) -> Result:
    return import_dump(write_dump(path / "dump.sql", text))


def test_the_bundled_sample_goes_in_whole(as_loader: Database) -> None:
    result = import_dump(SAMPLE, Options(chunk_rows=5000))
    assert (result.state, result.rows, result.error_count) == ("published", 22747, 0)
    assert as_loader.rows("SELECT count(*) FROM prices") == [(22747,)]
    assert as_loader.rows(DIFFERENCES) == []
    assert as_loader.rows(CLOSURE) == as_loader.rows(TREE) != []
    assert data_version(as_loader) == 1


def test_places_and_prices_are_those_of_the_dump(as_loader: Database, tmp_path: Path) -> None:
    assert import_text(tmp_path, dump_text()).state == "published"
    assert sorted(as_loader.rows(PLACED)) == sorted([*REGIONS, *PORTS])
    assert as_loader.rows(PRICED) == PRICES
    assert as_loader.rows(CLOSURE) == [
        ("asia", "CNSGH"), ("europe", "NLRTM"), ("world", "CNSGH"), ("world", "NLRTM"),
    ]  # fmt: skip


def test_what_pg_dump_writes_of_the_original_goes_in(
    empty_database: Database, as_loader: Database, tmp_path: Path
) -> None:
    """The original's tables, with names that need escapes, dumped by the real program."""
    programs, environment = as_loader.server.bin_dir, os.environ | empty_database.environment()
    psql = [programs / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={SAMPLE}"]
    subprocess.run(psql, env=environment, check=True, stdout=subprocess.DEVNULL)
    with empty_database.connect() as original:
        original.execute("UPDATE public.ports SET name = E'a\\tb\\\\c\\nd\\re;' WHERE code = 'CNSGH'")
        original.execute("UPDATE public.ports SET name = E'\\\\N \\\\.' WHERE code = 'EETLL'")
        original.execute("COMMENT ON TABLE public.ports IS E'it''s;\\nDROP TABLE ports;\\n'")
        original.execute("CREATE INDEX prices_lane ON public.prices (orig_code, dest_code) WHERE price > 0")
        original.execute("GRANT SELECT ON public.prices TO rates_api")
    dump = tmp_path / "dump.sql"
    subprocess.run([programs / "pg_dump", f"--file={dump}"], env=environment, check=True)
    assert "\\restrict " in dump.read_text()

    assert import_dump(dump).state == "published"

    for columns in (
        "slug, name, parent_slug FROM public.regions",
        "code, name, parent_slug FROM public.ports",
    ):
        question = f"SELECT {columns} ORDER BY 1"
        assert as_loader.rows(question) == empty_database.rows(question)
    prices = "SELECT orig_code, dest_code, day, price FROM public.prices ORDER BY 1, 2, 3, 4"
    assert as_loader.rows(prices) == empty_database.rows(prices)
    assert as_loader.rows(DIFFERENCES) == []


def test_the_same_dump_again_does_nothing(as_loader: Database, tmp_path: Path) -> None:
    first = import_text(tmp_path, dump_text())
    before = contents(as_loader)
    again = import_text(tmp_path, dump_text())
    assert (again.batch, again.state, again.rows, again.repeat) == (first.batch, "published", 2, True)
    assert contents(as_loader) == before


def test_a_changed_dump_moves_and_renames_places_and_adds_its_prices(
    as_loader: Database, tmp_path: Path
) -> None:
    import_text(tmp_path, dump_text())
    regions = [("world", "Earth", None), ("asia", "Asia", None), ("europe", "Europe", "world")]
    regions += [("north", "North", "asia")]
    ports = [("CNSGH", "Shanghai", "north"), ("NLRTM", "Rotterdam (new)", "europe")]
    more = [("NLRTM", "CNSGH", "2021-01-03", 300)]

    later = write_dump(tmp_path / "later.sql", dump_text(regions, ports, more))
    assert import_dump(later, Options(add=True)).state == "published"

    assert sorted(as_loader.rows(PLACED), key=str) == sorted([*regions, *ports], key=str)
    assert as_loader.rows(PRICED) == PRICES + more
    assert as_loader.rows(CLOSURE) == as_loader.rows(TREE) == [
        ("asia", "CNSGH"), ("europe", "NLRTM"), ("north", "CNSGH"), ("world", "NLRTM"),
    ]  # fmt: skip
    assert as_loader.rows(DIFFERENCES) == []
    assert data_version(as_loader) == 2


def test_a_dump_adds_to_places_that_are_there(ports: Database, tmp_path: Path) -> None:
    """Those that it does not name stay as they are."""
    assert import_text(tmp_path, dump_text()).state == "published"
    assert ("DEHAM",) in ports.rows("SELECT code FROM ports")
    assert ports.rows(CLOSURE) == ports.rows(TREE)


def test_a_dump_of_places_alone_is_published(as_loader: Database, tmp_path: Path) -> None:
    result = import_text(tmp_path, section("ports", PORTS) + section("regions", REGIONS))
    assert (result.state, result.rows) == ("published", 0)
    assert sorted(as_loader.rows(PLACED)) == sorted([*REGIONS, *PORTS])


def test_a_dump_of_prices_alone_needs_its_ports_to_be_there(as_loader: Database, tmp_path: Path) -> None:
    text = section("prices", PRICES)
    rejected = import_text(tmp_path, text)
    assert rejected.state == "rejected"
    assert [(error.line, error.column, error.value, error.reason) for error in rejected.errors] == [
        (2, "orig_code", "CNSGH", "no such port"),
        (2, "dest_code", "NLRTM", "no such port"),
        (3, "orig_code", "CNSGH", "no such port"),
        (3, "dest_code", "NLRTM", "no such port"),
    ]
    add_places(as_loader)
    assert import_text(tmp_path, text).state == "published"
    assert as_loader.rows(PRICED) == PRICES


def test_a_bad_price_keeps_the_places_out_too(as_loader: Database, tmp_path: Path) -> None:
    text = dump_text(prices=[*PRICES, ("CNSGH", "NLRTM", "2021-01-03", -1), ("CNSGH", None, "2021-01-03", 1)])
    result = import_text(tmp_path, text)
    line = text[: text.index("COPY public.prices")].count("\n") + 1
    assert [(error.line, error.column, error.value) for error in result.errors] == [
        (line + 3, "price", "-1"),
        (line + 4, "dest_code", r"\N"),
    ]
    assert_nothing_is_left_but_the_ledger(as_loader)
    assert as_loader.rows(PLACED) == []


def test_a_dry_run_of_a_dump_knows_the_ports_in_it_and_writes_nothing(
    as_loader: Database, tmp_path: Path
) -> None:
    before = contents(as_loader)
    source = Dump(write_dump(tmp_path / "dump.sql", dump_text()))
    result = load(source, Options(dry_run=True), places=source.places)
    assert (result.batch, result.state, result.rows) == (None, "valid", 2)
    assert contents(as_loader) == before


@pytest.mark.parametrize("workers", [1, 4])
def test_chunks_of_a_dump_name_the_dumps_own_lines(as_loader: Database, tmp_path: Path, workers: int) -> None:
    prices = [("CNSGH", "NLRTM", "2021-01-01", n if n != 58 else "many") for n in range(1, 100)]
    text = dump_text(prices=prices)
    path = write_dump(tmp_path / "dump.sql", text)
    (error,) = import_dump(path, Options(chunk_rows=10, workers=workers)).errors
    assert text.splitlines()[error.line - 1].endswith("\tmany")
    assert (error.file, error.column, error.value) == (str(path), "price", "many")
