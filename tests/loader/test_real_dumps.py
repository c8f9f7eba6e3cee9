"""Dumps that the real pg_dump makes of a database that lives: with any of its options they are read to the
same rows, or refused whole with a reason."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader.dump import Dump
from loader.errors import FileRejected, UsageError
from loader.sources import Files
from local.postgres import PostgresServer
from tests.examples import examples
from tests.postgres import Database, clone

# The original's tables, in parts, with names that need care; and what else grows in a database.
LIVED_IN = """
CREATE TABLE regions (slug text PRIMARY KEY, name text NOT NULL, parent_slug text REFERENCES regions);
CREATE TABLE ports (code text PRIMARY KEY, name text NOT NULL, parent_slug text NOT NULL REFERENCES regions);
CREATE TABLE prices (orig_code text, dest_code text, day date, price integer) PARTITION BY RANGE (day);
CREATE TABLE prices_2020 PARTITION OF prices FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE prices_2021 PARTITION OF prices FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')
    PARTITION BY LIST (orig_code);
CREATE TABLE "prices 2021;" PARTITION OF prices_2021 DEFAULT;
CREATE INDEX prices_lane ON prices (orig_code, dest_code, day);
INSERT INTO regions VALUES ('world', 'World', NULL), ('asia', E'Asia\\t\\\\N', 'world');
INSERT INTO ports VALUES ('CNSGH', 'Sh;angh''ai /* -- $$', 'asia'), ('SEGOT', 'Göteborg', 'world');
INSERT INTO prices SELECT 'CNSGH', 'SEGOT', day, 100
    FROM generate_series(timestamp '2020-12-01', '2021-02-01', '1 day') AS days (day);
COMMENT ON TABLE ports IS E'it''s;\\n\\\\.\\nCOPY ports FROM stdin;\\n';

CREATE TABLE alembic_version (version_num text PRIMARY KEY, note text);
INSERT INTO alembic_version VALUES ('8f14e45f', E'two\\nlines and \\\\.'), ('\\.', '');
CREATE TYPE mood AS ENUM ('good', 'it''s;');
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z;'']+$');
CREATE FUNCTION count_ports() RETURNS bigint BEGIN ATOMIC
    SELECT CASE WHEN true THEN 1 END; SELECT count(*) FROM ports; END;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $_$
    BEGIN RAISE NOTICE '; $$'; RETURN NULL; END $_$;
CREATE PROCEDURE nothing() LANGUAGE sql AS 'DELETE FROM prices;';
CREATE TRIGGER noted AFTER INSERT ON ports EXECUTE FUNCTION note();
CREATE VIEW cheap AS SELECT * FROM prices WHERE price < 100;
CREATE MATERIALIZED VIEW days AS SELECT day, count(*) FROM prices GROUP BY day;
CREATE RULE no_delete AS ON DELETE TO cheap DO INSTEAD (SELECT 1; SELECT 2);
ALTER TABLE ports ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_them ON ports USING (true);
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE STATISTICS lanes ON orig_code, dest_code FROM prices_2020;
CREATE SEQUENCE numbers;
CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer);
CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
SELECT lo_from_bytea(0, 'a large object');
ANALYZE;
"""
# Of pg_dump 18, what changes what it writes.
FLAGS = (
    *("--clean", "--create", "--if-exists", "--no-owner", "--no-privileges", "--no-comments", "--verbose"),
    *("--quote-all-identifiers", "--disable-triggers", "--disable-dollar-quoting", "--no-publications"),
    *("--no-statistics", "--statistics", "--large-objects", "--no-large-objects", "--enable-row-security"),
    *("--no-toast-compression", "--use-set-session-authorization", "--load-via-partition-root"),
    *("--data-only", "--schema-only", "--encoding=LATIN1", "--encoding=WIN1252", "--inserts"),
    *("--column-inserts", "--exclude-table-data=prices_2020", "--section=data"),
)
# With them rows are left out, or are no COPY.
WITHOUT_ROWS = {"--schema-only", "--inserts", "--column-inserts"}
# With them it is not said whose parts hold rows.
WITHOUT_TABLES = {"--data-only", "--section=data"}


@contextmanager
def one_lived_in(server: PostgresServer) -> Generator[Database]:
    database = clone(server, "template0")
    with database.connect() as owner:
        owner.execute(LIVED_IN.encode())
    yield database
    database.drop()


@pytest.fixture(scope="module")
def lived_in(server: PostgresServer) -> Iterator[Database]:
    with one_lived_in(server) as database:
        yield database


@pytest.fixture(scope="module")
def lived_in_for_long(old_server: PostgresServer) -> Iterator[Database]:
    with one_lived_in(old_server) as database:
        yield database


def dump_of(database: Database, path: Path, *options: str, program: str = "pg_dump") -> bool:
    """Whether the program takes these options together."""
    command = [database.server.bin_dir / program, *options, f"--file={path}"]
    environment = os.environ | database.environment()
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def rows_of(dump: Dump) -> tuple[Counter[tuple], int]:
    rows = [(one.slug, one.name, one.parent_slug or "") for one in dump.places.regions]
    rows += [(one.code, one.name, one.parent_slug) for one in dump.places.ports]
    return Counter(rows), sum(len(chunk.data.splitlines()) for chunk in dump.chunks(1_000))


def rows_in(database: Database, *, without: str = "") -> tuple[Counter[tuple], int]:
    regions = "SELECT slug, name, coalesce(parent_slug, '') FROM regions"
    places = database.rows(f"{regions} UNION ALL SELECT code, name, parent_slug FROM ports")
    ((prices,),) = database.rows("SELECT count(*) FROM prices WHERE tableoid::regclass::text <> %s", without)
    return Counter(places), prices


OPTIONS = st.lists(st.sampled_from(FLAGS), unique=True, max_size=6)
# What people call regions, and what else a column of text holds.
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20), max_size=3
)


@given(options=OPTIONS, names=NAMES)
@example(options=[], names=["\\.", "a\n\\.\nCOPY prices FROM stdin;", "\t\\N\r"])
@example(options=["--clean", "--if-exists", "--create"], names=[])
@example(options=["--statistics"], names=[])
@example(options=["--inserts"], names=[])
@settings(deadline=None, max_examples=examples(200))
def test_a_dump_with_any_options_is_read_to_the_same_rows_or_refused(
    options: list[str], names: list[str], lived_in: Database, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert_read_or_refused(options, names, lived_in, tmp_path_factory.mktemp("dump") / "dump.sql")


@pytest.mark.needs("postgresql-15")
@given(options=OPTIONS, names=NAMES)
@example(options=[], names=["\\.", "a\n\\.\nCOPY prices FROM stdin;", "\t\\N\r"])
@settings(deadline=None, max_examples=examples(200))
def test_so_is_a_dump_of_postgresql_15(
    options: list[str],
    names: list[str],
    lived_in_for_long: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert_read_or_refused(options, names, lived_in_for_long, tmp_path_factory.mktemp("dump") / "dump.sql")


def assert_read_or_refused(options: list[str], names: list[str], lived_in: Database, path: Path) -> None:
    with lived_in.connect() as owner:
        owner.execute("DELETE FROM regions WHERE slug LIKE 'drawn-%'")
        for number, name in enumerate(names):
            owner.execute("INSERT INTO regions VALUES (%s, %s, 'world')", (f"drawn-{number}", name))
    if not dump_of(lived_in, path, *options):
        return  # they exclude each other, the server knows one not, or the encoding lacks a character
    given = {*options}
    parts_unnamed = given & WITHOUT_TABLES and "--load-via-partition-root" not in given
    if given & WITHOUT_ROWS or parts_unnamed:
        with pytest.raises(FileRejected):
            Dump(path)
    else:
        left_out = "prices_2020" if "--exclude-table-data=prices_2020" in given else ""
        assert rows_of(Dump(path)) == rows_in(lived_in, without=left_out)


def test_a_dump_of_the_whole_server_is_read_where_one_database_has_the_tables(
    lived_in: Database, tmp_path: Path
) -> None:
    others = [
        f"--exclude-database={name}"
        for (name,) in lived_in.rows("SELECT datname FROM pg_database WHERE datname <> current_database()")
    ]
    assert dump_of(lived_in, tmp_path / "all.sql", *others, program="pg_dumpall")
    assert rows_of(Dump(tmp_path / "all.sql")) == rows_in(lived_in)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("custom", ":1: the file is an archive of pg_dump; expected a plain dump (pg_dump --format=plain)"),
        ("tar", ":1: the file is a dump in tar format; expected a plain dump (pg_dump --format=plain)"),
        ("directory", ": a dump in directory format; expected a plain one (pg_dump --format=plain)"),
    ],
)
def test_a_dump_that_is_not_plain_is_told_by_its_format(
    form: str, reason: str, lived_in: Database, tmp_path: Path
) -> None:
    path = tmp_path / "dump"
    assert dump_of(lived_in, path, f"--format={form}")
    for read in (lambda: Dump(path), lambda: list(Files([path]).chunks(1_000))):
        with pytest.raises((FileRejected, UsageError)) as refused:
            read()
        assert str(refused.value) == f"{path}{reason}"


def test_what_was_passed_over_is_told(lived_in: Database, tmp_path: Path) -> None:
    assert dump_of(lived_in, tmp_path / "dump.sql")
    told = Dump(tmp_path / "dump.sql").told()
    for what in (
        "rows of public.alembic_version (2)",
        "CREATE TYPE (1)",
        "CREATE FUNCTION (2)",
        "CREATE MATERIALIZED VIEW (1)",
        "CREATE POLICY (1)",
    ):
        assert what in told
